"""What one run of each arm and length takes: hours and memory, beside the score it reaches.

Hours are those of a run of one length by itself: its updates times the seconds that an update took
its replicates along their whole ladder. The asset it starts from comes on top, in full, because
someone who has the data but not the asset pays for it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.step_times import UNEVEN, median_step_time, unevenness
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

MEMORY_FACTOR = 1.2
"""Runs are ranked by peak memory only if peaks differ by more: most of it is the libraries'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One contender at one schedule length, and what one run of it takes."""

    regime: str
    arm: str
    length: float
    score: float
    """Mean over replicates on the report split."""
    interval: tuple[float, float] | None
    run_hours: float
    """Of the accelerators (or slots) of one run, asset not included."""
    asset_hours: float
    peak_memory_bytes: int | None
    """Median over replicates of the most memory their process held; None if not measured."""
    best_for_hours: bool = False
    """No other contender of the regime scores as much in as few hours, assets included."""
    best_for_memory: bool = False

    @property
    def hours(self) -> float:
        """With the asset."""
        return self.run_hours + self.asset_hours


def count_accelerators(study: Study) -> float:
    """How many a run holds: GPUs if the study asks for any, else slots."""
    resources = study.resources
    each = resources.gpus_per_worker or 1.0
    return each * max(1, resources.workers)


def hour_word(study: Study) -> str:
    """``GPU-hours``, or ``slot-hours`` for a study on CPUs."""
    return "GPU-hours" if study.resources.gpus_per_worker else "slot-hours"


def time_unit(study: Study, longest_hours: float) -> tuple[str, float]:
    """(``slot-minutes``, how many an hour has): the unit in which the longest time reads well."""
    holder = hour_word(study).removesuffix("-hours")
    if longest_hours >= 2.0:
        return f"{holder}-hours", 1.0
    if longest_hours >= 1.0 / 30.0:
        return f"{holder}-minutes", 60.0
    return f"{holder}-seconds", 3600.0


def price_runs(
    study: Study,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
    cost: StudyCost,
) -> tuple[Priced, ...]:
    """Every contender and length with replicates, regime by regime; twins are left out."""
    second_names, even = find_twins(study), unevenness(study, records) <= UNEVEN
    rows: list[Priced] = []
    for regime in study.regimes:
        in_regime = [
            priced
            for cell, result in results.items()
            if cell.regime == regime and cell.arm not in second_names
            for point in result.points
            if (priced := _priced(study, records[cell], point, cost)) is not None
        ]
        rows += _with_fronts(in_regime, by_time=even)
    return tuple(rows)


def run_hours(study: Study, record: CellRecord, point: CurvePoint) -> float | None:
    """Accelerator hours of one run of a point's length; None if no replicate was timed."""
    step_seconds, steps = median_step_time(record, point.trial_ids), 0
    for trial_id in point.trial_ids:
        score = record.scores.get((trial_id, point.length))
        steps = score.steps or steps if score else steps
    if step_seconds is None or not steps:
        return None
    return steps * step_seconds * count_accelerators(study) / 3600.0


def _priced(study: Study, record: CellRecord, point: CurvePoint, cost: StudyCost) -> Priced | None:
    mean, hours = point.mean, run_hours(study, record, point)
    if mean is None or hours is None:
        return None
    assets_of = {trial.trial_id: trial.assets for trial in record.replicates}
    scored = [t for t in point.trial_ids if (t, point.length) in record.scores]
    asset_seconds = statistics.median(cost.seconds_of(assets_of[t]) for t in scored)
    peaks = [record.scores[t, point.length].peak_memory_bytes or 0 for t in scored]
    return Priced(
        regime=record.cell.regime,
        arm=record.cell.arm,
        length=point.length,
        score=mean.value,
        interval=mean.interval(),
        run_hours=hours,
        asset_hours=asset_seconds * count_accelerators(study) / 3600.0,
        peak_memory_bytes=int(statistics.median(peaks)) or None,
    )


def _with_fronts(rows: Sequence[Priced], *, by_time: bool) -> list[Priced]:
    """The same rows, each saying which fronts it is on."""
    measured = memory_ranked(rows)
    on_time = on_front([(p.hours, p.score) for p in rows]) if by_time else [False] * len(rows)
    on_memory = on_front([(float(p.peak_memory_bytes or 0), p.score) for p in measured])
    light = {id(p) for p, best in zip(measured, on_memory, strict=True) if best}
    return [
        replace(p, best_for_hours=best, best_for_memory=id(p) in light)
        for p, best in zip(rows, on_time, strict=True)
    ]


def memory_ranked(rows: Sequence[Priced]) -> list[Priced]:
    """The rows with a measured peak, if peaks differ enough to rank them; else none."""
    peaks = [p.peak_memory_bytes for p in rows if p.peak_memory_bytes]
    if not peaks or max(peaks) <= MEMORY_FACTOR * min(peaks):
        return []
    return [p for p in rows if p.peak_memory_bytes]


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Per (price, score): whether no other is at least as good in both and better in one."""
    return [
        not any(
            other_price <= price and other_score >= score and (other_price, other_score) != point
            for other_price, other_score in points
        )
        for point in points
        for price, score in [point]
    ]
