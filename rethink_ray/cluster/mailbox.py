"""How the workers of one job tell its driver what happened: a log, and the first one's last word.

A new one for each attempt, because a worker of a lost attempt may live a little longer.
"""

import uuid
from contextlib import suppress
from pathlib import Path

from rethink_ray.cluster.work import decode_error, encode_error
from rethink_ray.records.log import RecordLog, decode_line, encode
from rethink_ray.records.segments import SegmentLog
from rethink_ray.records.store import Store
from rethink_ray.records.types import AssetDone, TrialEnded
from rethink_ray.spec.errors import RecordError, RethinkError

MAILBOX = "mailbox-"
WORDS = ("error", "ended")
"""Said at most once each, in a file beside the log."""


class Mailbox:
    """Written by workers, read by the job's driver; perhaps on machines that share no files."""

    def __init__(self, root: Path, name: str, uri: str = "") -> None:
        """``name`` is relative to the study, whose folder on this machine is ``root``."""
        self.name = name
        path = root / f"{name}.jsonl"
        self._store = Store(uri) if uri else None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log = SegmentLog(path, self._store, name) if self._store else RecordLog(path)

    @classmethod
    def fresh(cls, root: Path, folder: str, uri: str = "") -> "Mailbox":
        """An empty one in the job's folder; those of earlier attempts are gone."""
        folder = f"records/mail/{folder.rpartition('/')[2]}" if uri else folder
        for old in (root / folder).glob(f"{MAILBOX}*"):
            old.unlink(missing_ok=True)
        if uri:
            store = Store(uri)
            for name in store.list(folder):
                store.delete(name)
        return cls(root, f"{folder}/{MAILBOX}{uuid.uuid4().hex[:8]}", uri)

    def fail(self, error: Exception) -> None:
        """Why a worker failed; the first one's word counts, the others fail because of it."""
        self._say("error", encode_error(error))

    def failure(self) -> RethinkError | None:
        """What the worker that failed first said; None if they died without a word."""
        said = self._said("error")
        return decode_error(said) if said else None

    def end(self, event: TrialEnded | AssetDone) -> None:
        """The method ended the job where this worker is; rank 0 may be unable to hear of it."""
        self._say("ended", encode(event))

    def ended(self) -> TrialEnded | AssetDone | None:
        """How the trial ended, or why the asset is refused, for the first worker that said so."""
        event = decode_line(said) if (said := self._said("ended")) else None
        return event if isinstance(event, TrialEnded | AssetDone) else None

    def _say(self, kind: str, word: str) -> None:
        if self._store is not None:
            with suppress(RecordError):
                if not self._store.exists(f"{self.name}.{kind}"):
                    self._store.write(f"{self.name}.{kind}", word.encode())
            return
        with suppress(OSError), self._path(kind).open("x") as file:
            file.write(word)

    def _said(self, kind: str) -> str:
        if self._store is not None:
            return (self._store.read(f"{self.name}.{kind}") or b"").decode()
        try:
            return self._path(kind).read_text()
        except OSError:
            return ""

    def _path(self, kind: str) -> Path:
        return self.log.path.with_suffix(f".{kind}")

    def remove(self) -> None:
        """Nothing of it is left."""
        self.log.path.unlink(missing_ok=True)
        for kind in WORDS:
            self._path(kind).unlink(missing_ok=True)
        if self._store is not None:
            words = (f"{self.name}.{kind}" for kind in WORDS)
            for name in [*self._store.list(self.name), *words]:
                self._store.delete(name)
