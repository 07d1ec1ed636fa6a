"""What a method costs, measured: time, trained parameters, operations and memory of one run.

Beside every number stands its ratio to the regime's reference arm, because a saving is one against
something. Numbers are those of the replicates at the longest length that the regime's arms share.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.analysis.read.step_times import UNEVEN, unevenness
from rethink_ray.analysis.read.trials import CellRecord, Trial
from rethink_ray.analysis.sections.frontier import Priced, hour_word
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_reference_arm, find_twins
from rethink_ray.judge.wording import duration, listed, times
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Of one run; None where nobody measured it."""

    hours: float | None
    """Of the accelerators (or slots) it holds, assets not included."""
    trained_share: float | None
    """Of the detector's parameters, those that move, 0..1."""
    step_flops: float | None
    """Floating-point operations of one update, whole batch."""
    peak_bytes: float | None
    memory_of: str = ""
    """``gpu``: its own allocations; ``process``: everything its process held since it began."""

    def over(self, other: "Amounts") -> "Amounts":
        """Each amount as a multiple of another's; of memory only what is the runs' own."""
        own = self.memory_of == other.memory_of == "gpu"
        return Amounts(
            hours=_over(self.hours, other.hours),
            trained_share=_over(self.trained_share, other.trained_share),
            step_flops=_over(self.step_flops, other.step_flops),
            peak_bytes=_over(self.peak_bytes, other.peak_bytes) if own else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCost:
    """One arm of one regime, beside the regime's reference arm."""

    cell: Cell
    reference: str
    length: float
    amounts: Amounts
    ratios: Amounts
    """The reference arm's are 1; of hours none where the machine was busy."""


def method_costs(
    study: Study,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
    priced: Sequence[Priced],
) -> tuple[MethodCost, ...]:
    """Every contender that shares a replicated length with its regime's reference arm."""
    hours = {(p.regime, p.arm, p.length): p.run_hours for p in priced}
    second_names, found = find_twins(study), []
    even = unevenness(study, records) <= UNEVEN
    for regime in study.regimes:
        inside = {c.arm: r for c, r in results.items() if c.regime == regime}
        reference = inside[find_reference_arm(study, regime)]
        for arm, result in inside.items():
            shared = [p for p in result.points if p.values and _replicated(reference, p.length)]
            if not shared or arm in second_names:
                continue
            own, its = shared[-1], reference.point(shared[-1].length)
            assert its is not None
            amounts = [
                _amounts(records[Cell(regime, name)], point, hours)
                for name, point in ((arm, own), (reference.arm, its))
            ]
            ratios = amounts[0].over(amounts[1])
            found.append(
                MethodCost(
                    cell=Cell(regime, arm),
                    reference=reference.arm,
                    length=own.length,
                    amounts=amounts[0],
                    ratios=ratios if even else replace(ratios, hours=None),
                )
            )
    return tuple(found)


def _replicated(result: CellResult, length: float) -> bool:
    point = result.point(length)
    return bool(point and point.values)


def _amounts(
    record: CellRecord, point: CurvePoint, hours: Mapping[tuple[str, str, float], float]
) -> Amounts:
    """Medians over the replicates of one length's incumbent."""
    trials = [t for t in record.replicates if t.trial_id in point.trial_ids]
    return Amounts(
        hours=hours.get((record.cell.regime, record.cell.arm, point.length)),
        trained_share=_median(trials, lambda t: t.trained_share),
        step_flops=_median(trials, lambda t: t.step_flops),
        peak_bytes=_median(trials, lambda t: t.peak_bytes or None),
        memory_of=_memory_of(trials),
    )


def _median(trials: Sequence[Trial], of: Callable[[Trial], float | None]) -> float | None:
    known = [value for trial in trials if (value := of(trial)) is not None]
    return statistics.median(known) if known else None


def _memory_of(trials: Sequence[Trial]) -> str:
    kinds = {trial.memory_of for trial in trials if trial.peak_bytes}
    return kinds.pop() if len(kinds) == 1 else ""


def _over(own: float | None, other: float | None) -> float | None:
    return own / other if own is not None and other else None


def method_sheet(study: Study, costs: Sequence[MethodCost]) -> Sheet:
    """Arms down; amounts with their ratios to the reference arm in brackets."""
    holder = hour_word(study).removesuffix("-hours")
    references = listed(list(dict.fromkeys(cost.reference for cost in costs)))
    return Sheet(
        title="What a method costs",
        note=(
            f"One run of each arm's longest length shared with {references}, median over its "
            f"replicates; in brackets as a multiple of {references}. Operations: of one update, "
            "whole batch at the largest image size, a multiplication and an addition as two. "
            f"{_memory_note(costs)}"
        ),
        columns=(
            *("regime", "arm", "length", f"{holder} time a run", "trained parameters"),
            *("operations an update", "peak memory"),
        ),
        rows=tuple(
            (*(c.cell.regime, c.cell.arm, times(c.length)), *_texts(c.amounts, c.ratios))
            for c in costs
        ),
        numeric=frozenset(range(2, 7)),
    )


def _memory_note(costs: Sequence[MethodCost]) -> str:
    if any(cost.amounts.memory_of == "gpu" for cost in costs):
        return "Memory: what the run allocated on its GPU."
    return (
        "Memory: all that its process held since it began, libraries and earlier runs included, so "
        "on CPUs it hardly depends on the method."
    )


def _texts(amounts: Amounts, ratios: Amounts) -> Iterator[str]:
    shown: tuple[tuple[float | None, float | None, Callable[[float], str]], ...] = (
        (amounts.hours, ratios.hours, lambda v: duration(3600.0 * v)),
        (amounts.trained_share, ratios.trained_share, lambda v: f"{100.0 * v:.3g} %"),
        (amounts.step_flops, ratios.step_flops, lambda v: f"{v / 1e9:.3g} GFLOP"),
        (amounts.peak_bytes, ratios.peak_bytes, lambda v: f"{v / 1e9:.3g} GB"),
    )
    for amount, ratio, spelt in shown:
        if amount is None:
            yield "not measured"
        else:
            yield spelt(amount) + (f" ({ratio:.2f})" if ratio is not None else "")
