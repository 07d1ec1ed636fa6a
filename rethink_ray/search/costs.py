"""Updates that a rung costs, with and without the trunk that all rungs of a trial share."""

from collections.abc import Sequence

from rethink_ray.spec.recipe import ScheduleSpec


def new_steps(schedule: ScheduleSpec, length: float, done: Sequence[float] = ()) -> int:
    """Updates that a rung needs after the rungs ``done``.

    The trunk goes on from the nearest earlier branch point; the branch is always run.
    """
    branch_at = schedule.branch_at(length)
    earlier = [schedule.branch_at(x) for x in done]
    trunk = branch_at - max((b for b in earlier if b <= branch_at), default=0)
    return trunk + schedule.steps(length) - branch_at


def ladder_steps(schedule: ScheduleSpec, lengths: Sequence[float]) -> int:
    """Updates of one trial that runs all ``lengths``.

    He et al.'s 2x..6x with the drops at T-60k and T-20k: one trunk of 480k and five branches of
    60k are 780k, where separate runs are 1.8M.
    """
    rising = sorted(lengths)
    return sum(new_steps(schedule, x, rising[:i]) for i, x in enumerate(rising))


def separate_steps(schedule: ScheduleSpec, lengths: Sequence[float]) -> int:
    """Updates of one run per length, nothing shared."""
    return sum(schedule.steps(length) for length in lengths)
