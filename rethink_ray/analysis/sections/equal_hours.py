"""The search at equal hours: what each arm had found when the thriftiest arm was done.

Primary tables give every arm the same number of trials. Here the trials of each cell are counted in
the order they were proposed until the regime's smallest bill is spent, once without assets and
once with each arm's asset paid first. Hours are updates at the arm's median pace, so that a busy
machine makes no arm dear.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.costs import StudyCost
from rethink_ray.analysis.read.curves import CellResult
from rethink_ray.analysis.read.trials import CellRecord, Trial
from rethink_ray.analysis.sections.frontier import accelerators, hour_word
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.wording import duration, span, times
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
    """What that one scored on the select split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualHours:
    """One arm of one regime: everything it tried, and what equal hours would have bought."""

    cell: Cell
    length: float
    """The longest length that all arms of the regime have."""
    hours: float
    """Of its search trials."""
    asset_hours: float
    all_trials: Afforded
    without_asset: Afforded
    with_asset: Afforded


def at_equal_hours(
    study: Study, records: Mapping[Cell, CellRecord], cost: StudyCost
) -> tuple[EqualHours, ...]:
    """Every regime with two arms or more that share a length; second names are left out."""
    found: list[EqualHours] = []
    for regime in study.regimes:
        inside = [
            r for c, r in records.items() if c.regime == regime and c.arm not in find_twins(study)
        ]
        shared = [n for n in inside[0].lengths if all(n in r.lengths for r in inside)]
        if len(inside) > 1 and shared and all(r.search for r in inside):
            found += _of_regime(study, inside, max(shared), cost)
    return tuple(found)


def _of_regime(
    study: Study, inside: Sequence[CellRecord], length: float, cost: StudyCost
) -> list[EqualHours]:
    bills = [_bills(study, record) for record in inside]
    started_from = [{key for trial in r.search for key in trial.assets} for r in inside]
    assets = [cost.seconds_of(keys) * accelerators(study) / 3600.0 for keys in started_from]
    plain = min(sum(bill) for bill in bills)
    whole = min(sum(bill) + asset for bill, asset in zip(bills, assets, strict=True))
    return [
        EqualHours(
            cell=record.cell,
            length=length,
            hours=sum(bill),
            asset_hours=asset,
            all_trials=_afforded(study, record, bill, sum(bill), length),
            without_asset=_afforded(study, record, bill, plain, length),
            with_asset=_afforded(study, record, bill, whole - asset, length),
        )
        for record, bill, asset in zip(inside, bills, assets, strict=True)
    ]


def _bills(study: Study, record: CellRecord) -> list[float]:
    """Hours of each search trial, in the order of the search."""
    ids = {trial.trial_id for trial in record.search}
    paces = [
        score.train_seconds / score.new_steps
        for (trial_id, _), score in record.scores.items()
        if trial_id in ids and score.new_steps
    ]
    pace = statistics.median(paces) if paces else 0.0
    each = pace * accelerators(study) / 3600.0
    return [record.updates.get(trial.trial_id, 0) * each for trial in record.search]


def _afforded(
    study: Study, record: CellRecord, bill: Sequence[float], budget: float, length: float
) -> Afforded:
    """The trials that a budget pays for, one after the other, and the best of them."""
    spent, trials = 0.0, 0
    for hours in bill:
        spent += hours
        if spent > budget * (1.0 + 1e-9):
            break
        trials += 1
    ended = []
    for trial in record.search[:trials]:
        score = record.scores.get((trial.trial_id, length))
        if score is not None and score.select is not None:
            merit = rank_key(score.select, trial.trial_id)
            ended.append((merit, trial, score.select))
    if not ended:
        return Afforded(trials=trials, best=None, select=None)
    _, best, select = min(ended, key=lambda entry: entry[0])
    return Afforded(trials=trials, best=best, select=select)


def equal_hours_sheet(
    study: Study, found: Sequence[EqualHours], results: Mapping[Cell, CellResult]
) -> Sheet:
    """Arms down: at equal trials, at equal hours, and at equal hours with assets."""
    rows = [
        (
            *(one.cell.regime, one.cell.arm, times(one.length)),
            *(duration(3600.0 * one.hours), duration(3600.0 * one.asset_hours)),
            *(
                _text(kind, len_all=one.all_trials.trials, result=results[one.cell], at=one.length)
                for kind in (one.all_trials, one.without_asset, one.with_asset)
            ),
        )
        for one in found
    ]
    holder = hour_word(study).removesuffix("-hours")
    return Sheet(
        title="At equal trials, and at equal hours",
        note=(
            f"Best search trial on {study.data.select_split} at the longest shared length, single "
            f"runs; in brackets its replicates on {study.data.report_on}, where it has any. Equal "
            "hours: as many trials, in the order proposed, as the regime's smallest search bill "
            "pays for; in the last column each arm's asset is paid first."
        ),
        columns=(
            *("regime", "arm", "length", f"search ({holder} time)", f"asset ({holder} time)"),
            *("at equal trials", "at equal hours", "with assets"),
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4}),
    )


def _text(kind: Afforded, *, len_all: int, result: CellResult, at: float) -> str:
    """``31.0, 3 of 4 trials (36.3 [33.7, 38.9])``."""
    share = f"{kind.trials} of {len_all} trials"
    if kind.best is None or kind.select is None:
        return f"nothing, {share}"
    point = result.point(at)
    own = [p for p in (point.singles if point else ()) if p.incumbent == kind.best.trial_id]
    mean = own[0].mean if own else None
    told = f"{kind.select:.1f}, {share}"
    if mean is None:
        return told
    return f"{told} ({f'{mean.value:.1f} {span(mean.interval(), sign=False)}'.rstrip()})"
