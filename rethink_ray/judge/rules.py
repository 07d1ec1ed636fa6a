"""How a claim is decided: which errors its verdict may make, and how often.

A verdict, "about n replicates would decide" and the power of a plan all read the same rule, so that
none of them promises what another does not keep.

Example: "scratch catches up with pretrained" at a margin of 0.5, difference 0 and sd 1. A catch-up
is tested at 2.5 % on one side, because its bracket has two ends that hold together with 95 %. Then
(0.5 - 0) / sqrt(2 / n) must exceed t(0.975) + t(0.8): n is 64. At 5 % it would be 51, and 51
replicates would decide only seven times in ten.
"""

from dataclasses import dataclass

from rethink_ray.judge.measurements import Expectation

ALPHA = 0.05
"""The error of a verdict: two-sided for a difference, one-sided for a margin."""
CATCH_UP_ALPHA = ALPHA / 2.0
"""The one-sided error of each end of a catch-up's bracket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """What a claim expects, what counts as equal, and the errors that its verdict may make."""

    expects: Expectation
    margin: float
    apart: float = ALPHA
    """Two-sided error of "the difference is not zero"."""
    margin_error: float = ALPHA
    """One-sided error of "not behind by the margin or more"; equality is tested on both sides."""


def rule_of(
    expects: Expectation, margin: float, *, apart_by: float = 1.0, margin_by: float = 1.0
) -> DecisionRule:
    """The rule of a claim that stands alone, or is corrected together with others.

    Args:
        expects: what the claim expects.
        margin: what counts as equal.
        apart_by: divides the error of "the difference is not zero": the number of comparisons that
            are corrected together, times the looks.
        margin_by: divides the error of "not behind by the margin", in the same way.
    """
    error = ALPHA / margin_by
    if expects == "catches_up":
        error = min(error, CATCH_UP_ALPHA)
    return DecisionRule(expects=expects, margin=margin, apart=ALPHA / apart_by, margin_error=error)
