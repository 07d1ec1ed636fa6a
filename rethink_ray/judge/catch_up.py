"""From which schedule length on one arm has caught up with another: a bracket of two lengths.

The *chaser* is the arm that is claimed to catch up. Two sequences of tests are made, each at 2.5 %:
upwards from the shortest length as long as the chaser is shown to be behind, and downwards from the
longest as long as it is shown not to be behind by the margin. Each stops at its first failure, so
no correction for the number of lengths is needed, and both ends of the bracket hold together with
95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.judge.corrections import UNCORRECTED, Corrections
from rethink_ray.judge.measurements import Difference
from rethink_ray.judge.rules import ALPHA, CATCH_UP_ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """The lengths between which the chaser catches up; None if the study does not show that end."""

    behind_up_to: float | None
    """The chaser is shown to be behind from the shortest length up to here."""
    caught_up_from: float | None
    """From here to the longest length the chaser is shown not to be behind by the margin."""


def find_bracket(
    rungs: Sequence[tuple[float, Difference]],
    margin: float,
    corrections: Corrections = UNCORRECTED,
) -> Bracket:
    """The bracket along a ladder; a length without an interval fails both tests.

    Args:
        rungs: (length, chaser minus chased), lengths rising.
        margin: a chaser that is behind by less counts as level.
        corrections: of the study; a length uses its corrected p value if it has one.
    """
    caught_up_from: float | None = None
    for length, difference in reversed(rungs):
        if not has_caught_up(difference, margin, corrections):
            break
        caught_up_from = length
    behind_up_to: float | None = None
    for length, difference in rungs:
        if length == caught_up_from or not is_behind(difference, corrections):
            break
        behind_up_to = length
    return Bracket(behind_up_to=behind_up_to, caught_up_from=caught_up_from)


def has_caught_up(difference: Difference, margin: float, corrections: Corrections) -> bool:
    """Whether the chaser is shown not to be behind by the margin.

    It must be shown at 2.5 % without correction, and at 5 % with the study's corrections. Where the
    chaser is shown to be behind as well, the difference must also be shown to be smaller than the
    margin: otherwise a headline says at the same length that the other arm ends above.
    """
    alone = corrections.alone.p_not_below(difference, margin)
    corrected = corrections.p_not_below(difference, margin)
    if alone is None or corrected is None:
        return False
    is_shown = alone < CATCH_UP_ALPHA and corrected < ALPHA
    if is_shown and is_behind(difference, corrections):
        p_inside = corrections.p_inside(difference, margin)
        return p_inside is not None and p_inside < ALPHA
    return is_shown


def is_behind(difference: Difference, corrections: Corrections) -> bool:
    """Whether the chaser is shown to be behind."""
    p, effect = corrections.p_apart(difference), difference.effect
    return p is not None and effect is not None and p < ALPHA and effect.value < 0.0


def find_reported_bracket(rungs: Sequence[tuple[float, Difference]]) -> Bracket:
    """The bracket of published numbers, whose plain differences are compared with zero."""
    leads = [(n, -round(d.effect.value, 6) if d.effect else 0.0) for n, d in rungs]
    behind, caught = None, None
    for length, lead in leads:
        if lead <= 0.0:
            break
        behind = length
    for length, lead in reversed(leads):
        if lead > 0.0:
            break
        caught = length
    return Bracket(behind_up_to=behind, caught_up_from=caught)
