"""How long an update takes: seconds of an arm's replicates, and whether they can be believed.

A machine that does other work makes the arm that trains at that moment look dear: in one study the
same arm took 42 ms an update on one regime and 183 ms on the other.
"""

import statistics
from collections.abc import Collection, Iterator, Mapping

from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe
from rethink_ray.spec.space import Value
from rethink_ray.spec.study import Study

UNEVEN = 2.0
"""Replicates of one method whose step times differ by more than this factor were not alone."""


def step_times(record: CellRecord) -> dict[str, float]:
    """Replicate -> seconds per update, over its whole ladder.

    Over the whole ladder, so that a busy minute at one length does not make that length dearer
    than a longer one.
    """
    spent: dict[str, tuple[float, int]] = {}
    replicates = {trial.trial_id for trial in record.replicates}
    for (trial_id, _), score in record.scores.items():
        if trial_id in replicates and score.steps_new:
            seconds, updates = spent.get(trial_id, (0.0, 0))
            spent[trial_id] = (seconds + score.seconds_train, updates + score.steps_new)
    return {trial_id: seconds / updates for trial_id, (seconds, updates) in spent.items()}


def median_step_time(record: CellRecord, trial_ids: Collection[str]) -> float | None:
    """The median over these replicates of a cell; None if none of them was timed."""
    known = [time for trial_id, time in step_times(record).items() if trial_id in trial_ids]
    return statistics.median(known) if known else None


def unevenness(study: Study, records: Mapping[Cell, CellRecord]) -> float:
    """The largest factor between step times of one method, regimes together; 1 without any.

    One method: everything that an update's time depends on is equal, tuned values included.
    """
    by_method: dict[str, list[float]] = {}
    for cell, record in records.items():
        timed = step_times(record)
        for trial in record.replicates:
            if timed.get(trial.trial_id):
                method = _method_of(base_recipe(study, cell), trial.params)
                by_method.setdefault(method, []).append(timed[trial.trial_id])
    return max((max(each) / min(each) for each in by_method.values()), default=1.0)


def find_uneven_step_times(study: Study, records: Mapping[Cell, CellRecord]) -> Iterator[Caveat]:
    """A caveat where other work on the machine changed step times."""
    factor = unevenness(study, records)
    if factor > UNEVEN:
        text = (
            f"an update of one and the same method took up to {factor:.1f} times as long in one "
            "replicate as in another, so the machine also did other work: times and hours are "
            "rough, and no front is drawn by time. Counts of updates and operations are exact."
        )
        yield Caveat(key="uneven-pace", text=text)


def _method_of(recipe: Recipe, params: Mapping[str, Value]) -> str:
    trained_before = {"upstream", "direct", "upstream_detector"}
    fixed = recipe.model_dump_json(exclude={"schedule", "optimizer", *trained_before})
    tuned = {p: v for p, v in params.items() if not p.startswith(("schedule.", "optimizer."))}
    return f"{fixed}{sorted(tuned.items())}"
