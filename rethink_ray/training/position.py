"""Where a run is: the rung under way, the next update, and the updates already paid for."""

from dataclasses import dataclass

from rethink_ray.spec.recipe import ScheduleSpec
from rethink_ray.training.schedule import RungSchedule, schedule_of


@dataclass(slots=True, kw_only=True)
class Position:
    """A position on the ladder. Numbers depend on ``length``, ``step`` and ``on_branch`` alone."""

    schedule: ScheduleSpec
    lengths: tuple[float, ...]
    """The rungs that this job finishes, rising, in units of 1x."""
    length: float = 0.0
    """The rung under way."""
    step: int = 0
    """Number of the next update, counted from the beginning of the run."""
    on_branch: bool = False
    """Whether the trunk was left for the decay of this rung."""
    seconds_train: float = 0.0
    """Wall time of the updates that are new to the rung under way."""

    @property
    def rung(self) -> RungSchedule:
        """The schedule of the rung under way."""
        return schedule_of(self.schedule, self.length)

    @property
    def shared_steps(self) -> int:
        """Trunk updates that a shorter rung has paid for."""
        lengths = {*self.schedule.lengths, *self.lengths}
        branch_points = [self.schedule.branch_at(x) for x in lengths if x < self.length]
        return max((p for p in branch_points if p <= self.rung.branch_at), default=0)

    def restart(self) -> None:
        """Go to the beginning."""
        self.step, self.seconds_train = 0, 0.0

    def resume(self, step: int, seconds_train: float) -> None:
        """Go to a checkpoint.

        Its seconds count if it is beyond the updates that a shorter rung has paid for.
        """
        self.step = step
        is_new = self.on_branch or step > self.shared_steps
        self.seconds_train = seconds_train if is_new else 0.0
