"""What Optuna is told about a trial: the truth, in its own words.

COMPLETE with the value at the last rung; PRUNED with its rungs as intermediate values; the worst
finite value for *diverged*; FAIL, which no sampler ranks, for what never became a measurement.
"""

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from rethink_ray.protocol.halving import Ladder
from rethink_ray.protocol.incumbents import selection_metric
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

WORST = 0.0
"""The worst finite value of a metric in AP points."""


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """A parameter as Optuna knows it."""
    if parameter.choice is not None:
        return CategoricalDistribution(parameter.choice)
    low, high = parameter.bounds
    if parameter.kind == "int_uniform":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=parameter.kind == "log_uniform")


def values_at(
    study: Study, state: StudyState, trial_id: str, lengths: Sequence[float]
) -> dict[float, float]:
    """Length -> finite value on the selection split, for the rungs this trial has finished."""
    metric = selection_metric(study)
    found = {length: state.metric(trial_id, length, metric) for length in lengths}
    return {k: v for k, v in found.items() if v is not None and math.isfinite(v)}


def observed(
    study: Study,
    state: StudyState,
    ladder: Ladder,
    member: Member,
    granted: int,
    distributions: Mapping[str, BaseDistribution],
    *,
    ladder_ends: int | None = None,
    diverged_is_complete: bool = False,
) -> FrozenTrial:
    """One decided trial as a sampler sees it.

    Args:
        study: the study.
        state: its records.
        ladder: the cell's ladder.
        member: the trial.
        granted: how many lengths halving granted it; an audit's further rungs are left out, so
            that no proposal depends on whether the audit was quicker.
        distributions: path -> distribution of the cell's space.
        ladder_ends: how many lengths its round ran, if that has converged; None: all of the ladder.
        diverged_is_complete: the sampler learns from COMPLETE trials only (GP). TPE ranks every
            COMPLETE above every PRUNED, so for it a diverged trial stands last among the pruned.
    """
    lengths = ladder.of(member)[:granted]
    values = values_at(study, state, member.trial_id, lengths)
    params = dict(member.params)
    used = {path: distributions[path] for path in params}
    worst = WORST
    one_rung = len(ladder.keep) == 1
    ended = state.ended.get(member.trial_id)
    if len(values) == (ladder_ends or len(ladder.keep)):
        return optuna.create_trial(params=params, distributions=used, value=values[lengths[-1]])
    if len(values) == granted:
        return pruned(params, used, {int(k * 1000): v for k, v in values.items()})
    if ended is not None and ended.outcome != "diverged":
        return optuna.create_trial(params=params, distributions=used, state=TrialState.FAIL)
    if one_rung or diverged_is_complete:
        return optuna.create_trial(params=params, distributions=used, value=worst)
    return pruned(params, used, {0: worst})


def pruned(
    params: Mapping[str, object],
    distributions: Mapping[str, BaseDistribution],
    rungs: Mapping[int, float],
) -> FrozenTrial:
    """A trial that halving stopped, with its rungs (step -> value)."""
    return optuna.create_trial(
        params=dict(params),
        distributions=dict(distributions),
        state=TrialState.PRUNED,
        intermediate_values=dict(rungs),
    )
