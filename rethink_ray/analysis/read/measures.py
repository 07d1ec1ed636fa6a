"""What claims compare besides scores: how far a backbone moved, and what a run costs.

Every number is measured on a study's own replicates, in units that read well in a sentence.
"""

from rethink_ray.analysis.read.costs import StudyCost
from rethink_ray.analysis.read.curves import CurvePoint
from rethink_ray.analysis.read.trials import CellRecord, Trial
from rethink_ray.spec.metrics import FREQUENCIES, SCORES
from rethink_ray.spec.study import Study

ALWAYS_SCORED = SCORES[:6]
"""Metrics that every rung has; replicates still to come will have them."""
BINS = tuple(f"ap_{name}" for name in FREQUENCIES)


def still_to_come(study: Study, source: str) -> tuple[str, ...]:
    """What replicates of an arm that starts from ``source`` will have, before the first has run."""
    found = (*ALWAYS_SCORED, *(BINS if study.data.frequency else ()))
    costs = ["backbone_drift", "step_ms", "step_gflops", "trained_share"]
    if study.resources.gpus_per_worker:
        costs.append("peak_gb")
    if source in ("upstream", "direct"):
        costs.append("pretrain_hours")
    return (*found, *costs)


def costs_at(
    record: CellRecord, point: CurvePoint, cost: StudyCost | None
) -> dict[str, dict[int, float]]:
    """Metric -> seed -> amount, of the replicates at one length that were measured."""
    found: dict[str, dict[int, float]] = {}
    for trial in record.replicates:
        if trial.trial_id in point.trial_ids and trial.trial_id not in point.failed:
            for metric, amount in _amounts(trial, cost).items():
                found.setdefault(metric, {})[trial.seed] = amount
    return found


def _amounts(trial: Trial, cost: StudyCost | None) -> dict[str, float]:
    found: dict[str, float] = {}
    if trial.trained_share:
        found["trained_share"] = 100.0 * trial.trained_share
    if trial.step_flops:
        found["step_gflops"] = trial.step_flops / 1e9
    if trial.peak_bytes and trial.memory_of == "gpu":  # a process's is that of all it ever ran
        found["peak_gb"] = trial.peak_bytes / 1e9
    hours = cost.seconds_of(trial.assets) / 3600.0 if cost and trial.assets else 0.0
    if hours:
        found["pretrain_hours"] = hours
    return found
