"""What halving threw away: how well a short rung ranks for a longer one, and what the audit found.

The audit runs losers, chosen by lot, to the end of the ladder all the same (``budget.audit``).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from rethink_ray.analysis.read.trials import CellRecord
from rethink_ray.analysis.sections.ranks import rank_correlation
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import metric_name, signed, times
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved:
    """One cell's first rung held against a longer one, on the select split."""

    cell: Cell
    short: float
    long: float
    both: int
    """Search trials that finished both: survivors and audited losers."""
    correlation: float | None
    """Of their ranks (Spearman)."""
    audited: int
    """Losers that ran the whole ladder."""
    missed: float | None
    """How far the best of them ends above the best survivor there; negative: halving was right.
    Of several searches: their mean."""


def what_halving_cost(study: Study, records: Mapping[Cell, CellRecord]) -> tuple[Halved, ...]:
    """The first rung of each cell against its second and its longest."""
    return tuple(
        _halved(study, record, ladder[0], long)
        for record in records.values()
        for ladder in [sorted(set(record.lengths))]
        for long in dict.fromkeys([*ladder[1:2], *ladder[1:][-1:]])
    )


def _halved(study: Study, record: CellRecord, short: float, long: float) -> Halved:
    pairs: list[tuple[float, float]] = []
    ends: dict[tuple[int, bool], list[float]] = defaultdict(list)
    for trial in record.search:
        first, last = (record.scores.get((trial.trial_id, n)) for n in (short, long))
        if last is None or last.select is None:
            continue
        ends[trial.search, trial.audit].append(last.select)
        if first is not None and first.select is not None:
            pairs.append((first.select, last.select))
    missed = [
        max(ends[number, True]) - max(ends[number, False])
        for number in sorted({number for number, _ in ends})
        if ends[number, True] and ends[number, False]
    ]
    return Halved(
        cell=record.cell,
        short=short,
        long=long,
        both=len(pairs),
        correlation=rank_correlation([a for a, _ in pairs], [b for _, b in pairs]),
        audited=sum(len(found) for (_, audit), found in ends.items() if audit),
        missed=fmean(missed) if missed else None,
    )


def halving_sheet(study: Study, records: Mapping[Cell, CellRecord]) -> Sheet:
    """One row per cell and pair of rungs that say anything."""
    metric = metric_name(study)
    rows = [
        (
            *(found.cell.regime, found.cell.arm),
            f"{times(found.short)} to {times(found.long)}",
            str(found.both),
            "-" if found.correlation is None else f"{found.correlation:+.2f}",
            str(found.audited),
            "-" if found.missed is None else signed(found.missed),
        )
        for found in what_halving_cost(study, records)
        if found.correlation is not None or found.missed is not None
    ]
    return Sheet(
        title="What halving threw away",
        note=(
            f"Single search trials on {study.data.select_split}. Rank correlation (Spearman) "
            "among trials that ran both rungs: mostly those that were promoted, so it understates "
            "how well the first rung ranks them all. Audited: losers, chosen by lot, that ran "
            "every length; last column: the best of them minus the best survivor at the longer "
            "rung (above zero: halving lost that much)."
        ),
        columns=(
            *("regime", "arm", "rungs", "trials at both", "rank correlation", "audited"),
            f"best audited ({metric})",
        ),
        rows=tuple(rows),
        numeric=frozenset({3, 4, 5, 6}),
    )
