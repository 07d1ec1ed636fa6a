"""The configurations a cell proposes next: base values, Sobol points, then a model of the cell.

Every round asks a fresh in-memory Optuna study that is filled from the records in canonical order,
so a proposal depends on the study and its records and on nothing else.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from rethink_ray.protocol.halving import Ladder, replay_halving
from rethink_ray.records.state import StudyState
from rethink_ray.search.observations import distribution_of, observed
from rethink_ray.search.points import (
    Params,
    Space,
    key_of,
    round_to_significant,
    shared_paths,
    shared_point,
    space_in,
)
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

Model = Literal["sobol", "tpe", "gp", "random"]
FINISHED_BEFORE_A_MODEL = {"auto": 12, "tpe": 4, "gp": 4}
"""``auto`` waits for 12; who names a model gets it as soon as it can tell good from bad."""
REDRAWS = 32


class Proposer:
    """Proposes the rounds of one cell."""

    def __init__(self, study: Study, cell: Cell, ladder: Ladder) -> None:
        self.space: Space = space_in(study, cell)
        self._study = study
        self._cell = cell
        self._ladder = ladder
        self._paths = shared_paths(study, cell.regime)
        self._distributions = {p: distribution_of(s) for p, s in self.space.parameters.items()}

    def propose(self, state: StudyState, number: int, size: int) -> tuple[Params, ...]:
        """``size`` configurations for search round ``number``; all earlier rounds are decided.

        No configuration is proposed twice in a cell, unless its space is used up.
        """
        earlier = [m for _, m in state.members(self._cell, "search")]
        seen = {key_of(m.params) for m in earlier}
        drawn = self._candidates(state, number, size, len(earlier))
        proposed: list[Params] = []
        for index in range(len(earlier), len(earlier) + size):
            params = self._unseen(next(drawn), seen, index)
            seen.add(key_of(params))
            proposed.append(params)
        return tuple(proposed)

    def _candidates(
        self, state: StudyState, number: int, size: int, num_earlier: int
    ) -> Iterator[Params]:
        if number == 0:
            yield self.space.base_params()
        model, told = self._model(state)
        if model == "sobol":
            for index in range(num_earlier + (number == 0), num_earlier + size):
                yield self._sobol(index)
            return
        seed = seed_of(self._study.seed, self._cell.name, "sampler", number)
        conditional = any(p.when for p in self.space.parameters.values())
        sampler = build_sampler(model, seed, conditional=conditional)
        with quiet_optuna():
            asked = optuna.create_study(
                study_name=self._cell.name,
                sampler=sampler,
                direction="maximize",
            )
            asked.add_trials(told)
        while True:
            with quiet_optuna():
                params = ask(asked, self.space)
            yield params

    def _model(self, state: StudyState) -> tuple[Model, Sequence[FrozenTrial]]:
        asked = self._study.sampler
        if asked == "random":
            return "random", ()
        if asked == "quasi_random" or not self.space.parameters:
            return "sobol", ()
        told = self._told(state, for_gp=asked == "gp")
        finished = sum(t.state != TrialState.FAIL for t in told)
        if finished < FINISHED_BEFORE_A_MODEL[asked]:
            return "sobol", ()
        return ("gp" if asked == "gp" else "tpe"), told

    def _told(self, state: StudyState, for_gp: bool) -> list[FrozenTrial]:
        told: list[FrozenTrial] = []
        rounds = state.rounds.get((self._cell, "search"), {})
        for number in sorted(rounds):
            members = rounds[number].members
            standing = replay_halving(self._study, state, self._ladder, members)
            told += [
                observed(
                    self._study,
                    state,
                    self._ladder,
                    member,
                    standing.granted(member.trial_id),
                    self._distributions,
                    ladder_ends=len(standing.steps) if standing.converged else None,
                    diverged_is_complete=for_gp,
                )
                for member in members
            ]
        return told

    def _sobol(self, index: int, stream: int = 0) -> Params:
        cell = self._cell
        point = shared_point(self._study, cell.regime, self._paths, index, stream, cell.search)
        return self.space.at(point)

    def _unseen(self, params: Params, seen: set[str], index: int) -> Params:
        """``params``, or what stands in for it if the cell has had it already."""
        for stream in range(1, REDRAWS):
            if key_of(params) not in seen:
                return params
            params = self._sobol(index, stream)
        if self.space.num_configurations is None:
            return params
        left = [p for p in self.space.configurations() if key_of(p) not in seen]
        which = [self._cell.search] if self._cell.search else []
        draw = seed_of(self._study.seed, self._cell.regime, "left over", index, *which)
        return left[draw % len(left)] if left else params


def build_sampler(model: Model, seed: int, *, conditional: bool) -> BaseSampler:
    """An Optuna sampler that models from the first trial on; when to ask it is decided here.

    ``group`` makes TPE model every branch of a conditional space; elsewhere it would only cost
    time (0.5 ms of 2 ms a proposal).
    """
    with quiet_optuna():
        match model:
            case "tpe":
                return TPESampler(
                    seed=seed, n_startup_trials=1, multivariate=True, group=conditional
                )
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
            case _:
                return RandomSampler(seed=seed)


def ask(asked: optuna.Study, space: Space) -> Params:
    """One configuration, conditions first; what is inactive is never suggested."""
    trial = asked.ask()
    params: Params = {}
    for path, parameter in space.active(params):
        match distribution_of(parameter):
            case CategoricalDistribution(choices=choices):
                params[path] = trial.suggest_categorical(path, choices)
            case IntDistribution(low=low, high=high):
                params[path] = trial.suggest_int(path, low, high)
            case FloatDistribution(low=low, high=high, log=log):
                value = trial.suggest_float(path, low, high, log=log)
                params[path] = round_to_significant(parameter, value)
    return params


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """No log lines and no warnings about experimental arguments, inside this block only."""
    logger = logging.getLogger("optuna")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
