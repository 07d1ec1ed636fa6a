"""What claims compare besides scores: how far a backbone moved, and the costs of a run.

Every number is measured on the study's replicates, in units that read well in a sentence.
"""

from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CurvePoint
from rethink_ray.judge.read.trials import CellRecord, Trial
from rethink_ray.spec.metrics import FREQUENCIES, SCORES
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.study import Study
from rethink_ray.spec.trial_config import uses_upstream_detector

ALWAYS_SCORED = SCORES[:6]
"""Metrics that every rung has, so that replicates still to come will have them."""
BOX_FREQUENCY_METRICS = tuple(f"ap_{name}" for name in FREQUENCIES)


def still_to_come(study: Study, recipe: Recipe) -> tuple[str, ...]:
    """What replicates of an arm of this recipe will have, before the first has run."""
    scores = ALWAYS_SCORED + (BOX_FREQUENCY_METRICS if study.data.frequency else ())
    costs = ["backbone_drift", "step_ms", "step_gflops", "trained_share"]
    if study.resources.gpus_per_worker:
        costs.append("peak_gb")
    if recipe.init.source in ("upstream", "direct") or uses_upstream_detector(recipe):
        costs.append("pretrain_hours")
    return tuple(dict.fromkeys((*scores, study.objective.metric, *costs)))


def costs_at(
    record: CellRecord, point: CurvePoint, cost: StudyCost | None
) -> dict[str, dict[int, float]]:
    """Metric -> seed -> amount, of the replicates at one length that were measured."""
    amounts: dict[str, dict[int, float]] = {}
    for trial in record.replicates:
        if trial.trial_id in point.trial_ids and trial.trial_id not in point.failed:
            for metric, amount in _amounts(trial, cost).items():
                amounts.setdefault(metric, {})[trial.seed] = amount
    return amounts


def _amounts(trial: Trial, cost: StudyCost | None) -> dict[str, float]:
    amounts: dict[str, float] = {}
    if trial.trained_share:
        amounts["trained_share"] = 100.0 * trial.trained_share
    if trial.step_flops:
        amounts["step_gflops"] = trial.step_flops / 1e9
    if (
        trial.peak_memory_bytes and trial.peak_memory_of == "gpu"
    ):  # a process's peak is of all it ever ran
        amounts["peak_gb"] = trial.peak_memory_bytes / 1e9
    hours = cost.seconds_of(trial.assets) / 3600.0 if cost and trial.assets else 0.0
    if hours:
        amounts["pretrain_hours"] = hours
    return amounts
