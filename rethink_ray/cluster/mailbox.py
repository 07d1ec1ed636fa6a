"""How the workers of one job tell its driver what happened: a log, and the first failure's word.

A new one for each attempt, because a worker of a lost attempt may live a little longer.
"""

import uuid
from contextlib import suppress
from pathlib import Path

from rethink_ray.cluster.work import decode_error, encode_error
from rethink_ray.records.log import RecordLog
from rethink_ray.records.segments import SegmentLog
from rethink_ray.records.store import Store
from rethink_ray.spec.errors import RecordError, RethinkError

MAILBOX = "mailbox-"


class Mailbox:
    """Written by workers, read by the job's driver; perhaps on machines that share no files."""

    def __init__(self, root: Path, name: str, uri: str = "") -> None:
        """``name`` is relative to the study, whose folder on this machine is ``root``."""
        self.name = name
        path = root / f"{name}.jsonl"
        self._store = Store(uri) if uri else None
        self._error = root / f"{name}.error"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log = SegmentLog(path, self._store, name) if self._store else RecordLog(path)

    @classmethod
    def fresh(cls, root: Path, trial_id: str, uri: str = "") -> "Mailbox":
        """An empty one; those of earlier attempts are gone."""
        folder = f"records/mail/{trial_id}" if uri else f"trials/{trial_id}"
        for old in (root / folder).glob(f"{MAILBOX}*"):
            old.unlink(missing_ok=True)
        if uri:
            store = Store(uri)
            for name in store.list(folder):
                store.delete(name)
        return cls(root, f"{folder}/{MAILBOX}{uuid.uuid4().hex[:8]}", uri)

    def fail(self, error: Exception) -> None:
        """Why a worker failed; the first one's word counts, the others fail because of it."""
        word = encode_error(error)
        if self._store is not None:
            with suppress(RecordError):
                if not self._store.exists(f"{self.name}.error"):
                    self._store.write(f"{self.name}.error", word.encode())
            return
        with suppress(OSError), self._error.open("x") as file:
            file.write(word)

    def failure(self) -> RethinkError | None:
        """What the worker that failed first said; None if they died without a word."""
        if self._store is not None:
            content = self._store.read(f"{self.name}.error")
            return decode_error(content.decode()) if content is not None else None
        try:
            return decode_error(self._error.read_text())
        except OSError:
            return None

    def remove(self) -> None:
        """Nothing of it is left."""
        self.log.path.unlink(missing_ok=True)
        self._error.unlink(missing_ok=True)
        if self._store is not None:
            for name in [*self._store.list(self.name), f"{self.name}.error"]:
                self._store.delete(name)
