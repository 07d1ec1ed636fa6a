"""Primary comparisons corrected together, and one p value for each null hypothesis of a study.

Holm's correction over the primary comparisons keeps the chance of one wrong verdict among all of
them at 5 %. Its p values stand for their null hypotheses everywhere in the study: each finding that
tests the same null, however it is worded, takes the corrected p. So no two findings disagree on
whether one difference is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.measurements import Difference, Measurement, Terms, turn_round
from rethink_ray.judge.statistics import Estimate, holm, p_not_above, p_not_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """A null hypothesis: a statement about a difference that a test may refute."""

    kind: Literal["zero", "behind", "far"]
    """``zero``: the difference is zero. ``behind``: the first side is behind by the margin or more.
    ``far``: either side is behind by the margin or more."""
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
    """Holm's p values of the primary comparisons, by null hypothesis.

    A comparison that could not be tested (None, or without an interval) counts with p = 1.

    A claim about a margin ("is not behind") is contradicted by another test than the one that
    supports it: that the difference is not zero. If no primary comparison makes that test, its p is
    multiplied by the number of primary comparisons (Bonferroni).
    """
    alone = [UNCORRECTED.p_expected(m) if m else None for m in primary]
    adjusted = holm([1.0 if p is None else p for p in alone])
    p_values: dict[Null, float] = {}
    for measured, p, corrected in zip(primary, alone, adjusted, strict=True):
        if measured is not None and p is not None:
            null = null_expected(measured)
            p_values[null] = min(corrected, p_values.get(null, 1.0))
    for measured in primary:
        p_zero = UNCORRECTED.p_apart(measured.difference) if measured else None
        if measured is not None and p_zero is not None:
            null = null_apart(measured.difference)
            p_values.setdefault(null, min(1.0, len(primary) * p_zero))
    return Corrections(p_values=p_values, num=len(primary))


def add_secondary(primary: Corrections, secondary: Sequence[Measurement]) -> Corrections:
    """The corrections of a study whose secondary comparisons are corrected among themselves.

    A null that a primary comparison tests keeps its p, and takes no part in the second family.
    """
    rest = [m for m in secondary if null_apart(m.difference) not in primary.p_values]
    among = correct_together(rest)
    return replace(
        primary,
        p_values={**among.p_values, **primary.p_values},
        secondary=dict.fromkeys(among.p_values, among.num),
    )


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
