"""Someone's wish that a study stops: a signal, the caller, or a fault that makes going on useless.

It stands in a file as well, so that jobs in other processes and on other machines see it; and a
file put there by hand is such a wish.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PATIENCE_SECONDS = 14.0
"""From the first signal until this process ends whatever Ray does. A signal to the whole process
group kills Ray's own processes too, and its client then waits a minute for them."""
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class StopRequest:
    """Whether the study should stop, and how urgently."""

    path: Path
    """Jobs look for this file, write a checkpoint and end."""
    asked: Callable[[], bool]
    """The caller's own question."""
    signal: int | None = None
    """The first signal that came."""
    times: int = 0
    leave_at: float = math.inf
    """On the monotonic clock: when a process that was told by a signal ends at the latest."""

    def __call__(self) -> bool:
        """Whether anyone wants it."""
        if self.times == 0 and (self.asked() or self.path.exists()):
            self.say()
        return self.times > 0

    @property
    def urgent(self) -> bool:
        """Someone said it a second time: do not wait for checkpoints."""
        return self.times > 1

    def say(self, number: int | None = None) -> None:
        """The wish is known to every job from here on. Takes no lock: signal handlers call it."""
        self.times += 1
        self.signal = self.signal or number
        if number is not None:
            self.leave_at = min(self.leave_at, time.monotonic() + PATIENCE_SECONDS)
        with suppress(OSError):  # a full disk: jobs then end with this process
            self.path.touch()


def leave(number: int, remedy: str) -> None:
    """End this process as the signal would have; what is recorded is safe, jobs die with Ray."""
    sys.stderr.write(f"stopped without waiting for Ray; nothing recorded is lost. {remedy}\n")
    sys.stderr.flush()
    os._exit(128 + number)


@contextmanager
def last_resort(wish: StopRequest, remedy: str) -> Iterator[None]:
    """Inside the block a signal ends this process in bounded time, whatever the main thread does.

    ``remedy`` says how to go on.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if time.monotonic() >= wish.leave_at:
                leave(wish.signal or signal.SIGTERM, remedy)

    threading.Thread(target=watch, daemon=True, name="last resort").start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def signals(wish: StopRequest) -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM are a wish to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def say(number: int, frame: FrameType | None) -> None:
        wish.say(number)

    caught = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, say) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
