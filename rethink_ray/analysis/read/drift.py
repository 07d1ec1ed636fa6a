"""How far backbones moved from where they started: |w - w0| / |w0|, by schedule length.

Vasconcelos et al. (2022) explain by it what fine-tuning takes from a classifier and freezing keeps.
From random weights w0 is the draw itself, so such an arm's drift says how far training goes, not
what it forgets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.study import Study

DRIFT_METRIC = "backbone_drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The drift of one arm's best configuration at one schedule length."""

    cell: Cell
    source: str
    """What w0 is: ``init.source``, or ``a teacher``."""
    length: float
    mean: Estimate
    """Over replicates, or over searches."""


def measure_drifts(
    study: Study, records: Mapping[Cell, CellRecord], results: Mapping[Cell, CellResult]
) -> tuple[Drift, ...]:
    """Every contender and length whose replicates recorded it; none in older studies."""
    second_names = find_twins(study)
    return tuple(
        Drift(cell=cell, source=_source(study, cell, result), length=point.length, mean=mean)
        for cell, result in results.items()
        if cell.arm not in second_names
        for point in result.points
        if (mean := _mean(records[cell], point)) is not None
    )


def _source(study: Study, cell: Cell, result: CellResult) -> str:
    return "a teacher" if base_recipe(study, cell).labels.goes_on else result.source


def _mean(record: CellRecord, point: CurvePoint) -> Estimate | None:
    by_search: list[list[float]] = []
    for single in point.singles:
        measured = [record.measures.get((trial, point.length), {}) for trial in single.trial_ids]
        by_search.append([m[DRIFT_METRIC] for m in measured if DRIFT_METRIC in m])
    if point.of_searches:
        return mean_of([fmean(values) for values in by_search if values], point.looks)
    return mean_of(by_search[0], point.looks)
