"""Ray Tune itself, wired as its documentation says: ``OptunaSearch`` and ``ASHAScheduler``."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rethink_ray.cluster.ray_session import set_switches, start_local
from verdicts.tune_replay import FACTOR, GRACE_PERIOD, Params, TuneTrial, replay_tune

TRAINED, SCORE = "trained", "score"
"""Keys of a report: schedule length trained so far, and what trials are ranked by."""
Trainable = Callable[[dict[str, Any]], None]
"""Trains one configuration and reports ``TRAINED`` and ``SCORE`` after each 1x."""
CHECKED_TRIALS = 24
"""Optuna's sampler draws its first ten at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One Tune experiment."""

    space: Mapping[str, Any]
    """Name of a parameter -> Tune's domain."""
    num: int
    longest: float
    seed: int
    slots: int


def let_workers_import_scripts() -> None:
    """Processes that Ray starts from here on find the modules of this folder."""
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


def run_tune(trainable: Trainable, experiment: Experiment, storage: Path) -> list[dict[str, Any]]:
    """The last report of each trial, its parameters under ``config``, in the order of starting.

    Ray must be running.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=dict(experiment.space),
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            num_samples=experiment.num,
            max_concurrent_trials=experiment.slots,
            reuse_actors=True,
            search_alg=OptunaSearch(seed=experiment.seed),
            scheduler=ASHAScheduler(
                time_attr=TRAINED,
                max_t=int(experiment.longest),
                grace_period=int(GRACE_PERIOD),
                reduction_factor=FACTOR,
            ),
        ),
        run_config=tune.RunConfig(storage_path=str(storage), verbose=0),
    )
    grid = tuner.fit()
    results = [grid[index] for index in range(len(grid))]
    failed = [result.error for result in results if result.error is not None]
    if failed:
        raise failed[0]
    return [dict(result.metrics or {}) for result in results]


def made_up_score(params: Params, time: float) -> float:
    """A score that the parameters alone decide: a length ends high, and each 1x adds a little."""
    is_last = time >= params["length"]
    off = math.log10(params["rate"]) + 1.7
    return 30.0 - 4.0 * off**2 + time + (6.0 if is_last else 0.0) + len(params["arm"])


def report_made_up_scores(params: dict[str, Any]) -> None:
    """A trainable that reports made-up scores."""
    from ray import tune

    for time in range(1, int(params["length"]) + 1):
        tune.report({TRAINED: float(time), SCORE: made_up_score(params, float(time))})


def check_replay() -> str:
    """Holds the replay against Ray Tune on one slot; says so if all trials are the same.

    Raises:
        RuntimeError: a trial differs.
    """
    set_switches()
    let_workers_import_scripts()
    import ray
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from ray import tune

    arms, lengths = ("a", "bb", "ccc"), (2.0, 4.0, 6.0)
    space = {
        "arm": tune.choice(arms),
        "rate": tune.loguniform(0.002, 0.2),
        "length": tune.choice(lengths),
    }
    experiment = Experiment(space=space, num=CHECKED_TRIALS, longest=6.0, seed=5, slots=1)
    start_local(1, with_train=False)
    try:
        with TemporaryDirectory() as storage:
            reports = run_tune(report_made_up_scores, experiment, Path(storage))
    finally:
        ray.shutdown()
    replayed = replay_tune(
        {
            "arm": CategoricalDistribution(arms),
            "rate": FloatDistribution(0.002, 0.2, log=True),
            "length": CategoricalDistribution(lengths),
        },
        lambda number, params, time: (made_up_score(params, time), time >= params["length"]),
        CHECKED_TRIALS,
        longest=6.0,
        seed=5,
        slots=1,
    )
    for number, (report, trial) in enumerate(zip(reports, replayed, strict=True)):
        _require_same(number, report, trial)
    stopped = sum(not trial.is_finished for trial in replayed)
    return f"{CHECKED_TRIALS} trials, {stopped} of them stopped early: the same in both"


def _require_same(number: int, report: Mapping[str, Any], trial: TuneTrial) -> None:
    real = (report["config"], report[TRAINED], report[SCORE])
    replayed = (dict(trial.params), trial.time, trial.value)
    if real != replayed:
        raise RuntimeError(f"trial {number}: Ray Tune has {real}, but the replay has {replayed}")
