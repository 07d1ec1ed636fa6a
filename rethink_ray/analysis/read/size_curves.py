"""The scores of two arms by the number of labelled images, from the regimes of a study.

Regimes that differ in more than images and schedule (in augmentation, say) are no points of one
curve, so each such group has curves of its own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rethink_ray.judge.arms import find_reference_arm, find_twins
from rethink_ray.judge.label_worth import SizeCurve, SizePoint
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.protocol.cell_rules import may_end_early
from rethink_ray.spec.draws import redraws
from rethink_ray.spec.edits import count_looks_before
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.settings import settled_paths
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePair:
    """An arm and the reference, each by its number of images."""

    arm: SizeCurve
    reference: SizeCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What the points of curves are read from."""

    study: Study
    facts: DataFacts
    records: Mapping[Cell, CellRecord]
    results: Mapping[Cell, CellResult]


def read_curve_pairs(
    study: Study,
    facts: DataFacts,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
) -> Iterator[CurvePair]:
    """Every arm beside the reference, for each group of regimes that share a reference.

    In each regime both stand at the longest length that both have, or each at its best length
    where ladders may end early: the lengths of the headlines.
    """
    source = _Source(study=study, facts=facts, records=records, results=results)
    for regimes in _group_regimes(study, facts):
        references = {find_reference_arm(study, regime) for regime in regimes}
        if len(references) == 1:
            (reference,) = references
            for arm in study.arms:
                if arm != reference and arm not in find_twins(study):
                    yield _read_pair(source, regimes, (reference, arm))


def _group_regimes(study: Study, facts: DataFacts) -> list[list[str]]:
    """Regimes that differ in images and schedule alone, from the fewest images to the most.

    Of regimes with equally many images the first one of the file counts.
    """
    groups: dict[str, dict[int, str]] = {}
    for name, regime in study.regimes.items():
        others = {
            path: value
            for path, value in regime.set.items()
            if not all(p.startswith("schedule.") for p in settled_paths({path: value}))
        }
        sizes = groups.setdefault(json.dumps(others, sort_keys=True), {})
        sizes.setdefault(facts.regime_sizes.get(name, 0), name)
    return [[sizes[images] for images in sorted(sizes)] for sizes in groups.values()]


def _read_pair(source: _Source, regimes: list[str], arms: tuple[str, str]) -> CurvePair:
    points: dict[str, list[SizePoint]] = {arm: [] for arm in arms}
    for regime in regimes:
        cells = {arm: Cell(regime, arm) for arm in arms}
        lengths = _pick_lengths(source, cells)
        for arm, length in lengths.items():
            point = source.results[cells[arm]].point(length)
            if point is not None and point.values:
                points[arm].append(_read_point(source, cells[arm], point))
    reference, compared = (SizeCurve(arm=name, points=tuple(points[name])) for name in arms)
    return CurvePair(arm=compared, reference=reference)


def _pick_lengths(source: _Source, cells: Mapping[str, Cell]) -> dict[str, float]:
    """Arm -> the length at which it is compared; empty if the arms share none."""
    results = {arm: source.results[cell] for arm, cell in cells.items()}
    if may_end_early(source.study):
        return {arm: r.best_length for arm, r in results.items() if r.best_length is not None}
    shared = set.intersection(*(set(result.lengths) for result in results.values()))
    return dict.fromkeys(cells, max(shared)) if shared else {}


def _read_point(source: _Source, cell: Cell, point: CurvePoint) -> SizePoint:
    """The scores of a cell at one length; their keys are draws where images are drawn anew."""
    is_redrawn = redraws(source.study, source.facts, cell.regime)
    values = dict(point.values)
    if is_redrawn and not point.of_searches:
        draws = {t.trial_id: t.draw for t in source.records[cell].replicates}
        scores = zip(point.trial_ids, point.values.values(), strict=True)
        values = {draws[trial_id]: score for trial_id, score in scores}
    return SizePoint(
        regime=cell.regime,
        images=source.facts.regime_sizes.get(cell.regime, 0),
        length=point.length,
        values=values,
        is_redrawn=is_redrawn,
        looks=point.looks + count_looks_before(source.study, cell.regime, cell.arm),
    )
