"""What claims compare: scores of one method at one schedule length, wherever they come from.

A published number is a sample of one value; a study's sample holds its replicates. A path that the
search tunes is no single value: the sample lists all it could be there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rethink_ray.analysis.curves import CellResult, CurvePoint
from rethink_ray.analysis.pairs import twins
from rethink_ray.analysis.published_tables import PublishedTable
from rethink_ray.analysis.tables import CellRecord
from rethink_ray.records.columns import METRIC_ORDER
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.recipe import AugmentSpec, Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.settings import flatten
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import CopyFrom, Study

Labels = Mapping[str, frozenset[str]]
"""Column -> what it says; several values where a study tunes it."""
SOURCES = {"torchvision": "imagenet"}
"""``init.source`` -> the word of published tables, where it is another one."""
ALWAYS_SCORED = METRIC_ORDER[:6]
"""Metrics that every rung has; replicates still to come will have them."""
MOST_OPTIONS = 64
LENGTH = re.compile(r"(\d+(?:\.\d+)?)x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Scores of one method in one regime at one schedule."""

    labels: Labels
    images: int
    length: float | None
    """In units of 1x; None for a schedule that has no such number (``converged``)."""
    values: Mapping[int, float]
    """Seed -> score; for a published number 0 -> the number."""
    evidence: tuple[str, ...]
    """Trial ids, or the line of the table."""
    configuration: str
    """What two samples share that are one configuration: their values pair by seed."""
    merit: float | None = None
    """What ``best`` is chosen by: the score on the select split; a published number itself."""
    notes: tuple[str, ...] = ()
    looks: int = 1
    """How often its replicates were added to and looked at."""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """Dotted path -> value; empty for published numbers."""

    @property
    def schedule(self) -> str:
        """As its table spells it."""
        return next(iter(self.labels["schedule"]))

    @property
    def metric(self) -> str:
        """As its table spells it."""
        return next(iter(self.labels["metric"]))


def published_samples(table: PublishedTable) -> Iterator[Sample]:
    """One sample per number."""
    for row in table.rows:
        labels = {column: frozenset({text}) for column, text in row.labels.items()}
        place = f"{table.name}, line {row.line}"
        yield Sample(
            labels=labels,
            images=row.images,
            length=_length_of(row.labels["schedule"]),
            values={0: row.value},
            evidence=(place,),
            configuration=place,
            merit=row.value,
            notes=(row.labels["note"],) if row.labels["note"] else (),
        )


def study_samples(
    study: Study,
    facts: DataFacts,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
) -> Iterator[Sample]:
    """One sample per cell, length and metric; a contender's second name is left out.

    Lengths that nothing has reached yet are there too, without values.
    """
    second_names = twins(study)
    for cell, result in results.items():
        if cell.arm in second_names:
            continue
        shared = cell_labels(study, cell, facts)
        recipe = _recipe_texts(base_recipe(study, cell), space_of(study, cell))
        for length in result.lengths:
            schedule = base_recipe(study, cell).schedule
            low_rate = max(schedule.decay.points(length), default=0.0)
            here = {"schedule": f"{length:g}x", "low_rate": as_text(low_rate)}
            point = result.point(length)
            measured = _measured(study, records[cell], point, length)
            for metric, values in measured.items():
                own = {c: frozenset({t}) for c, t in {**here, "metric": metric}.items()}
                yield Sample(
                    labels={**shared, **own},
                    images=facts.regime_sizes.get(cell.regime, 0),
                    length=length,
                    values=values,
                    evidence=point.trial_ids if point else (),
                    configuration=point.incumbent if point else f"{cell.name}@{length:g}",
                    merit=point.select if point else None,
                    looks=point.looks if point else 1,
                    recipe=recipe,
                )


