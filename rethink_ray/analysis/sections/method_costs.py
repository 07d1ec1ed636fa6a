"""What a method costs, measured: time, trained parameters, operations and memory of one run.

Beside every number stands its ratio to the regime's reference arm, because a saving is one against
something. Numbers are those of the replicates at the longest length that the regime's arms share.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.prices import hour_word, run_hours
from rethink_ray.analysis.read.step_times import UNEVEN, unevenness
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_reference_arm, find_twins
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import Trial
from rethink_ray.judge.wording import duration, listed, times
from rethink_ray.spec.number_text import say_number
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Of one run; None for what was not measured."""

    run_hours: float | None
    """Of the accelerators (or slots) it holds, assets not included."""
    trained_share: float | None
    """Of the detector's parameters, those that move, 0..1."""
    step_flops: float | None
    """Floating-point operations of one update, whole batch."""
    peak_memory_bytes: float | None
    peak_memory_of: str = ""
    """``gpu``: its own allocations; ``process``: everything its process held since it began."""

    def over(self, other: "Amounts") -> "Amounts":
        """Each amount as a multiple of another's; of memory only if it is the runs' own."""
        is_own = self.peak_memory_of == other.peak_memory_of == "gpu"
        memory = _ratio(self.peak_memory_bytes, other.peak_memory_bytes) if is_own else None
        return Amounts(
            run_hours=_ratio(self.run_hours, other.run_hours),
            trained_share=_ratio(self.trained_share, other.trained_share),
            step_flops=_ratio(self.step_flops, other.step_flops),
            peak_memory_bytes=memory,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCost:
    """One arm of one regime, beside the regime's reference arm."""

    cell: Cell
    reference: str
    length: float
    amounts: Amounts
    ratios: Amounts
    """The reference arm's are 1; of hours None if the machine was busy."""


def derive_method_costs(given: SectionInput) -> tuple[MethodCost, ...]:
    """Every contender that shares a replicated length with its regime's reference arm."""
    rows: list[MethodCost] = []
    for regime in given.study.regimes:
        results = {c.arm: r for c, r in given.results.items() if c.regime == regime}
        reference = results[find_reference_arm(given.study, regime)]
        for arm, result in results.items():
            shared = _last_shared(result, reference)
            if shared is not None and arm not in find_twins(given.study):
                rows.append(_method_cost(given, (result, reference), shared))
    if unevenness(given.study, given.records) <= UNEVEN:
        return tuple(rows)
    return tuple(replace(row, ratios=replace(row.ratios, run_hours=None)) for row in rows)


def _last_shared(result: CellResult, reference: CellResult) -> float | None:
    """The longest length at which both arms have replicates."""
    replicated = {point.length for point in reference.points if point.values}
    shared = [p.length for p in result.points if p.values and p.length in replicated]
    return shared[-1] if shared else None


def _method_cost(
    given: SectionInput, results: tuple[CellResult, CellResult], length: float
) -> MethodCost:
    """One arm beside the reference arm, which comes second."""
    amounts = [_amounts(given, result, length) for result in results]
    return MethodCost(
        cell=Cell(results[0].regime, results[0].arm),
        reference=results[1].arm,
        length=length,
        amounts=amounts[0],
        ratios=amounts[0].over(amounts[1]),
    )


def _amounts(given: SectionInput, result: CellResult, length: float) -> Amounts:
    """Medians over the replicates of one length's incumbent."""
    point, record = result.point(length), given.records[Cell(result.regime, result.arm)]
    assert point is not None, "a shared length has replicates"
    trials = [t for t in record.replicates if t.trial_id in point.trial_ids]
    return Amounts(
        run_hours=run_hours(given.study, record, point),
        trained_share=_median(trials, lambda t: t.trained_share),
        step_flops=_median(trials, lambda t: t.step_flops),
        peak_memory_bytes=_median(trials, lambda t: t.peak_memory_bytes or None),
        peak_memory_of=_peak_memory_of(trials),
    )


def _median(trials: Sequence[Trial], amount: Callable[[Trial], float | None]) -> float | None:
    known = [value for trial in trials if (value := amount(trial)) is not None]
    return statistics.median(known) if known else None


def _peak_memory_of(trials: Sequence[Trial]) -> str:
    kinds = {trial.peak_memory_of for trial in trials if trial.peak_memory_bytes}
    return kinds.pop() if len(kinds) == 1 else ""


def _ratio(amount: float | None, reference: float | None) -> float | None:
    return amount / reference if amount is not None and reference else None


def _build(given: SectionInput, rows: Sequence[MethodCost]) -> Sheet:
    holder = hour_word(given.study).removesuffix("-hours")
    references = listed(list(dict.fromkeys(row.reference for row in rows)))
    return Sheet(
        title=METHOD_COSTS.title,
        note=(
            f"One run at each arm's longest length shared with {references}, median over its "
            f"replicates; in brackets, as a multiple of {references}. Operations: of one update of "
            "the whole batch at the largest image size; a multiplication and an addition are two. "
            f"{_memory_note(rows)}"
        ),
        columns=(
            "regime",
            "arm",
            "length",
            f"{holder} time a run",
            "trained parameters",
            "operations an update",
            "peak memory",
        ),
        rows=tuple(
            (row.cell.regime, row.cell.arm, times(row.length), *_texts(row.amounts, row.ratios))
            for row in rows
        ),
        numeric=frozenset(range(2, 7)),
    )


def _memory_note(rows: Sequence[MethodCost]) -> str:
    if any(row.amounts.peak_memory_of == "gpu" for row in rows):
        return "Memory: what the run allocated on its GPU."
    return (
        "Memory: everything that its process held since it began, libraries and earlier runs "
        "included, so on CPUs it hardly depends on the method."
    )


def _texts(amounts: Amounts, ratios: Amounts) -> Iterator[str]:
    memory, memory_ratio = amounts.peak_memory_bytes, ratios.peak_memory_bytes
    spelt: tuple[tuple[float | None, float | None, Callable[[float], str]], ...] = (
        (amounts.run_hours, ratios.run_hours, lambda v: duration(3600.0 * v)),
        (amounts.trained_share, ratios.trained_share, lambda v: f"{100.0 * v:.3g} %"),
        (amounts.step_flops, ratios.step_flops, lambda v: f"{say_number(v / 1e9)} GFLOP"),
        (memory, memory_ratio, lambda v: f"{say_number(v / 1e9)} GB"),
    )
    for amount, ratio, text_of in spelt:
        if amount is None:
            yield "not measured"
        else:
            yield text_of(amount) + (f" ({ratio:.2f})" if ratio is not None else "")


METHOD_COSTS = Section(
    key="method_costs",
    title="What a method costs",
    part="cost",
    derive_rows=derive_method_costs,
    build_sheet=_build,
)
