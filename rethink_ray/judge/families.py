"""Decides comparisons together: the primary ones of a study at a look, or all of them at its end.

``correct_pairs`` divides the error by the comparisons that can still err. When a comparison leaves
that count is settled here: its difference is shown not to be zero, and is *clear of the margin*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, LEVEL, Estimate, t_quantile
from rethink_ray.judge.step_down import NullPair, correct_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyMember:
    """What a family needs to know of one comparison. The defaults reject nothing.

    Its p values are sequential ones at a look, and plain ones if there are no looks.
    """

    p_zero: float = 1.0
    """p of "the difference is zero", two-sided."""
    p_far: float = 1.0
    """p of "the two differ by the margin or more", the larger of the two sides; of a claim that its
    first side is not behind: of "behind by the margin or more"."""
    is_clear: bool = False
    """``is_clear_of_margin``, at a look with the numbers of that look."""
    is_open: bool = True
    """False: it was decided, or stopped, at an earlier look, and is not tested again."""
    has_left: bool = False
    """It has handed on its share of the error at an earlier look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyDecision:
    """What a family decides about one of its comparisons."""

    rejects_zero: bool
    """The difference is shown not to be zero."""
    rejects_far: bool
    """It is shown to be smaller than the margin; this takes precedence over ``rejects_zero``."""
    p_zero: float
    """Corrected for the family; 1 for a comparison that is not open."""
    p_far: float
    has_left: bool
    """It hands on its share of the error, now or since an earlier look."""
    num_sharing: int
    """How many comparisons share the error with it, itself included: it is decided by a p value
    below the error divided by this number."""


def decide_family(
    members: Sequence[FamilyMember], error: float = ALPHA
) -> tuple[FamilyDecision, ...]:
    """What is decided about each comparison of a family, in the order given.

    The chance of any wrong "supported", "contradicted" or "equivalent", among all comparisons and
    looks, stays at ``error``. A comparison that stopped for futility keeps its share of it, and so
    does one that was shown not to be zero but is not clear of the margin.
    """
    pairs = correct_pairs([_pair_of(member) for member in members])
    rejected = [
        tuple(member.is_open and p < error for p in pair)
        for member, pair in zip(members, pairs, strict=True)
    ]
    have_left = [
        member.has_left or (is_zero and (member.is_clear or is_far))
        for member, (is_zero, is_far) in zip(members, rejected, strict=True)
    ]
    num_left = sum(have_left)
    return tuple(
        FamilyDecision(
            rejects_zero=is_zero,
            rejects_far=is_far,
            p_zero=p_zero if member.is_open else 1.0,
            p_far=p_far if member.is_open else 1.0,
            has_left=has_left,
            num_sharing=len(members) - num_left + has_left,
        )
        for member, (p_zero, p_far), (is_zero, is_far), has_left in zip(
            members, pairs, rejected, have_left, strict=True
        )
    )


def is_clear_of_margin(effect: Estimate, margin: float) -> bool:
    """Whether a difference could hardly have been called smaller than the margin by mistake.

    Either it is shown, at 2.5 % on one side, to be larger than the margin; or its standard error is
    so large that not even a difference of zero would be shown to be smaller, at 5 %.
    """
    if effect.se is None or effect.df is None:
        return False
    beyond = abs(effect.value) - margin
    return (
        beyond > t_quantile(LEVEL, effect.df) * effect.se
        or margin < t_quantile(EQUIVALENCE_LEVEL, effect.df) * effect.se
    )


def _pair_of(member: FamilyMember) -> NullPair:
    """The p values by which a comparison is tested, and by which it leaves the count."""
    if member.has_left:
        return NullPair(first=0.0, second=1.0, beyond=0.0)
    if not member.is_open:
        return NullPair(first=1.0, second=1.0, beyond=1.0)
    leaving = member.p_zero if member.is_clear else 1.0
    return NullPair(first=member.p_zero, second=member.p_far, beyond=leaving)
