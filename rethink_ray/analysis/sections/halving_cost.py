"""What halving cost: how well a short rung ranks for a longer one, and what the audit found.

The audit runs losers, chosen by lot, to the end of the ladder all the same (``budget.audit``).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.ranks import rank_correlation
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.wording import metric_name, signed, times
from rethink_ray.spec.resolve import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingCost:
    """One cell's first rung held against a longer one, on the select split."""

    cell: Cell
    lengths: tuple[float, float]
    trials: int
    """Search trials that finished both: survivors and audited losers."""
    rank_correlation: float | None
    """Spearman's."""
    audited: int
    """Losers that ran the whole ladder."""
    best_audited: float | None
    """How far the best of them ends above the best survivor there; negative: halving was right.
    Of several searches: their mean."""


def derive_halving_cost(given: SectionInput) -> tuple[HalvingCost, ...]:
    """The first rung of each cell against its second and its longest."""
    return tuple(
        _halving_cost(record, (ladder[0], long))
        for record in given.records.values()
        for ladder in [sorted(set(record.lengths))]
        for long in dict.fromkeys([*ladder[1:2], *ladder[1:][-1:]])
    )


def _halving_cost(record: CellRecord, lengths: tuple[float, float]) -> HalvingCost:
    pairs: list[tuple[float, float]] = []
    ends: dict[tuple[int, bool], list[float]] = defaultdict(list)
    for trial in record.search:
        first, last = (record.scores.get((trial.trial_id, length)) for length in lengths)
        if last is None or last.select is None:
            continue
        ends[trial.search, trial.audit].append(last.select)
        if first is not None and first.select is not None:
            pairs.append((first.select, last.select))
    gaps = [
        max(ends[number, True]) - max(ends[number, False])
        for number in sorted({number for number, _ in ends})
        if ends[number, True] and ends[number, False]
    ]
    return HalvingCost(
        cell=record.cell,
        lengths=lengths,
        trials=len(pairs),
        rank_correlation=rank_correlation([a for a, _ in pairs], [b for _, b in pairs]),
        audited=sum(len(scores) for (_, audit), scores in ends.items() if audit),
        best_audited=fmean(gaps) if gaps else None,
    )


def _build(given: SectionInput, rows: Sequence[HalvingCost]) -> Sheet:
    return Sheet(
        title=HALVING_COST.title,
        note=(
            f"Single search trials on {given.study.data.select_split}. Rank correlation (Spearman; "
            "1: both rungs rank alike) among trials that ran both rungs. Most of them were "
            "promoted, so it understates how well the first rung ranks all trials. Audited: "
            "losers, chosen by lot, that ran every length. Last column: the best of them minus the "
            "best survivor at the longer rung; above zero, halving lost that much."
        ),
        columns=(
            "regime",
            "arm",
            "rungs",
            "trials at both",
            "rank correlation",
            "audited",
            f"best audited ({metric_name(given.study)})",
        ),
        rows=tuple(
            _texts(row)
            for row in rows
            if row.rank_correlation is not None or row.best_audited is not None
        ),
        numeric=frozenset({3, 4, 5, 6}),
    )


def _texts(row: HalvingCost) -> tuple[str, ...]:
    return (
        row.cell.regime,
        row.cell.arm,
        " to ".join(times(length) for length in row.lengths),
        str(row.trials),
        "-" if row.rank_correlation is None else f"{row.rank_correlation:+.2f}",
        str(row.audited),
        "-" if row.best_audited is None else signed(row.best_audited),
    )


HALVING_COST = Section(
    key="halving_cost",
    title="What halving cost",
    part="search",
    derive_rows=derive_halving_cost,
    build_sheet=_build,
)
