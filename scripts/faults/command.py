"""One ``rethink-ray`` command in a process group of its own, watched through the study's log."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from faults.processes import OURS

LOOK_SECONDS = 0.02
HANG_SECONDS = 180.0
"""So long without a new record is a hang, on a machine that does nothing else. Where others compete
for its CPUs, time counts by the share that is left for each process."""


class Seen(StrEnum):
    """How waiting for a command ended."""

    REACHED = "reached"
    ENDED = "ended"
    HUNG = "hung"


class Command:
    """A running command; what it prints goes to a file."""

    def __init__(self, words: list[str], root: Path, output: Path) -> None:
        self.root = root
        self.output = output
        with output.open("ab") as file:
            self._begins_at = file.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rethink_ray.cli", *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self._process.pid
        OURS.add(self.pid)
        self.began = time.monotonic()
        self._size = log_bytes(root)
        self._quiet_seconds = 0.0
        self._looked_at = time.monotonic()

    @property
    def code(self) -> int | None:
        """Exit code, minus the signal's number if one killed it; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """What it printed."""
        with self.output.open("rb") as file:
            file.seek(self._begins_at)
            return file.read().decode(errors="replace")

    def last_words(self) -> str:
        """The last line it printed."""
        lines = self.said().strip().splitlines()
        return lines[-1][:200] if lines else "nothing"

    def wait_until(self, reached: Callable[[], bool]) -> Seen:
        """Until this is so, the command ends, or nothing moves for too long."""
        while self.code is None:
            if reached():
                return Seen.REACHED
            if self._hangs():
                return Seen.HUNG
            time.sleep(LOOK_SECONDS)
        return Seen.ENDED

    def wait_for_records(self, num: int) -> Seen:
        """Until the log has this many lines."""
        return self.wait_until(lambda: num_records(self.root) >= num)

    def wait_for_end(self) -> Seen:
        """Until the command ends."""
        return self.wait_until(lambda: False)

    def kill(self) -> None:
        """SIGKILL for this one process."""
        self._process.kill()
        self._process.wait()

    def tell(self, number: signal.Signals, *, group: bool) -> None:
        """A signal for this process, or for everything in its process group."""
        if group:
            os.killpg(self.pid, number)
        else:
            self._process.send_signal(number)
        self._quiet_seconds = 0.0

    def _hangs(self) -> bool:
        now, size = time.monotonic(), log_bytes(self.root)
        self._quiet_seconds += (now - self._looked_at) * share_of_a_cpu()
        self._looked_at = now
        if size != self._size:
            self._size, self._quiet_seconds = size, 0.0
        return self._quiet_seconds > HANG_SECONDS


def share_of_a_cpu() -> float:
    """How much of a CPU each process that wants one gets, about, 0..1."""
    return min(1.0, (os.cpu_count() or 1) / max(os.getloadavg()[0], 1.0))


def log_path(root: Path) -> Path:
    """The log of a study directory."""
    return root / "records" / "log.jsonl"


def log_bytes(root: Path) -> int:
    """Size of the log; 0 if there is none yet."""
    try:
        return log_path(root).stat().st_size
    except OSError:
        return 0


def num_records(root: Path) -> int:
    """Whole lines in the log."""
    try:
        return log_path(root).read_bytes().count(b"\n")
    except OSError:
        return 0
