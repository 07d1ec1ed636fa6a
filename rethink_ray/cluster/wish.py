"""Someone's wish that a study stops: a signal, the caller, or a fault that makes going on useless.

It stands in a file as well, so that jobs in other processes and on other machines see it.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PATIENCE_SECONDS = 14.0
"""From the first signal until this process ends whatever Ray does. A signal to the whole process
group kills Ray's own processes too, and its client then waits a minute for them."""


@dataclass(slots=True)
class Wish:
    """Whether the study should stop, and how urgently."""

    path: Path
    """Jobs look for this file, write a checkpoint and end."""
    asked: Callable[[], bool]
    """The caller's own question."""
    signal: int | None = None
    """The first signal that came."""
    times: int = 0
    _last_resort: threading.Timer | None = None

    def __call__(self) -> bool:
        """Whether anyone wants it."""
        if self.times == 0 and self.asked():
            self.say()
        return self.times > 0

    @property
    def urgent(self) -> bool:
        """Someone said it a second time: do not wait for checkpoints."""
        return self.times > 1

    def say(self, number: int | None = None) -> None:
        """The wish is known to every job from here on."""
        self.times += 1
        self.signal = self.signal or number
        self.path.touch()
        if number is not None and self._last_resort is None:
            self._last_resort = threading.Timer(PATIENCE_SECONDS, leave, [number])
            self._last_resort.daemon = True
            self._last_resort.start()

    def fulfilled(self) -> None:
        """The study has stopped in good order."""
        if self._last_resort is not None:
            self._last_resort.cancel()


def leave(number: int) -> None:
    """End this process as the signal would have; what is recorded is safe, jobs die with Ray."""
    sys.stderr.write("stopped without waiting for Ray; nothing recorded is lost: resume\n")
    sys.stderr.flush()
    os._exit(128 + number)


@contextmanager
def signals(wish: Wish) -> Iterator[None]:
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
