"""Looking at, and killing, what a driver started: by the process tree, never by name alone."""

import os
import signal
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


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
