"""Where a run is: the rung under way, the next update, and the updates that count for the rung.

Rungs share trunk updates. Each update counts for the shortest rung that needs it: later rungs
report only the updates (``steps_new``) and seconds (``seconds_train``) that they add.
"""

from dataclasses import dataclass

from rethink_ray.spec.recipe import ScheduleSpec
from rethink_ray.training.schedule import RungSchedule, schedule_of


@dataclass(slots=True, kw_only=True)
class Position:
    """A position on the ladder.

    ``length``, ``step`` and ``on_branch`` decide what the next update computes; ``seconds_train``
    is bookkeeping.
    """

    schedule: ScheduleSpec
    lengths: tuple[float, ...]
    """The rungs that this job finishes, rising, in units of 1x."""
    length: float = 0.0
    """The rung under way."""
    step: int = 0
    """Number of the next update, counted from the beginning of the run."""
    on_branch: bool = False
    """Whether the run has left the trunk, for the decay of this rung."""
    seconds_train: float = 0.0
    """Wall time of the updates that count for the rung under way."""

    @property
    def rung(self) -> RungSchedule:
        """The schedule of the rung under way."""
        return schedule_of(self.schedule, self.length)

    @property
    def shared_steps(self) -> int:
        """Trunk updates that count for a shorter rung, of this job or of the trial's recipe."""
        lengths = {*self.schedule.lengths, *self.lengths}
        branch_points = [self.schedule.branch_at(x) for x in lengths if x < self.length]
        return max((p for p in branch_points if p <= self.rung.branch_at), default=0)

    def restart(self) -> None:
        """Go back to update 0."""
        self.step, self.seconds_train = 0, 0.0

    def resume(self, step: int, seconds_train: float) -> None:
        """Go to a checkpoint.

        Its seconds are dropped if all its updates count for a shorter rung.
        """
        self.step = step
        is_new = self.on_branch or step > self.shared_steps
        self.seconds_train = seconds_train if is_new else 0.0