def cell_labels(study: Study, cell: Cell, facts: DataFacts) -> dict[str, frozenset[str]]:
    """A cell in the columns of published tables, and its recipe path by path."""
    recipe, space = base_recipe(study, cell), space_of(study, cell)
    paths = _recipe_labels(recipe, space)
    init = frozenset(SOURCES.get(name, name) for name in paths["init.source"])
    copied = isinstance(study.tuning, CopyFrom) and cell.arm != study.tuning.copy_from
    tuning = f"on {study.tuning.copy_from}" if isinstance(study.tuning, CopyFrom) else "per cell"
    plain = {
        "source": study.study,
        "table": "-",
        "method": "supervised",
        "regime": cell.regime,
        "arm": cell.arm,
        "images": str(facts.regime_sizes.get(cell.regime, 0)),
        "split": study.data.report_on,
        "seeds": str(study.budget.replicates),
        "tuning": tuning if copied else "its own search",
        "note": "",
    }
    return {
        **paths,
        **{column: frozenset({text}) for column, text in plain.items()},
        "detector": paths["detector.family"],
        "backbone": paths["detector.backbone"],
        "norm": paths["detector.norm"],
        "init": init,
        "frozen": paths["init.frozen"],
        "batch": paths["batch_size"],
        "augment": _augment_labels(recipe.augment, space),
    }


def _measured(
    study: Study, record: CellRecord, point: CurvePoint | None, length: float
) -> dict[str, dict[int, float]]:
    """Metric -> seed -> score of the replicates at one length; those that
    every rung has are always among them.

    A replicate that the method ended has the worst score in every score there is.
    """
    measured: dict[str, dict[int, float]] = {metric: {} for metric in ALWAYS_SCORED}
    if point is None:
        return measured
    measured[study.objective.metric] = dict(point.values)
    seeds = {t.trial_id: t.seed for t in record.replicates}
    for trial_id in point.trial_ids:
        for metric, value in record.measures.get((trial_id, length), {}).items():
            if metric != study.objective.metric:
                measured.setdefault(metric, {})[seeds[trial_id]] = value
    for trial_id in point.failed:
        for metric, values in measured.items():
            if metric in METRIC_ORDER:
                values.setdefault(seeds[trial_id], 0.0)
    return measured


def _recipe_labels(recipe: Recipe, space: Mapping[str, Parameter]) -> dict[str, frozenset[str]]:
    labels = {path: frozenset({as_text(value)}) for path, value in flatten(recipe).items()}
    return labels | {p: _options(parameter) for p, parameter in space.items() if p in labels}


def _recipe_texts(recipe: Recipe, space: Mapping[str, Parameter]) -> dict[str, str]:
    texts = {path: as_text(value) for path, value in flatten(recipe).items()}
    return texts | {path: "tuned" for path in space if path in texts}


def _options(parameter: Parameter) -> frozenset[str]:
    """Every value that a search could give a path; a range in words."""
    if parameter.choice is not None:
        return frozenset(as_text(option) for option in parameter.choice)
    low, high = parameter.bounds
    if parameter.kind == "int_uniform" and high - low < MOST_OPTIONS:
        return frozenset(str(n) for n in range(int(low), int(high) + 1))
    return frozenset({f"tuned in [{low:g}, {high:g}]"})


def _augment_labels(augment: AugmentSpec, space: Mapping[str, Parameter]) -> frozenset[str]:
    """``flip``, ``flip+scale_0.5_2+color_0.4``; ``tuned`` where the search decides."""
    if any(path.startswith("augment.") for path in space):
        return frozenset({"tuned"})
    parts = [
        "flip" if augment.flip else "",
        f"scale_{augment.scale[0]:g}_{augment.scale[1]:g}" if augment.scale != (1.0, 1.0) else "",
        f"color_{augment.color:g}" if augment.color else "",
    ]
    return frozenset({"+".join(part for part in parts if part) or "none"})


def _length_of(schedule: str) -> float | None:
    found = LENGTH.fullmatch(schedule)
    return float(found[1]) if found else None
