"""Stopping a run so that it can go on as if nothing had happened, and saving it now and then.

Time decides when something is saved, never what comes out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rethink_ray.spec.errors import RethinkError
from rethink_ray.training.worker_context import WorkerContext

SAVE_SECONDS = 60.0
ASK_SECONDS = 1.0
MOST_STEPS = 8
"""Workers of one run agree on stopping about this often, in seconds and at most in updates: each
time costs them a round of messages."""


class Stopped(RethinkError):
    """The run was asked to stop and has saved where it stands."""


def never_stop() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(slots=True, kw_only=True)
class Watch:
    """Asks whether to stop or to save; all workers of a run get the same answer."""

    ctx: WorkerContext
    stop: Callable[[], bool] = never_stop
    save_seconds: float = SAVE_SECONDS
    last_saved: float = field(default_factory=time.monotonic)
    _asked_at: float = field(default_factory=time.monotonic)
    _silent: int = 0
    """Updates left until the workers ask each other again."""
    _pause: int = 0
    """Updates between the last two times they did."""

    def ask(self) -> tuple[bool, bool]:
        """(stop now, save now) before the next update."""
        if self._silent > 0:
            self._silent -= 1
            return False, False
        now = time.monotonic()
        due = now - self.last_saved >= self.save_seconds
        seconds = (now - self._asked_at) / (self._pause + 1)
        self._asked_at = now
        stop, save, slowest = self.ctx.largest([float(self.stop()), float(due), seconds])
        if self.ctx.world_size > 1:
            self._pause = self._silent = min(int(ASK_SECONDS / max(slowest, 1e-6)), MOST_STEPS - 1)
        return stop > 0, (save or stop) > 0

    def ask_now(self) -> tuple[bool, bool]:
        """The same, whenever the workers last asked each other."""
        self._silent = 0
        return self.ask()

    def wished(self) -> bool:
        """Whether any worker was told to stop, asked of all of them together."""
        return self.ctx.any_of((self.stop(),))[0]

    def saved(self) -> None:
        """A checkpoint was just written; the next one is due a while from now."""
        self.last_saved = time.monotonic()
