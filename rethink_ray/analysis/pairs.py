"""Two arms of one regime side by side, rung by rung, and which arms are compared at all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.judge.statistics import Estimate, sample_sd, welch
from rethink_ray.protocol.cell_rules import may_end_early
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAt:
    """The replicates of two arms' incumbents at one length."""

    length: float
    reference: CurvePoint | None
    other: CurvePoint | None
    lead: Estimate | None
    """Welch; positive = ``other`` is better. None if a side has nothing, or if the method ended
    every replicate of both."""
    best: tuple[float, float] | None = None
    """Where each arm is judged at its own best length: the reference's, the other's. ``length`` is
    the longer of the two then."""

    @property
    def sds(self) -> tuple[float, float]:
        """Spread over replicates: reference, other."""
        return (_sd(self.reference), _sd(self.other))

    @property
    def evidence(self) -> tuple[str, ...]:
        """Trial ids of both sides."""
        return tuple(t for p in (self.reference, self.other) if p for t in p.trial_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two arms of one regime along the lengths they share."""

    regime: str
    reference: CellResult
    other: CellResult
    rungs: tuple[PairAt, ...]
    start_alone: bool = True
    """What they start from is all that they differ in."""
    at_best: PairAt | None = None
    """Each arm at its own best length, where ladders end when they converge."""

    @property
    def names(self) -> tuple[str, str]:
        """(reference arm, other arm)."""
        return (self.reference.arm, self.other.arm)

    @property
    def headline(self) -> PairAt | None:
        """What the two arms are judged by, fixed by the study file: their longest shared length, or
        each at its best."""
        if self.at_best is not None:
            return self.at_best
        return self.rungs[-1] if self.rungs else None


def build_pair(
    study: Study, reference: CellResult, other: CellResult, *, start_alone: bool = True
) -> Pair:
    """Both arms at every length that both ladders have."""
    shared = [length for length in reference.lengths if length in other.lengths]
    return Pair(
        regime=reference.regime,
        reference=reference,
        other=other,
        start_alone=start_alone,
        rungs=tuple(_at(study, reference, other, (length, length)) for length in shared),
        at_best=_at_best(study, reference, other) if shared else None,
    )


def judged_at(study: Study) -> str:
    """Where two arms meet in a headline, in words."""
    if may_end_early(study):
        return "each arm at its own best length"
    return "the longest shared length of each pair"


def _at_best(study: Study, reference: CellResult, other: CellResult) -> PairAt | None:
    """Each arm at the length that its search found best; None where no ladder ends early."""
    if not may_end_early(study):
        return None
    ends = tuple(r.best_length or r.lengths[-1] for r in (reference, other))
    return replace(_at(study, reference, other, (ends[0], ends[1])), best=(ends[0], ends[1]))


def _at(
    study: Study, reference: CellResult, other: CellResult, lengths: tuple[float, float]
) -> PairAt:
    left, right = reference.point(lengths[0]), other.point(lengths[1])
    lead = None
    if left and right and not (_all_failed(left) and _all_failed(right)):
        lead = welch(
            list(right.values.values()),
            list(left.values.values()),
            max(left.looks, right.looks),
        )
    return PairAt(length=max(lengths), reference=left, other=right, lead=lead)


def reference_arm(study: Study, results: Mapping[str, CellResult]) -> str:
    """The arm the others are measured against: the first from random weights, else the first."""
    arms = list(study.arms)
    return next((arm for arm in arms if results[arm].source == "random"), arms[0])


def twins(study: Study) -> dict[str, str]:
    """Arm -> the earlier arm that says exactly the same (an A/A check)."""
    found: dict[str, str] = {}
    arms = list(study.arms.items())
    for index, (name, spec) in enumerate(arms):
        same = [other for other, earlier in arms[:index] if earlier == spec]
        if same:
            found[name] = same[0]
    return found


def _all_failed(point: CurvePoint) -> bool:
    return bool(point.trial_ids) and len(point.failed) == len(point.trial_ids)


def _sd(point: CurvePoint | None) -> float:
    return sample_sd(list(point.values.values())) if point else 0.0
