"""Primary comparisons corrected together, and one p value for each null hypothesis of a study.

Each primary comparison has two null hypotheses of which one at most is true, and may err by
rejecting it. One step-down (``families``) keeps the chance of any wrong "supported", "contradicted"
or "equivalent" among all of them at 5 %. Its p values stand for their null hypotheses everywhere in
the study: each finding that tests the same null, however it is worded, takes the corrected p. So no
two findings disagree on whether one difference is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rethink_ray.judge.families import FamilyMember, decide_family, is_clear_of_margin
from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.measurements import Difference, Measurement, Terms, turn_round
from rethink_ray.judge.statistics import Estimate, p_beyond, p_not_above, p_not_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """A null hypothesis: a statement about a difference that a test may refute."""

    kind: Literal["zero", "behind", "far", "near"]
    """``zero``: the difference is zero. ``behind``: the first side is behind by the margin or more.
    ``far``: either side is behind by the margin or more. ``near``: neither is."""
    terms: Terms
    """The difference that it is about."""
    scale: str
    """As in ``Difference``."""
    margin: float = 0.0


DifferenceKey = tuple[Terms, str]
"""Terms, with a fixed sign, and scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenDifference:
    """A primary difference as the look that stopped it found it."""

    effect: Estimate | None
    """With the sign of its key."""
    stop: LookStop


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Corrected p values of a study. A null that no primary comparison tests keeps its plain p."""

    p_values: Mapping[Null, float]
    num: int
    """How many primary comparisons are corrected together."""
    shares: Mapping[Null, int] = field(default_factory=dict)
    """Null that is corrected -> how many comparisons share the error with its own in the end."""
    secondary: Mapping[Null, int] = field(default_factory=dict)
    """Null hypothesis of a secondary comparison -> how many of those are corrected together."""
    sequential: Mapping[Null, float] = field(default_factory=dict)
    """Sequential p of each null of a primary comparison by itself; empty without looks."""
    frozen: Mapping[DifferenceKey, FrozenDifference] = field(default_factory=dict)
    """The primary differences, as the looks found them; empty without looks."""

    @property
    def alone(self) -> "Corrections":
        """The p values before correction, as if nothing else had been compared."""
        return Corrections(p_values=self.sequential, num=1) if self.sequential else UNCORRECTED

    def freeze(self, measured: Measurement) -> Measurement:
        """The measurement with the numbers of the looks, wherever it is about primary differences.

        Every finding about such a difference then has the same numbers, also when more runs follow.
        """
        if not self.frozen or measured.stop is not None:
            return measured
        difference, stop = self._freeze(measured.difference)
        rungs = tuple((length, self._freeze(one)[0]) for length, one in measured.rungs)
        return replace(measured, difference=difference, rungs=rungs, stop=stop)

    def _freeze(self, difference: Difference) -> tuple[Difference, LookStop | None]:
        key = key_of_difference(difference)
        frozen = self.frozen.get(key)
        if frozen is None:
            return difference, None
        effect = frozen.effect if difference.terms == key[0] else turn_round(frozen.effect)
        is_later = effect and difference.effect and difference.effect.nums != effect.nums
        later = difference.effect if is_later else None
        return replace(difference, effect=effect), replace(frozen.stop, later=later)

    def num_with(self, difference: Difference) -> int:
        """How many comparisons are corrected together with the one of this difference."""
        return self.secondary.get(null_apart(difference), self.num)

    def num_sharing(self, null: Null) -> int:
        """The number by which the error is divided where this null is tested; 1 if it stands alone.

        Comparisons that can err no more have left the count.
        """
        return self.shares.get(null, 1)

    def p_apart(self, difference: Difference) -> float | None:
        """Two-sided p of "the difference is zero"; None without an interval."""
        effect = difference.effect
        return self._p(null_apart(difference), effect.p_value if effect else None)

    def p_not_below(self, difference: Difference, margin: float) -> float | None:
        """One-sided p of "the first side is behind by the margin or more"."""
        effect = difference.effect
        alone = p_not_below(effect, margin) if effect else None
        return self._p(null_below(difference, margin), alone)

    def p_not_above(self, difference: Difference, margin: float) -> float | None:
        """One-sided p of "the first side is ahead by the margin or more"."""
        effect = difference.effect
        alone = p_not_above(effect, margin) if effect else None
        return self._p(null_above(difference, margin), alone)

    def p_beyond(self, difference: Difference, margin: float) -> float | None:
        """Two-sided p of "the two differ by less than the margin"."""
        effect = difference.effect
        alone = p_beyond(effect, margin) if effect else None
        return self._p(null_near(difference, margin), alone)

    def p_inside(self, difference: Difference, margin: float) -> float | None:
        """p of "the two differ by the margin or more": the larger of the two one-sided p values.

        If the study corrects this null, the corrected p counts as well. So this p is never smaller
        than that of one side, and no report shows both sides and leaves one of them open.
        """
        sides = [p(difference, margin) for p in (self.p_not_below, self.p_not_above)]
        known = [p for p in sides if p is not None]
        if not known:
            return None
        return max(*known, self.p_values.get(null_far(difference, margin), 0.0))

    def p_expected(self, measured: Measurement) -> float | None:
        """p of the null that the claim expects to be wrong."""
        match measured.expects:
            case "above":
                return self.p_apart(measured.difference)
            case "equal":
                return self.p_inside(measured.difference, measured.margin)
        return self.p_not_below(measured.difference, measured.margin)

    def _p(self, null: Null, alone: float | None) -> float | None:
        """The corrected p of a null if it has one, else its sequential p, else ``alone``."""
        if alone is None:
            return None
        return self.p_values.get(null, self.sequential.get(null, alone))


UNCORRECTED = Corrections(p_values={}, num=1)


def correct_together(primary: Sequence[Measurement | None]) -> Corrections:
    """The corrected p values of comparisons that are decided once, by null hypothesis.

    A comparison that could not be tested (None, or without an interval) counts with p = 1. If two
    comparisons test the same null, the smaller p counts.
    """
    decisions = decide_family([build_family_member(m, list_plain_p_values(m)) for m in primary])
    p_values: dict[Null, float] = {}
    shares: dict[Null, int] = {}
    for measured, decision in zip(primary, decisions, strict=True):
        if measured is None or measured.effect is None or measured.effect.se is None:
            continue
        corrected = zip(nulls_of(measured), (decision.p_zero, decision.p_far), strict=True)
        for null, p in corrected:
            p_values[null] = min(p, p_values.get(null, 1.0))
            shares[null] = min(decision.num_sharing, shares.get(null, len(primary)))
    return Corrections(p_values=p_values, num=len(primary), shares=shares)


def add_secondary(primary: Corrections, secondary: Sequence[Measurement]) -> Corrections:
    """The corrections of a study whose secondary comparisons are corrected among themselves.

    A null that a primary comparison tests keeps its p; a comparison of which both nulls are tested
    so takes no part in the second family.
    """
    rest = [m for m in secondary if not primary.p_values.keys() >= set(nulls_of(m))]
    among = correct_together(rest)
    added_nulls = among.p_values.keys() - primary.p_values.keys()
    return replace(
        primary,
        p_values={**among.p_values, **primary.p_values},
        shares={**among.shares, **primary.shares},
        secondary=dict.fromkeys(added_nulls, among.num),
    )


def build_family_member(
    measured: Measurement | None,
    p_values: Mapping[Null, float],
    *,
    is_open: bool = True,
    has_left: bool = False,
) -> FamilyMember:
    """A comparison as its family is corrected.

    Args:
        measured: the comparison; None: a declared claim that no two samples test.
        p_values: of its nulls by themselves; empty without an interval.
        is_open: False: an earlier look decided or stopped it.
        has_left: it has handed on its share of the error at an earlier look.
    """
    if measured is None or measured.effect is None or not p_values:
        return FamilyMember(is_open=is_open, has_left=has_left)
    first, second = nulls_of(measured)
    return FamilyMember(
        p_zero=p_values[first],
        p_far=p_values[second],
        is_clear=is_clear_of_margin(measured.effect, measured.margin),
        is_open=is_open,
        has_left=has_left,
    )


def list_plain_p_values(measured: Measurement | None) -> Mapping[Null, float]:
    """Every null about a difference -> its p by itself; empty without an interval."""
    effect = measured.effect if measured else None
    if measured is None or effect is None:
        return {}
    margin = measured.margin
    tests = (p_not_below(effect, margin), p_not_above(effect, margin), p_beyond(effect, margin))
    known = [p for p in (effect.p_value, *tests) if p is not None]
    if len(known) < 4:
        return {}
    apart, below, above, beyond = known
    p_values = (apart, below, above, max(below, above), beyond)
    return dict(zip(list_nulls(measured), p_values, strict=True))


def list_nulls(measured: Measurement | None) -> tuple[Null, ...]:
    """Every null about a difference: zero, behind, ahead, far and near; none without any."""
    if measured is None:
        return ()
    difference, margin = measured.difference, measured.margin
    of_margin = (null_below, null_above, null_far, null_near)
    return (null_apart(difference), *(null(difference, margin) for null in of_margin))


def nulls_of(measured: Measurement) -> tuple[Null, Null]:
    """The two nulls by which a comparison is decided; they cannot both be true.

    The first says that there is no difference, or of a claim of equality: none as large as the
    margin. The second says that there is one as large as the margin.
    """
    difference, margin = measured.difference, measured.margin
    match measured.expects:
        case "above":
            return null_apart(difference), null_far(difference, margin)
        case "equal":
            return null_near(difference, margin), null_far(difference, margin)
    return null_apart(difference), null_below(difference, margin)


def null_apart(difference: Difference) -> Null:
    """The difference is zero."""
    return Null(kind="zero", terms=_either_way(difference.terms), scale=difference.scale)


def null_below(difference: Difference, margin: float) -> Null:
    """The first side is behind by the margin or more."""
    return Null(kind="behind", terms=difference.terms, scale=difference.scale, margin=margin)


def null_above(difference: Difference, margin: float) -> Null:
    """The first side is ahead by the margin or more: the second is behind."""
    terms = _turned(difference.terms)
    return Null(kind="behind", terms=terms, scale=difference.scale, margin=margin)


def null_far(difference: Difference, margin: float) -> Null:
    """The two sides differ by the margin or more."""
    terms = _either_way(difference.terms)
    return Null(kind="far", terms=terms, scale=difference.scale, margin=margin)


def null_near(difference: Difference, margin: float) -> Null:
    """The two sides differ by less than the margin."""
    terms = _either_way(difference.terms)
    return Null(kind="near", terms=terms, scale=difference.scale, margin=margin)


def null_expected(measured: Measurement) -> Null:
    """The null that a claim expects to be wrong."""
    match measured.expects:
        case "above":
            return null_apart(measured.difference)
        case "equal":
            return null_far(measured.difference, measured.margin)
    return null_below(measured.difference, measured.margin)


def key_of_difference(difference: Difference) -> DifferenceKey:
    """The same for a difference and for the one with its sides swapped."""
    return _either_way(difference.terms), difference.scale


def _either_way(terms: Terms) -> Terms:
    """The terms with a fixed sign, so that swapping the sides changes nothing."""
    return _turned(terms) if terms and terms[0][1] < 0.0 else terms


def _turned(terms: Terms) -> Terms:
    return tuple((key, -weight) for key, weight in terms)
