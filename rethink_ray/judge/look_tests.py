"""The tests of one primary comparison at the looks so far, as sequential p values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.judge.corrections import Null, build_family_member, list_nulls, list_plain_p_values
from rethink_ray.judge.families import FamilyMember
from rethink_ray.judge.look_errors import LookErrors
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import ArmInRegime
from rethink_ray.judge.statistics import Estimate


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
        return build_family_member(
            self.comparison.measured, self.sequential, is_open=is_open, has_left=has_left
        )


def derive_tests(errors: LookErrors, series: Sequence[PrimaryComparison]) -> SeriesTests:
    """The sequential p values of a comparison.

    Args:
        errors: that the looks may spend.
        series: its numbers at each look so far. A look without an interval shows nothing.
    """
    last, measured = series[-1], series[-1].measured
    if measured is None or not list_plain_p_values(measured):
        return SeriesTests(comparison=last, effects=(), sequential={})
    nulls = list_nulls(measured)
    nothing_shown = (1.0,) * len(nulls)
    rows = (tuple(list_plain_p_values(one.measured).values()) or nothing_shown for one in series)
    by_null = dict(zip(nulls, zip(*rows, strict=True), strict=True))
    effects = tuple(one.effect for one in series if one.effect and one.effect.se is not None)
    return SeriesTests(
        comparison=last,
        effects=effects if len(effects) == len(series) else (),
        sequential={null: _combine(errors, null, p_values) for null, p_values in by_null.items()},
    )


def _combine(errors: LookErrors, null: Null, p_values: Sequence[float]) -> float:
    """The sequential p of a null, from its plain p at each look."""
    is_two_sided = null.kind in ("zero", "near")
    return errors.overall(p_values) if is_two_sided else errors.overall_one_sided(p_values)
