"""What a score costs: AP against the hours and the memory of one run, and who is not outdone.

Hours of a stand-alone run of a length: its updates at the pace its replicates had along their whole
ladder. The asset it starts from comes on top, in full, because whoever has the data but not the
asset pays for it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.analysis.read.costs import StudyCost
from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.analysis.read.step_times import UNEVEN, pace_of, unevenness
from rethink_ray.analysis.read.trials import CellRecord
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.wording import duration, metric_name, span, times
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

TOLD_APART = 1.2
"""Peak memories within this factor of each other rank nobody: most of it is the libraries'."""


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
    peak_bytes: int
    """Median over replicates of the most memory their process held; 0 where nobody measured."""
    best_for_hours: bool = False
    """No other contender of the regime scores as much in as few hours, assets included."""
    best_for_memory: bool = False

    @property
    def hours(self) -> float:
        """With the asset."""
        return self.run_hours + self.asset_hours


def accelerators(study: Study) -> float:
    """How many a run holds: GPUs where it asks for any, else slots."""
    resources = study.resources
    each = resources.gpus_per_worker or 1.0
    return each * max(1, resources.workers)


def hour_word(study: Study) -> str:
    """``GPU-hours``, or ``slot-hours`` for a study on CPUs."""
    return "GPU-hours" if study.resources.gpus_per_worker else "slot-hours"


def time_unit(study: Study, longest: float) -> tuple[str, float]:
    """(``slot-minutes``, how many an hour has): the unit in which the longest time reads well."""
    holder = hour_word(study).removesuffix("-hours")
    if longest >= 2.0:
        return f"{holder}-hours", 1.0
    return (f"{holder}-minutes", 60.0) if longest >= 1.0 / 30.0 else (f"{holder}-seconds", 3600.0)


def price(
    study: Study,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
    cost: StudyCost,
) -> tuple[Priced, ...]:
    """Every contender and length with replicates, regime by regime; second names are left out."""
    second_names, even = find_twins(study), unevenness(study, records) <= UNEVEN
    found: list[Priced] = []
    for regime in study.regimes:
        inside = [
            priced
            for cell, result in results.items()
            if cell.regime == regime and cell.arm not in second_names
            for point in result.points
            if (priced := _priced(study, records[cell], point, cost)) is not None
        ]
        found += _marked(study, inside, by_time=even)
    return tuple(found)


def _priced(study: Study, record: CellRecord, point: CurvePoint, cost: StudyCost) -> Priced | None:
    mean, pace, steps, peaks, assets = point.mean, pace_of(record, point.trial_ids), 0, [], []
    started_from = {trial.trial_id: trial.assets for trial in record.replicates}
    for trial_id in point.trial_ids:
        score = record.scores.get((trial_id, point.length))
        if score is None:
            continue
        steps = score.steps or steps
        peaks.append(score.peak_bytes)
        assets.append(cost.seconds_of(started_from[trial_id]))
    if mean is None or pace is None or not steps:
        return None
    return Priced(
        regime=record.cell.regime,
        arm=record.cell.arm,
        length=point.length,
        score=mean.value,
        interval=mean.interval(),
        run_hours=steps * pace * accelerators(study) / 3600.0,
        asset_hours=statistics.median(assets) * accelerators(study) / 3600.0,
        peak_bytes=int(statistics.median(peaks)),
    )


def _marked(study: Study, inside: Sequence[Priced], *, by_time: bool) -> list[Priced]:
    """The same, told who is on which front."""
    measured = memory_ranked(inside)
    on_time = front([(p.hours, p.score) for p in inside])
    by_hours = on_time if by_time else [False] * len(inside)
    by_memory = front([(float(p.peak_bytes), p.score) for p in measured])
    light = {id(p) for p, best in zip(measured, by_memory, strict=True) if best}
    return [
        replace(p, best_for_hours=best, best_for_memory=id(p) in light)
        for p, best in zip(inside, by_hours, strict=True)
    ]


def memory_ranked(inside: Sequence[Priced]) -> list[Priced]:
    """Who has a measured peak, if the peaks differ enough to rank anybody; else nobody."""
    measured = [p for p in inside if p.peak_bytes > 0]
    peaks = [p.peak_bytes for p in measured]
    return measured if peaks and max(peaks) > TOLD_APART * min(peaks) else []


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Per (price, score): whether no other is at least as good in both and better in one."""
    oriented = [(price, -score) for price, score in points]
    return [
        not any(a <= price and b <= score and (a, b) != (price, score) for a, b in oriented)
        for price, score in oriented
    ]


def price_sheet(study: Study, priced: Sequence[Priced]) -> Sheet:
    """Every contender and length, those on a front marked."""
    rows = [
        (
            *(p.regime, p.arm, times(p.length)),
            f"{p.score:.1f} {span(p.interval, sign=False)}".rstrip(),
            duration(3600.0 * p.run_hours),
            duration(3600.0 * p.hours),
            f"{p.peak_bytes / 1e9:.2f}" if p.peak_bytes else "not measured",
            " and ".join(
                name
                for name, on in (("time", p.best_for_hours), ("memory", p.best_for_memory))
                if on
            )
            or "-",
        )
        for p in priced
    ]
    holder = hour_word(study).removesuffix("-hours")
    return Sheet(
        title="What a score costs",
        note=(
            "One run of each length by itself: updates at its replicates' median pace, "
            f"times the {holder}s it holds; an asset is booked in full to whoever starts from it. "
            "On the front: no other arm or length of the regime scores as much for as little. "
            "Memory: the most that one process of a replicate held, median; peaks within a factor "
            f"of {TOLD_APART:g} rank nobody, nor do times where paces of one method differ by more "
            f"than {UNEVEN:g}."
        ),
        columns=(
            *("regime", "arm", "length", metric_name(study)),
            *(f"{holder} time", f"{holder} time with asset"),
            *("peak memory (GB)", "on the front of"),
        ),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5, 6}),
    )
