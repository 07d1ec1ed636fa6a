"""Looking at, and killing, what a command started: by the process tree, never by name alone.

This process adopts the orphans of everything it starts, so nothing escapes by losing its parent;
and buries them at once, since Ray's workers live on while their dead raylet is a zombie.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
BURY_SECONDS = 0.05
OURS: set[int] = set()
"""Children whose exit code somebody here waits for."""
SLOT = b"ray::Slot"
TRAIN_WORKER = b"ray::RayTrainWorker"


def adopt_orphans() -> None:
    """Whoever loses its parent below this process becomes its child (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    threading.Thread(target=_bury, daemon=True).start()


def _bury() -> None:
    while True:
        time.sleep(BURY_SECONDS)
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if dead is not None and dead.si_pid not in OURS:
                os.waitpid(dead.si_pid, os.WNOHANG)
        except ChildProcessError:
            continue


def family_of(pid: int) -> list[int]:
    """A process and all its descendants, parents first; zombies left out."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop(0))
        queue += children.get(found[-1], [])
    return found


def below_us() -> list[int]:
    """Every living process that this one started, directly or not."""
    return family_of(os.getpid())[1:]


def slots() -> list[int]:
    """Processes in which jobs run; the loader workers they forked are not among them."""
    found = [pid for pid in below_us() if SLOT in command_of(pid)]
    return [pid for pid in found if parent_of(pid) not in found]


def loader_workers() -> list[int]:
    """Processes that slots forked to read images."""
    found = [pid for pid in below_us() if SLOT in command_of(pid)]
    return [pid for pid in found if parent_of(pid) in found]


def train_workers() -> list[int]:
    """Processes in which Ray Train runs the ladder."""
    return [pid for pid in below_us() if TRAIN_WORKER in command_of(pid)]


def command_of(pid: int) -> bytes:
    """Command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parent_of(pid: int) -> int:
    """Parent of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def kill(pids: Iterable[int]) -> None:
    """SIGKILL, as a power cut would."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until_gone(seconds: float) -> list[str]:
    """Waits for everything below this process to end; what did not is killed and named."""
    until = time.monotonic() + seconds
    while (left := below_us()) and time.monotonic() < until:
        time.sleep(0.1)
    names = [command_of(pid).replace(b"\0", b" ").decode(errors="replace")[:60] for pid in left]
    kill(left)
    while below_us():
        time.sleep(0.05)
    return names
