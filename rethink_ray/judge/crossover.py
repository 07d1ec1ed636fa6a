"""From which schedule length on one arm has caught up with another: a bracket of two rungs.

Two fixed-sequence tests, each at 2.5 %: upwards from the shortest rung while significantly behind,
downwards from the longest while not inferior. Each stops at its first failure, so no correction
for the number of rungs is needed, and both ends hold together with 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.judge.statistics import LEVEL, Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """Between which lengths the chaser catches up; None where the study does not reach."""

    behind_up_to: float | None
    """The chaser is significantly behind from the shortest rung up to here."""
    caught_up_from: float | None
    """From here to the longest rung the chaser is not behind by the margin or more."""


def catch_up(rungs: Sequence[tuple[float, Estimate]], margin: float) -> Bracket:
    """The bracket from (length, lead of the chased arm) along a ladder, lengths rising.

    The lead is oriented so that positive means the chaser is behind. A rung without an interval
    fails both tests.
    """
    caught_up_from: float | None = None
    for length, lead in reversed(rungs):
        found = lead.interval(LEVEL)
        if found is None or found[1] >= margin:
            break
        caught_up_from = length
    behind_up_to: float | None = None
    for length, lead in rungs:
        found = lead.interval(LEVEL)
        if found is None or found[0] <= 0.0 or length == caught_up_from:
            break
        behind_up_to = length
    return Bracket(behind_up_to=behind_up_to, caught_up_from=caught_up_from)
