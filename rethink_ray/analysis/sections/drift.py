"""How far backbones moved from where they started: |w - w0| / |w0|, by schedule length.

Vasconcelos et al. (2022) explain by it what fine-tuning takes from a classifier and freezing keeps.
From random weights w0 is the draw itself, so such an arm's drift says how far training goes, not
what it forgets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.analysis.read.trials import CellRecord
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.judge.wording import times
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.study import Study

METRIC = "backbone_drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The replicates of one arm's incumbents, length by length."""

    cell: Cell
    source: str
    """What w0 is: ``init.source``, or ``a teacher``."""
    by_length: Mapping[float, Estimate]
    """Mean over replicates; lengths at which nobody measured it are left out."""


def drifts(
    study: Study, records: Mapping[Cell, CellRecord], results: Mapping[Cell, CellResult]
) -> tuple[Drift, ...]:
    """Every contender whose replicates recorded it; empty for a study that is older than it."""
    second_names, found = find_twins(study), []
    for cell, result in results.items():
        by_length = {
            point.length: mean
            for point in result.points
            if (mean := _mean(records[cell], point)) is not None
        }
        if by_length and cell.arm not in second_names:
            source = _source(base_recipe(study, cell), result.source)
            found.append(Drift(cell=cell, source=source, by_length=by_length))
    return tuple(found)


def _source(recipe: Recipe, own: str) -> str:
    labels = recipe.labels
    taught = labels.kind != "human" and labels.start == "teacher"
    return "a teacher" if taught else own


def _mean(record: CellRecord, point: CurvePoint) -> Estimate | None:
    values: list[list[float]] = []
    for single in point.singles:
        measured = [record.measures.get((trial, point.length), {}) for trial in single.trial_ids]
        values.append([m[METRIC] for m in measured if METRIC in m])
    if point.of_searches:
        return mean_of([fmean(of_search) for of_search in values if of_search], point.looks)
    return mean_of(values[0], point.looks)


def drift_sheet(found: tuple[Drift, ...]) -> Sheet:
    """Arms down, lengths across."""
    lengths = sorted({length for drift in found for length in drift.by_length})
    rows = [
        (
            *(drift.cell.regime, drift.cell.arm, drift.source),
            *(drift_text(drift.by_length.get(length)) for length in lengths),
        )
        for drift in found
    ]
    return Sheet(
        title="How far backbones moved",
        note=(
            "|w - w0| / |w0| over all weights of the backbone, w0 being those before the first "
            "update; mean over the replicates of each length's best configuration, 95 % interval. "
            "From random weights w0 is the draw itself."
        ),
        columns=("regime", "arm", "starts from", *(times(length) for length in lengths)),
        rows=tuple(rows),
        numeric=frozenset(range(3, 3 + len(lengths))),
    )


def drift_text(mean: Estimate | None) -> str:
    """``0.354 [0.350, 0.358]``; ``0`` of a backbone that never moved."""
    if mean is None:
        return "-"
    if mean.value == 0.0:
        return "0"
    interval = mean.interval()
    shown = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{mean.value:.3f}{shown}"
