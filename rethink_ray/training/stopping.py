"""Stopping a run so that it can go on as if nothing had happened, and saving it now and then.

Time decides when a checkpoint is written. It never changes a number.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rethink_ray.spec.errors import RethinkError
from rethink_ray.training.worker_context import WorkerContext

SAVE_SECONDS = 60.0
AGREE_SECONDS = 1.0
MOST_STEPS = 8
"""Workers of one run agree on stopping about once in ``AGREE_SECONDS``, and at least once in this
many updates. Each time costs them a round of messages."""


class Stopped(RethinkError):
    """The run was asked to stop and has written a checkpoint."""


def never_stop() -> bool:
    """Always false: this run is never asked to stop."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupts:
    """When a run stops, and how often it writes a checkpoint."""

    stop: Callable[[], bool] = never_stop
    """Called before every update and every scored batch. True: the run writes a checkpoint and
    raises ``Stopped``."""
    save_seconds: float = SAVE_SECONDS
    """Wall time between two checkpoints."""


UNINTERRUPTED = Interrupts()
"""Never stops; a checkpoint a minute."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Decides before each update whether to stop or to save, the same on all workers of a run."""

    ctx: WorkerContext
    interrupts: Interrupts = UNINTERRUPTED
    _saved_at: float = field(default_factory=time.monotonic)
    _checked_at: float = field(default_factory=time.monotonic)
    _steps_to_skip: int = 0
    """Updates left until the workers agree again."""
    _pause: int = 0
    """Updates that were skipped between the last two agreements."""

    def check(self) -> tuple[bool, bool]:
        """(stop now, save now) before the next update."""
        if self._steps_to_skip > 0:
            self._steps_to_skip -= 1
            return False, False
        now = time.monotonic()
        is_due = now - self._saved_at >= self.interrupts.save_seconds
        seconds_per_step = (now - self._checked_at) / (self._pause + 1)
        self._checked_at = now
        flags = [float(self.interrupts.stop()), float(is_due), seconds_per_step]
        stop, save, slowest = self.ctx.largest(flags)
        if self.ctx.world_size > 1:
            steps = int(AGREE_SECONDS / max(slowest, 1e-6))
            self._pause = self._steps_to_skip = min(steps, MOST_STEPS - 1)
        return stop > 0, (save or stop) > 0

    def check_now(self) -> tuple[bool, bool]:
        """As ``check``, however recently the workers agreed."""
        self._steps_to_skip = 0
        return self.check()

    def note_saved(self) -> None:
        """A checkpoint was just written; the next one is due ``save_seconds`` from now."""
        self._saved_at = time.monotonic()
