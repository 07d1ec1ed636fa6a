"""Stopping a run so that it can go on as if nothing had happened, and saving it now and then.

Time decides when something is saved, never what comes out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rethink_ray.spec.errors import RethinkError
from rethink_ray.training.place import Place

SAVE_SECONDS = 60.0
ASK_STEPS = 8
"""Workers of one run agree on stopping this often: each time costs them a round of messages."""


class Stopped(RethinkError):
    """The run was asked to stop and has saved where it stands."""


def never_stop() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(slots=True, kw_only=True)
class Watch:
    """Asks whether to stop or to save; all workers of a run get the same answer."""

    place: Place
    stop: Callable[[], bool] = never_stop
    save_seconds: float = SAVE_SECONDS
    last_saved: float = field(default_factory=time.monotonic)

    def ask(self, step: int) -> tuple[bool, bool]:
        """(stop now, save now) before the update numbered ``step``."""
        if self.place.world_size > 1 and step % ASK_STEPS:
            return False, False
        due = time.monotonic() - self.last_saved >= self.save_seconds
        stop, save = self.place.any_of((self.stop(), due))
        return stop, save or stop

    def saved(self) -> None:
        """A checkpoint was just written; the next one is due a while from now."""
        self.last_saved = time.monotonic()
