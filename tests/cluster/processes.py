"""Looking at, and killing, what a driver started: by the process tree, never by name alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def family_of(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop(0))
        queue += children.get(found[-1], [])
    return found


def slots_of(pid: int) -> list[int]:
    """Processes below ``pid`` in which jobs run."""
    return [p for p in family_of(pid) if b"Slot" in _command(p)]


def train_workers_of(pid: int) -> list[int]:
    """Processes below ``pid`` in which Ray Train's workers run, oldest first."""
    return sorted(p for p in family_of(pid) if b"RayTrainWorker" in _command(p))


def kill_all(pids: list[int]) -> None:
    """SIGKILL, as a power cut would."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def alive(pids: list[int]) -> list[int]:
    """Which of them still run (a zombie does not)."""
    return [pid for pid in pids if _command(pid)]


def wait_until_dead(pids: list[int], seconds: float = 60.0) -> None:
    """Returns once none of them runs.

    Raises:
        TimeoutError: some still do after ``seconds``.
    """
    end = time.monotonic() + seconds
    while left := alive(pids):
        if time.monotonic() > end:
            raise TimeoutError(f"still running: {left}")
        time.sleep(0.05)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def resumed(root: Path | str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """``rethink-ray resume`` in a process group of its own, which is dead after the block."""
    driver = subprocess.Popen(
        [sys.executable, "-m", "rethink_ray.cli", "resume", str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        start_new_session=True,
    )
    try:
        yield driver
    finally:
        kill_all(family_of(driver.pid))


def after_lines(driver: subprocess.Popen[str], holding: str, num: int = 1) -> list[int]:
    """The driver's family of processes, once it has told this many lines that hold a text."""
    assert driver.stdout is not None
    for line in driver.stdout:
        num -= holding in line
        if num == 0:
            return family_of(driver.pid)
    raise AssertionError(f"the study ended early: {driver.stderr and driver.stderr.read()}")
