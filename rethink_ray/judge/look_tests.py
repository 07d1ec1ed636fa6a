"""The tests of one primary comparison at the looks so far, as sequential p values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.judge.corrections import Null, null_above, null_apart, null_below, null_far
from rethink_ray.judge.families import FamilyMember, is_clear_of_margin
from rethink_ray.judge.look_errors import LookErrors
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import ArmInRegime
from rethink_ray.judge.statistics import Estimate, p_not_above, p_not_below


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryComparison:
    """One comparison of the family that is corrected together."""

    key: str
    """Names it in its study, the same at every look."""
    measured: Measurement | None
    """None: a declared claim that no two samples test."""

    @property
    def arms(self) -> frozenset[ArmInRegime]:
        """The cells whose replicates it compares."""
        samples = self.measured.comparison.samples if self.measured else ()
        return frozenset((sample.regime, sample.arm) for sample in samples)

    @property
    def effect(self) -> Estimate | None:
        """The difference; None without any."""
        return self.measured.effect if self.measured else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTests:
    """The tests of one comparison at each look so far."""

    comparison: PrimaryComparison
    """At the last look."""
    effects: tuple[Estimate, ...]
    """The difference at each look; empty unless it has an interval at every one."""
    sequential: Mapping[Null, float]
    """Null -> its sequential p; empty without an interval at the last look."""

    def as_member(self, *, is_open: bool, has_left: bool) -> FamilyMember:
        """The comparison as its family is corrected."""
        measured = self.comparison.measured
        if measured is None or measured.effect is None or not self.sequential:
            return FamilyMember(is_open=is_open, has_left=has_left)
        zero, margin = nulls_of(measured)
        return FamilyMember(
            p_zero=self.sequential[zero],
            p_far=self.sequential[margin],
            is_clear=is_clear_of_margin(measured.effect, measured.margin),
            is_open=is_open,
            has_left=has_left,
        )


def nulls_of(measured: Measurement) -> tuple[Null, Null]:
    """The two nulls by which a comparison is decided; they cannot both be true.

    The first is that there is no difference. The other one is about the margin.
    """
    difference, margin = measured.difference, measured.margin
    if measured.expects in ("above", "equal"):
        return null_apart(difference), null_far(difference, margin)
    return null_apart(difference), null_below(difference, margin)


def list_nulls(measured: Measurement | None) -> tuple[Null, ...]:
    """Every null about a difference: zero, behind, ahead and far; none without a measurement."""
    if measured is None:
        return ()
    difference, margin = measured.difference, measured.margin
    of_margin = (null(difference, margin) for null in (null_below, null_above, null_far))
    return (null_apart(difference), *of_margin)


def derive_tests(errors: LookErrors, series: Sequence[PrimaryComparison]) -> SeriesTests:
    """The sequential p values of a comparison.

    Args:
        errors: that the looks may spend.
        series: its numbers at each look so far. A look without an interval shows nothing.
    """
    last, measured = series[-1], series[-1].measured
    if measured is None or last.effect is None or last.effect.p_value is None:
        return SeriesTests(comparison=last, effects=(), sequential={})
    rows = (_plain_p(one.effect, measured.margin) for one in series)
    apart, below, above = zip(*rows, strict=True)
    far = [max(sides) for sides in zip(below, above, strict=True)]
    effects = tuple(one.effect for one in series if one.effect and one.effect.se is not None)
    return SeriesTests(
        comparison=last,
        effects=effects if len(effects) == len(series) else (),
        sequential=dict(
            zip(
                list_nulls(measured),
                (errors.overall(apart), *map(errors.overall_one_sided, (below, above, far))),
                strict=True,
            )
        ),
    )


def _plain_p(effect: Estimate | None, margin: float) -> tuple[float, float, float]:
    """p of no difference, of behind by the margin and of ahead by it; 1 without an interval."""
    if effect is None:
        return 1.0, 1.0, 1.0
    p_values = (effect.p_value, p_not_below(effect, margin), p_not_above(effect, margin))
    apart, below, above = (1.0 if p is None else p for p in p_values)
    return apart, below, above
