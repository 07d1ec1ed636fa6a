"""Samples read from the cells of a study: what claims compare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rethink_ray.judge.arms import find_twins, recipe_texts
from rethink_ray.judge.read.cell_labels import cell_labels, passes_labels
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult, CurvePoint
from rethink_ray.judge.read.measures import ALWAYS_SCORED, costs_at, still_to_come
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.samples import Labels, ScoreSample
from rethink_ray.judge.wording import counted, times
from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.edits import count_looks_before
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.metrics import SCORES
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.study import Study


def objective_samples(
    study: Study, facts: DataFacts, results: Mapping[Cell, CellResult]
) -> Iterator[ScoreSample]:
    """One sample per cell and length, of the study's objective; second names of twins included.

    Lengths that nothing has reached yet are there too, without values.
    """
    for cell, result in results.items():
        for row in _rows(study, cell, result, facts):
            values = row.point.values if row.point else {}
            yield _sample(row, study.objective.metric, values)


def study_samples(
    study: Study,
    facts: DataFacts,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
    cost: StudyCost | None = None,
) -> Iterator[ScoreSample]:
    """One sample per cell, length and metric; a contender's second name is left out.

    Lengths that nothing has reached yet are there too, without values.
    """
    second_names = find_twins(study)
    for cell, result in results.items():
        if cell.arm in second_names:
            continue
        for row in _rows(study, cell, result, facts):
            measured = _measured(study, records[cell], row.point, row.length, cost)
            for metric, values in measured.items():
                yield _sample(row, metric, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One cell at one length: what its samples of all metrics share."""

    labels: Labels
    images: int
    length: float
    point: CurvePoint | None
    configuration: str
    recipe: Mapping[str, str]
    absent: str
    looks_before: int
    """How often results could be read before the cell was added."""


def _rows(study: Study, cell: Cell, result: CellResult, facts: DataFacts) -> Iterator[_Row]:
    searches = f"every search of {cell.name} in {fingerprint_of(study)}/{facts.fingerprint}"
    shared = cell_labels(study, cell, facts)
    base, space = base_recipe(study, cell), space_of(study, cell)
    images, recipe = facts.regime_sizes.get(cell.regime, 0), recipe_texts(base, space)
    for length in result.lengths:
        point = result.point(length)
        low_rate = as_text(max(base.schedule.decay.points(length), default=0.0))
        schedule = {"schedule": frozenset({times(length)}), "low_rate": frozenset({low_rate})}
        yield _Row(
            labels={**shared, **passes_labels(base, space, length, images), **schedule},
            images=images,
            length=length,
            point=point,
            configuration=_configuration(searches, point, length),
            recipe=recipe,
            absent="" if point else _why_absent(result, length),
            looks_before=count_looks_before(study, cell.regime, cell.arm),
        )


def _sample(row: _Row, metric: str, values: Mapping[int, float]) -> ScoreSample:
    point = row.point
    trial_ids: Sequence[str] = point.trial_ids if point else ()
    return ScoreSample(
        labels={**row.labels, "metric": frozenset({metric})},
        images=row.images,
        length=row.length,
        values=values,
        evidence=tuple(trial_ids),
        configuration=row.configuration,
        merit=point.select if point else None,
        looks=(point.looks if point else 1) + row.looks_before,
        recipe=row.recipe,
        absent=row.absent,
        all_failed=bool(trial_ids) and point is not None and len(point.failed) == len(trial_ids),
        order=point.order if point else (),
        failed=_failed_keys(point) if point else frozenset(),
    )


def _failed_keys(point: CurvePoint) -> frozenset[int]:
    """Seeds, or searches, whose value is the worst because the method itself ended their runs."""
    if not point.of_searches:
        pairs = zip(point.values, point.trial_ids, strict=True)
        return frozenset(seed for seed, trial_id in pairs if trial_id in point.failed)
    all_failed = (
        number
        for number, single in point.of_searches.items()
        if single.trial_ids and len(single.failed) == len(single.trial_ids)
    )
    return frozenset((*all_failed, *point.barren))


def _why_absent(result: CellResult, length: float) -> str:
    """Why a cell has no best configuration at a length, as a clause."""
    ended = {state: n for state, n in result.states.items() if state not in ("waiting", "done")}
    if set(ended) == {"refused"} and ended["refused"] == sum(result.states.values()):
        return f"no trial of {result.arm} could start, because the asset it needs was refused"
    total, states = sum(result.states.values()), ", ".join(f"{n} {s}" for s, n in ended.items())
    tail = f" ({counted(total, 'trial')}: {states})" if states else ""
    return f"no trial of {result.arm} has finished {times(length)}{tail}"


def _configuration(searches: str, point: CurvePoint | None, length: float) -> str:
    if point is None:
        return f"{searches}@{length:g}"
    return searches if point.of_searches else point.incumbent


def _measured(
    study: Study,
    record: CellRecord,
    point: CurvePoint | None,
    length: float,
    cost: StudyCost | None,
) -> dict[str, dict[int, float]]:
    """Metric -> seed (or number of the search) -> score at one length; those that every rung has
    are always among them.

    A replicate that the method ended has the worst score in every score there is.
    """
    if point is None:
        recipe = base_recipe(study, record.cell)
        return {metric: {} for metric in still_to_come(study, recipe)}
    if not point.of_searches:
        return _of_replicates(study, record, point, length, cost)
    measured: dict[str, dict[int, float]] = {metric: {} for metric in ALWAYS_SCORED}
    for number, single in point.of_searches.items():
        for metric, values in _of_replicates(study, record, single, length, cost).items():
            if values:
                measured.setdefault(metric, {})[number] = fmean(values.values())
    for number in point.barren:
        for metric, values in measured.items():
            if metric in SCORES:
                values[number] = 0.0
    measured[study.objective.metric] = dict(point.values)
    return measured


def _of_replicates(
    study: Study, record: CellRecord, point: CurvePoint, length: float, cost: StudyCost | None
) -> dict[str, dict[int, float]]:
    """Metric -> seed -> score of the replicates of one configuration."""
    measured: dict[str, dict[int, float]] = {metric: {} for metric in ALWAYS_SCORED}
    measured[study.objective.metric] = dict(point.values)
    seeds = {t.trial_id: t.seed for t in record.replicates}
    for trial_id in point.trial_ids:
        for metric, value in record.measures.get((trial_id, length), {}).items():
            if metric != study.objective.metric:
                measured.setdefault(metric, {})[seeds[trial_id]] = value
    for trial_id in point.failed:
        for metric, values in measured.items():
            if metric in SCORES:
                values.setdefault(seeds[trial_id], 0.0)
    return measured | costs_at(record, point, cost)
