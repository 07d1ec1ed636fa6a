"""One writer per study: a file that names the writing process, which changes it every ten seconds.

Clocks of two machines are never compared. An owner on this machine is looked up by pid and start
time; one elsewhere counts as dead if its file does not change while this process waits two beats.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rethink_ray.records.owner import Owner, decode_owner, encode_owner
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.spec.errors import RecordError, explain

BEAT_SECONDS = 10.0
NUM_READS = 8
"""The file is read so often during the two beats."""

_log = logging.getLogger(__name__)


class StudyLock:
    """The right to write into one study directory."""

    def __init__(
        self,
        path: Path,
        *,
        beat_seconds: float = BEAT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self.lost = False
        """True once another process took the study over, because this one did not beat."""
        self._me = Owner.this_process()
        self._beat_seconds = beat_seconds
        self._pause = pause
        self._num_beats = 0
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def acquire(self) -> None:
        """This process is the study's writer. Waits two beats for a silent owner elsewhere.

        Raises:
            RecordError: another living process is the writer, or the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _guarded_by(self.path.with_suffix(".guard")):
                self._become_owner()
        except OSError as error:
            got = error.strerror or str(error)
            raise RecordError(explain(str(self.path.parent), "must be writable", got)) from None
        self._thread.start()

    def release(self) -> None:
        """The study has no writer, if this process was it."""
        self._released.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._me.is_same(self.owner()):
            self.remove()

    def require_held(self) -> None:
        """This process is still the study's writer.

        Raises:
            RecordError: another process has taken over.
        """
        if self.lost:
            must = f"must still name process {self._me.pid}, which did not beat"
            got = str(self.owner() or "no owner")
            remedy = "The records are whole; the other process goes on with them."
            raise RecordError(explain(str(self.path), must, got, remedy))

    def beat(self) -> None:
        """The file shows that this process lives; ``lost`` is true if the file names another."""
        try:
            if self._me.is_same(self.owner()):
                self._num_beats += 1
                self.overwrite(encode_owner(self._me, self._num_beats))
            else:
                self.lost = True
        except (OSError, RecordError) as error:  # the next beat may fare better
            _log.warning("%s could not be touched: %s", self.path, error)

    def owner(self) -> Owner | None:
        """The process that the lock names, alive or not; None if the lock is free."""
        content = self.read()
        return None if content is None else decode_owner(content)

    def read(self) -> bytes | None:
        """The content of the lock's file; None if there is none."""
        return _content(self.path)

    def write(self, content: bytes) -> None:
        """The lock's file holds ``content``."""
        write_atomically(self.path, content)

    def overwrite(self, content: bytes) -> None:
        """As ``write``, but in place, which works even on a full disk."""
        with self.path.open("r+b") as file:
            file.write(content)

    def remove(self) -> None:
        """The lock file is gone."""
        self.path.unlink(missing_ok=True)

    def _keep_beating(self) -> None:
        while not self.lost and not self._released.wait(self._beat_seconds):
            self.beat()

    def _become_owner(self) -> None:
        content = self.read()
        owner = None if content is None else decode_owner(content)
        is_here = owner is not None and owner.is_here
        if content is not None:
            is_alive = owner.runs if owner is not None and is_here else self._is_beating(content)
            if is_alive:
                raise self._refusal()
        self.write(encode_owner(self._me, 0))
        if content is not None and not is_here:
            self._pause(self._beat_seconds)  # another machine may take over at the same moment
            if not self._me.is_same(self.owner()):
                raise self._refusal()

    def _is_beating(self, content: bytes) -> bool:
        """Whether a lock file that held ``content`` changes within two beats."""
        owner = decode_owner(content) or "an owner that cannot be read"
        seconds = 2 * self._beat_seconds
        _log.warning("%s: waiting %g s to see whether %s lives", self.path, seconds, owner)
        for _ in range(NUM_READS):
            self._pause(seconds / NUM_READS)
            now = self.read()
            if now != content:
                return now is not None
        return False

    def _refusal(self) -> RecordError:
        must = "must have one writer at a time"
        got = str(self.owner() or "an owner that cannot be read")
        remedy = "Wait for it, or stop it with SIGINT; 'status' shows how far it is."
        return RecordError(explain(str(self.path.parent), must, got, remedy))


class StoreLock(StudyLock):
    """The right to write into a study at a URI, as far as a store without locks allows.

    Two writers that start in the same instant may both become the owner. The log, which refuses to
    write a line twice, then stops the slower one.
    """

    def __init__(
        self,
        copy: WorkingCopy,
        name: str,
        *,
        beat_seconds: float = BEAT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(copy.root / name, beat_seconds=beat_seconds, pause=pause)
        self._store = copy.store
        self._name = name

    def read(self) -> bytes | None:
        """The content of the lock's object; None if there is none."""
        return self._store.read(self._name)

    def write(self, content: bytes) -> None:
        """The lock's object holds ``content``."""
        self._store.write(self._name, content)

    def overwrite(self, content: bytes) -> None:
        """As ``write``."""
        self.write(content)

    def remove(self) -> None:
        """The lock object is gone."""
        self._store.delete(self._name)


@contextmanager
def writing(where: StudyLock | Path) -> Iterator[StudyLock]:
    """Inside the block this process is the study's one writer."""
    lock = StudyLock(where) if isinstance(where, Path) else where
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


def read_owner(path: Path) -> Owner | None:
    """The process that holds the lock, alive or not; None if the lock is free."""
    content = _content(path)
    return None if content is None else decode_owner(content)


def is_running(path: Path) -> bool:
    """Whether a process seems to write into the study now. Only shown to people; decides nothing.

    An owner on another machine counts as alive while its file was touched a few beats ago.
    """
    owner = read_owner(path)
    if owner is None:
        return False
    if owner.is_here:
        return owner.runs
    with suppress(OSError):
        return abs(time.time() - path.stat().st_mtime) < 3 * BEAT_SECONDS
    return False


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def _guarded_by(guard: Path) -> Iterator[None]:
    with guard.open("a") as handle:
        with suppress(OSError):  # some network file systems have no such locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
