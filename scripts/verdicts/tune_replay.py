"""Ray Tune's ``OptunaSearch`` and ``ASHAScheduler``, replayed on a clock of its own, without Ray.

Replayed: ``OptunaSearch`` with its default sampler (Optuna's own ``TPESampler``, asked for one
trial whenever a slot is free and told the last value of each trial that ended, also of those that
the scheduler stopped), and ``ASHAScheduler`` with its defaults (grace period 1, factor 4, one
bracket), where time is the schedule length trained so far and each trial reports at 1x, 2x, ... All
slots are equally fast. ``tests/test_benchmark_verdicts.py`` holds a replay against Ray Tune itself.

Example: of trials that report 3, 1, 2 at 1x, the first goes on (nothing to compare with), the
second stops (below 3), the third stops (below the upper quartile of 3 and 1, which is 2.5).
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import Trial

from rethink_ray.search.samplers import quiet_optuna

GRACE_PERIOD = 1.0
FACTOR = 4.0
SLOTS = 4
"""Trials at a time."""
Params = Mapping[str, Any]
Measure = Callable[[int, Params, float], tuple[float, bool]]
"""(number of a trial, its parameters, time) -> (what it reports then, whether it ends there)."""


class Asha:
    """The rule by which ``ASHAScheduler`` stops trials."""

    def __init__(self, longest: float) -> None:
        """``longest``: a trial that has trained so far is stopped in any case (``max_t``)."""
        self._longest = longest
        num_rungs = int(np.log(longest / GRACE_PERIOD) / np.log(FACTOR) + 1)
        self._rungs: list[tuple[float, dict[int, float]]] = [
            (GRACE_PERIOD * FACTOR**index, {}) for index in reversed(range(num_rungs))
        ]

    def is_stopped(self, number: int, time: float, value: float) -> bool:
        """Whether a trial stops at what it reports.

        At each rung once, a trial goes on if it is not below the upper quartile of the values that
        other trials reported there before it.
        """
        if time >= self._longest:
            return True
        for milestone, values in self._rungs:
            if time < milestone or number in values:
                continue
            earlier = list(values.values())
            values[number] = value
            cutoff = np.percentile(earlier, (1.0 - 1.0 / FACTOR) * 100.0) if earlier else None
            return cutoff is not None and value < float(cutoff)
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneTrial:
    """What became of one trial."""

    params: Params
    time: float
    """Schedule length trained until it ended or was stopped: what it cost."""
    value: float
    """What it reported last."""
    is_finished: bool
    """It ran to its end and was not stopped before."""


def replay_tune(
    space: Mapping[str, BaseDistribution],
    measure: Measure,
    num: int,
    *,
    longest: float,
    seed: int,
    slots: int = SLOTS,
) -> list[TuneTrial]:
    """The trials of one Tune experiment, in the order in which they started.

    Args:
        space: name of a parameter -> Optuna's distribution.
        measure: answers for the trials.
        num: how many trials to run.
        longest: ``max_t`` of the scheduler.
        seed: of the sampler.
        slots: trials at a time.
    """
    with quiet_optuna():
        sampler = optuna.samplers.TPESampler(seed=seed)
        study = optuna.create_study(sampler=sampler, direction="maximize")
        return _run(study, dict(space), measure, num, Asha(longest), slots)


def _run(
    study: optuna.Study,
    space: dict[str, BaseDistribution],
    measure: Measure,
    num: int,
    asha: Asha,
    slots: int,
) -> list[TuneTrial]:
    ended: dict[int, TuneTrial] = {}
    running: list[tuple[float, int, float, Trial]] = []
    started, now = 0, 0.0
    while len(ended) < num:
        while started < num and len(running) < slots:
            heapq.heappush(running, (now + 1.0, started, 1.0, study.ask(space)))
            started += 1
        now, number, time, trial = heapq.heappop(running)
        value, is_finished = measure(number, trial.params, time)
        if asha.is_stopped(number, time, value) or is_finished:
            study.tell(trial, value)
            ended[number] = TuneTrial(
                params=trial.params, time=time, value=value, is_finished=is_finished
            )
        else:
            heapq.heappush(running, (now + 1.0, number, time + 1.0, trial))
    return [ended[number] for number in range(num)]
