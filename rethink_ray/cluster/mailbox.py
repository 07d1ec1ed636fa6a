"""Carries events from the workers of one job to its driver: a log, and two notes beside it.

Each attempt at a job has a new mailbox, because a worker of a lost attempt may live a little
longer.
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
NOTE_KINDS = ("error", "ended")
"""Files beside the log. The first worker that writes one decides its content."""


class Mailbox:
    """Written by workers and read by the job's driver, on machines that may share no files."""

    def __init__(self, root: Path, name: str, uri: str = "") -> None:
        """``name`` is relative to the study, whose folder on this machine is ``root``."""
        self.name = name
        path = root / f"{name}.jsonl"
        self._store = Store(uri) if uri else None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log = SegmentLog(path, self._store, name) if self._store else RecordLog(path)

    @classmethod
    def fresh(cls, root: Path, folder: str, uri: str = "") -> "Mailbox":
        """An empty mailbox for a job; the mailboxes of earlier attempts are deleted."""
        folder = f"records/mail/{folder.rpartition('/')[2]}" if uri else folder
        for old in (root / folder).glob(f"{MAILBOX}*"):
            old.unlink(missing_ok=True)
        if uri:
            store = Store(uri)
            for name in store.list(folder):
                store.delete(name)
        return cls(root, f"{folder}/{MAILBOX}{uuid.uuid4().hex[:8]}", uri)

    def write_error(self, error: Exception) -> None:
        """Note why this worker failed, unless another failed first: then that is the cause."""
        self._write_note("error", encode_error(error))

    def read_error(self) -> RethinkError | None:
        """The error of the worker that failed first; None if the workers died without a note."""
        note = self._read_note("error")
        return decode_error(note) if note else None

    def write_end(self, event: TrialEnded | AssetDone) -> None:
        """Note that the method ended the job in this worker; rank 0 may hang and not report it."""
        self._write_note("ended", encode(event))

    def read_end(self) -> TrialEnded | AssetDone | None:
        """The end of the trial, or the refusal of the asset, that a worker noted first."""
        event = decode_line(note) if (note := self._read_note("ended")) else None
        return event if isinstance(event, TrialEnded | AssetDone) else None

    def _write_note(self, kind: str, text: str) -> None:
        if self._store is not None:
            with suppress(RecordError):
                if not self._store.exists(f"{self.name}.{kind}"):
                    self._store.write(f"{self.name}.{kind}", text.encode())
            return
        with suppress(OSError), self._path(kind).open("x") as file:
            file.write(text)

    def _read_note(self, kind: str) -> str:
        if self._store is not None:
            return (self._store.read(f"{self.name}.{kind}") or b"").decode()
        try:
            return self._path(kind).read_text()
        except OSError:
            return ""

    def _path(self, kind: str) -> Path:
        return self.log.path.with_suffix(f".{kind}")

    def remove(self) -> None:
        """Delete the log and the notes."""
        self.log.path.unlink(missing_ok=True)
        for kind in NOTE_KINDS:
            self._path(kind).unlink(missing_ok=True)
        if self._store is not None:
            notes = (f"{self.name}.{kind}" for kind in NOTE_KINDS)
            for name in [*self._store.list(self.name), *notes]:
                self._store.delete(name)
