"""Several searches of one cell: each is one value of how well the arm does if it is tuned so.

The value is the mean over the replicates of the search's best configuration. If the method itself
ended every trial of a search, it has the worst value: to leave it out would flatter its arm.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from rethink_ray.judge.read.curves import CellResult, CurvePoint, best_lengths, cell_result
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.protocol.cell_rules import CellRules, has_looks, num_searches
from rethink_ray.protocol.incumbents import WORST_SCORE, rank_key
from rethink_ray.protocol.search_end import SearchEnd, count_unproposed
from rethink_ray.spec.resolve import Cell, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study


def cell_results(study: Study, records: Mapping[Cell, CellRecord]) -> dict[Cell, CellResult]:
    """The result of every cell: of its one search, or of all of its searches together."""
    if num_searches(study) == 1:
        return {cell: cell_result(study, record) for cell, record in records.items()}
    return {cell: _of_cell(study, cell, records) for cell in records}


def _of_cell(study: Study, cell: Cell, records: Mapping[Cell, CellRecord]) -> CellResult:
    numbers = range(records[cell].num_searches)
    each = {n: cell_result(study, records[cell].of_search(n)) for n in numbers}
    over = {n for n in numbers if search_end(study, cell, records, n).is_over}
    failed = over
    if LENGTH_PATH in space_of(study, cell):  # a search that never sampled a length did not fail
        failed = {n for n in over if not each[n].points}
    looks = 1 if has_looks(study) else num_looks(records[cell])

    def together(length: float, by_search: Mapping[int, CurvePoint | None]) -> CurvePoint | None:
        points = {n: point for n, point in by_search.items() if point is not None}
        barren = tuple(n for n in sorted(failed) if _found_nothing(records[cell], points.get(n)))
        to_come = len(numbers) - len({*points, *barren, *over})
        return all_searches(length, points, barren, looks, to_come * study.budget.num_replicates)

    points = [together(x, {n: r.point(x) for n, r in each.items()}) for x in each[0].lengths]
    kept = tuple(point for point in points if point is not None)
    fixed = [
        together(x, {n: p for n, r in each.items() for p in r.one_configuration if p.length == x})
        for x in each[0].lengths
    ]
    best, shortest = best_lengths(study, kept)
    return replace(
        each[0],
        points=kept,
        one_configuration=tuple(point for point in fixed if point is not None and point.values),
        best_length=best,
        shortest_within=shortest,
        configurations=tuple(g for result in each.values() for g in result.configurations),
        states=dict(sorted(sum((Counter(r.states) for r in each.values()), Counter()).items())),
    )


def all_searches(
    length: float,
    by_search: Mapping[int, CurvePoint],
    barren: Sequence[int] = (),
    looks: int = 1,
    to_come: int = 0,
) -> CurvePoint | None:
    """The searches of one cell at one length as one point; None if none of them got there.

    Args:
        length: in units of 1x.
        by_search: number of the search -> the replicates of its best configuration there.
        barren: searches that are over and finished nothing there.
        looks: how often searches were added and looked at.
        to_come: replicates of searches that have not come to this length yet.
    """
    if not by_search:
        return None
    points = [by_search[number] for number in sorted(by_search)]
    means = {n: fmean(p.values.values()) for n, p in by_search.items() if p.values}
    values = means | dict.fromkeys(barren, WORST_SCORE)
    selects = [p.select for p in points if p.select is not None]
    best = min(points, key=lambda p: rank_key(p.select, p.incumbent))
    return CurvePoint(
        length=length,
        incumbent=best.incumbent,
        select=fmean(selects) if selects else None,
        values=dict(sorted(values.items())),
        trial_ids=tuple(t for p in points for t in p.trial_ids),
        failed=tuple(t for p in points for t in p.failed),
        waiting=sum(p.waiting for n, p in by_search.items() if n not in barren) + to_come,
        looks=max(p.looks for p in points) + looks - 1,
        unscored=sum(p.unscored for p in points),
        of_searches=dict(sorted(by_search.items())),
        barren=tuple(barren),
        order=tuple(range(1 + max((*by_search, *barren)))),
    )


def num_looks(record: CellRecord) -> int:
    """1, and one more for each time that searches were added to a study with results."""
    return max(1, len({t.searches for t in record.search if t.round == 0}))


def _found_nothing(record: CellRecord, point: CurvePoint | None) -> bool:
    """Whether nothing finished there, or nothing that can run (a copied configuration)."""
    if point is None:
        return True
    incumbent = next(t for t in record.search if t.trial_id == point.incumbent)
    return not point.values and not incumbent.can_run


def search_end(
    study: Study, cell: Cell, records: Mapping[Cell, CellRecord], number: int
) -> SearchEnd:
    """Whether one search of a cell is over, and its incumbents."""
    trials = records[cell].of_search(number).search
    waiting = any(trial.state == "waiting" for trial in trials)
    return SearchEnd(
        is_over=not waiting and not num_unproposed(study, cell, records, number),
        incumbents=frozenset(trial.trial_id for trial in trials if trial.incumbent_for),
    )


def num_unproposed(
    study: Study, cell: Cell, records: Mapping[Cell, CellRecord], number: int
) -> int:
    """Trials that one search of a cell has yet to propose."""
    rules, trials = CellRules(study, cell), records[cell].of_search(number).search
    sources = {source: search_end(study, source, records, number) for source in rules.sources}
    return count_unproposed(rules, len(trials), {trial.of for trial in trials}, sources)
