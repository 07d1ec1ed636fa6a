"""The search at equal hours: what each arm had found when the cheapest search was done.

Primary tables give every arm the same number of trials. Here the trials of each cell are counted in
the order they were proposed until the regime's smallest search cost is spent, once without assets
and once with each arm's asset paid first. Hours are updates times the arm's median step time, so
that a busy machine makes no arm dear.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.prices import count_accelerators, hour_word
from rethink_ray.analysis.sections.section import Section, SectionInput
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.judge.wording import duration, mean_text, times
from rethink_ray.protocol.incumbents import rank_key
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Afforded:
    """What one arm's search comes to within a budget of hours."""

    trials: int
    """How many of its trials the budget pays for."""
    best: Trial | None
    """The best of them at the longest length; None if none has finished it."""
    select: float | None
    """Its score on the select split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualHours:
    """One arm of one regime: everything it tried, and what equal hours would have bought."""

    cell: Cell
    length: float
    """The longest length that all arms of the regime have."""
    search_hours: float
    asset_hours: float
    equal_trials: Afforded
    """All of its trials."""
    equal_hours: Afforded
    equal_hours_with_assets: Afforded


def derive_equal_hours(given: SectionInput) -> tuple[EqualHours, ...]:
    """Every regime with two arms or more that share a length; twins are left out."""
    rows: list[EqualHours] = []
    for regime in given.study.regimes:
        records = [
            record
            for cell, record in given.records.items()
            if cell.regime == regime and cell.arm not in find_twins(given.study)
        ]
        shared = [x for x in records[0].lengths if all(x in r.lengths for r in records)]
        if len(records) > 1 and shared and all(record.search for record in records):
            rows += _of_regime(given, records, max(shared))
    return tuple(rows)


def _of_regime(
    given: SectionInput, records: Sequence[CellRecord], length: float
) -> list[EqualHours]:
    study = given.study
    hours = [_trial_hours(study, record) for record in records]
    assets = [_asset_hours(given, record) for record in records]
    smallest = min(sum(each) for each in hours)
    with_asset = min(sum(each) + asset for each, asset in zip(hours, assets, strict=True))
    return [
        EqualHours(
            cell=record.cell,
            length=length,
            search_hours=sum(each),
            asset_hours=asset,
            equal_trials=_afforded(study, record, length, count_afforded(each, sum(each))),
            equal_hours=_afforded(study, record, length, count_afforded(each, smallest)),
            equal_hours_with_assets=_afforded(
                study, record, length, count_afforded(each, with_asset - asset)
            ),
        )
        for record, each, asset in zip(records, hours, assets, strict=True)
    ]


def _asset_hours(given: SectionInput, record: CellRecord) -> float:
    """Of everything that the cell's search trials started from, each asset once."""
    keys = {key for trial in record.search for key in trial.assets}
    return given.cost.seconds_of(keys) * count_accelerators(given.study) / 3600.0


def _trial_hours(study: Study, record: CellRecord) -> list[float]:
    """Hours of each search trial, in the order of the search."""
    ids = {trial.trial_id for trial in record.search}
    step_times = [
        score.seconds_train / score.steps_new
        for (trial_id, _), score in record.scores.items()
        if trial_id in ids and score.steps_new
    ]
    step_time = statistics.median(step_times) if step_times else 0.0
    step_hours = step_time * count_accelerators(study) / 3600.0
    return [record.updates.get(trial.trial_id, 0) * step_hours for trial in record.search]


def count_afforded(hours: Sequence[float], budget: float) -> int:
    """How many trials, one after the other, a budget of hours pays for."""
    spent = 0.0
    for num, each in enumerate(hours):
        spent += each
        if spent > budget * (1.0 + 1e-9):
            return num
    return len(hours)


def _afforded(study: Study, record: CellRecord, length: float, num: int) -> Afforded:
    """The first ``num`` trials, and the best of them at a length."""
    ended = []
    for trial in record.search[:num]:
        score = record.scores.get((trial.trial_id, length))
        if score is not None and score.select is not None:
            merit = rank_key(score.select, trial.trial_id)
            ended.append((merit, trial, score.select))
    if not ended:
        return Afforded(trials=num, best=None, select=None)
    _, best, select = min(ended, key=lambda entry: entry[0])
    return Afforded(trials=num, best=best, select=select)


def _build(given: SectionInput, rows: Sequence[EqualHours]) -> Sheet:
    study = given.study
    holder = hour_word(study).removesuffix("-hours")
    return Sheet(
        title=EQUAL_HOURS.title,
        note=(
            f"The best search trial on {study.data.select_split} at the longest shared length, a "
            f"single run; in brackets, its replicates on {study.data.report_split}, if it has any. "
            "Equal hours: as many trials, in the order they were proposed, as fit into the hours "
            "of the regime's cheapest search. Last column: each arm pays for its asset first."
        ),
        columns=(
            "regime",
            "arm",
            "length",
            f"search ({holder} time)",
            f"asset ({holder} time)",
            "at equal trials",
            "at equal hours",
            "with assets",
        ),
        rows=tuple(_texts(row, given.results[row.cell]) for row in rows),
        numeric=frozenset({2, 3, 4}),
    )


def _texts(row: EqualHours, result: CellResult) -> tuple[str, ...]:
    return (
        row.cell.regime,
        row.cell.arm,
        times(row.length),
        duration(3600.0 * row.search_hours),
        duration(3600.0 * row.asset_hours),
        _afforded_text(row.equal_trials, row, result),
        _afforded_text(row.equal_hours, row, result),
        _afforded_text(row.equal_hours_with_assets, row, result),
    )


def _afforded_text(afforded: Afforded, row: EqualHours, result: CellResult) -> str:
    """``31.0, 3 of 4 trials (36.3 [33.7, 38.9])``."""
    share = f"{afforded.trials} of {row.equal_trials.trials} trials"
    if afforded.best is None or afforded.select is None:
        return f"no score, {share}"
    point = result.point(row.length)
    singles = point.singles if point else ()
    replicated = [p.mean for p in singles if p.incumbent == afforded.best.trial_id and p.mean]
    brackets = f" ({mean_text(replicated[0])})" if replicated else ""
    return f"{afforded.select:.1f}, {share}{brackets}"


EQUAL_HOURS = Section(
    key="equal_hours",
    title="At equal trials, and at equal hours",
    part="cost",
    derive_rows=derive_equal_hours,
    build_sheet=_build,
)
