"""Recorded trials as observations for Optuna's samplers.

A trial at the end of the ladder is COMPLETE with its last score. A trial that halving stopped is
PRUNED, with its rungs as intermediate values. A diverged trial has the worst score. A trial that
could not run is FAIL, which no sampler ranks.
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

from rethink_ray.protocol.halving import HalvingState, Ladder
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.space import Parameter


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """A parameter as Optuna knows it."""
    if parameter.choice is not None:
        return CategoricalDistribution(parameter.choice)
    low, high = parameter.bounds
    if parameter.kind == "int_uniform":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=parameter.kind == "log_uniform")


def scores_at(
    state: StudyState, trial_id: str, lengths: Sequence[float], metric: str
) -> dict[float, float]:
    """Length -> finite score, for the rungs that a trial has finished."""
    scores = {length: state.metric(trial_id, length, metric) for length in lengths}
    return {x: score for x, score in scores.items() if score is not None and math.isfinite(score)}


def as_observation(
    state: StudyState,
    ladder: Ladder,
    halving: HalvingState,
    member: Member,
    distributions: Mapping[str, BaseDistribution],
    diverged_is_complete: bool = False,
) -> FrozenTrial:
    """A trial of a decided round, as a sampler sees it.

    Rungs that the audit added are left out, so that no proposal depends on how quick the audit was.

    Args:
        state: the records.
        ladder: the cell's.
        halving: the halving of the trial's round.
        member: the trial.
        distributions: path -> distribution, of the cell's space.
        diverged_is_complete: for a sampler that learns from COMPLETE trials only (GP). TPE ranks
            every COMPLETE trial above every PRUNED one, so for TPE a diverged trial is the worst of
            the pruned ones.
    """
    num_steps = halving.count_steps(member.trial_id)
    lengths = ladder.lengths_of(member)[:num_steps]
    scores = scores_at(state, member.trial_id, lengths, ladder.metric)
    params = dict(member.params)
    used = {path: distributions[path] for path in params}
    num_lengths = len(halving.steps) if halving.converged else len(ladder.keep)
    ended = state.ended.get(member.trial_id)
    if len(scores) == num_lengths:
        return optuna.create_trial(params=params, distributions=used, value=scores[lengths[-1]])
    if len(scores) == num_steps:
        return pruned(params, used, {int(1000 * x): score for x, score in scores.items()})
    if ended is not None and ended.outcome != "diverged":
        return optuna.create_trial(params=params, distributions=used, state=TrialState.FAIL)
    if len(ladder.keep) == 1 or diverged_is_complete:
        return optuna.create_trial(params=params, distributions=used, value=WORST_SCORE)
    return pruned(params, used, {0: WORST_SCORE})


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
