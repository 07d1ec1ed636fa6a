"""One writer per study: a file that names the process which writes, and beats while it lives.

A dead owner is taken over: at once if it ran on this machine, after a silence of a minute if it ran
elsewhere.
"""

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rethink_ray.spec.errors import RecordError, explain

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 60.0


class StudyLock:
    """The right to write into one study directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._released = threading.Event()
        self._beat = threading.Thread(target=self._keep_beating, daemon=True)

    def acquire(self) -> None:
        """This process is the writer now.

        Raises:
            RecordError: another living process is.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path.with_suffix(".guard")):
            owner = read_owner(self.path)
            if owner is not None and _lives(owner):
                raise RecordError(
                    explain(
                        str(self.path.parent),
                        "must have one writer at a time",
                        f"process {owner['pid']} on {owner['host']}",
                        "Wait for it, or stop it with SIGINT; 'status' shows how far it is.",
                    )
                )
            _write(self.path, _me())
        self._beat.start()

    def release(self) -> None:
        """The study has no writer any more, if this process was it."""
        self._released.set()
        if self._beat.is_alive():
            self._beat.join()
        if _is_me(read_owner(self.path)):
            self.path.unlink(missing_ok=True)

    def _keep_beating(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            if not _is_me(read_owner(self.path)):
                return
            _write(self.path, _me())


@contextmanager
def writing(path: Path) -> Iterator[StudyLock]:
    """Inside the block this process is the study's one writer."""
    lock = StudyLock(path)
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


def read_owner(path: Path) -> dict[str, Any] | None:
    """Who holds the lock (``pid``, ``host``, ``started``, ``beat``), alive or not; None if free."""
    try:
        found = json.loads(path.read_text())
        return found if {"pid", "host", "started", "beat"} <= set(found) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_running(path: Path) -> bool:
    """Whether a living process writes into the study right now."""
    owner = read_owner(path)
    return owner is not None and _lives(owner)


def _lives(owner: dict[str, Any]) -> bool:
    if owner["host"] == platform.node():
        return bool(_started(int(owner["pid"])) == owner["started"])
    return time.time() - float(owner["beat"]) < SILENCE_SECONDS


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "pid": pid,
        "host": platform.node(),
        "started": _started(pid),
        "beat": round(time.time(), 1),
    }


def _is_me(owner: dict[str, Any] | None) -> bool:
    me = _me()
    return owner is not None and all(owner[k] == me[k] for k in ("pid", "host", "started"))


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot: a pid alone may have been given again.

    None if there is no such process, a zombie included.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else after_name[19]


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


@contextmanager
def _alone(guard: Path) -> Iterator[None]:
    with guard.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
