"""The configurations that a cell proposes: base values, Sobol points, then a model's suggestions.

Each round fills a fresh in-memory Optuna study from the records, in canonical order. A proposal
therefore depends on nothing but the study and its records.
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

from rethink_ray.protocol.cell_view import CellView
from rethink_ray.search.observations import as_observation, distribution_of
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

Model = Literal["sobol", "tpe", "gp", "random"]
FINISHED_BEFORE_A_MODEL = {"auto": 12, "tpe": 4, "gp": 4}
"""``auto`` waits for 12 trials; a model that the study names starts once it can rank trials."""
REDRAWS = 32
"""Sobol points that are tried in place of a configuration that the cell has already."""


class Proposer:
    """Proposes the search rounds of one cell."""

    def __init__(self, view: CellView) -> None:
        self.space: Space = space_in(view.study, view.cell)
        self._view = view
        self._study = view.study
        self._cell = view.cell
        self._shared_paths = shared_paths(view.study, view.cell.regime)
        self._distributions = {p: distribution_of(s) for p, s in self.space.parameters.items()}

    def propose(self, number: int, size: int) -> tuple[Params, ...]:
        """``size`` configurations for search round ``number``; all earlier rounds are decided.

        No configuration is proposed twice in a cell, unless its space is used up.
        """
        earlier = self._view.members("search")
        seen = {key_of(m.params) for m in earlier}
        candidates = self._candidates(number, size, len(earlier))
        proposed: list[Params] = []
        for index in range(len(earlier), len(earlier) + size):
            params = self._replace_seen(next(candidates), seen, index)
            seen.add(key_of(params))
            proposed.append(params)
        return tuple(proposed)

    def _candidates(self, number: int, size: int, num_earlier: int) -> Iterator[Params]:
        """Base values in the first round; then Sobol points, or what a model suggests."""
        if number == 0:
            yield self.space.base_params()
        model, observations = self._model()
        if model == "sobol":
            for index in range(num_earlier + (number == 0), num_earlier + size):
                yield self._sobol(index)
            return
        seed = seed_of(self._study.seed, self._cell.name, "sampler", number)
        conditional = any(p.when for p in self.space.parameters.values())
        sampler = build_sampler(model, seed, conditional=conditional)
        with quiet_optuna():
            optuna_study = optuna.create_study(
                study_name=self._cell.name, sampler=sampler, direction="maximize"
            )
            optuna_study.add_trials(observations)
        while True:
            with quiet_optuna():
                params = suggest(optuna_study, self.space)
            yield params

    def _model(self) -> tuple[Model, Sequence[FrozenTrial]]:
        """The model to sample from, and the observations to fit it to."""
        sampler = self._study.sampler
        if sampler == "random":
            return "random", ()
        if sampler == "quasi_random" or not self.space.parameters:
            return "sobol", ()
        observations = self._observations(for_gp=sampler == "gp")
        finished = sum(trial.state != TrialState.FAIL for trial in observations)
        if finished < FINISHED_BEFORE_A_MODEL[sampler]:
            return "sobol", ()
        return ("gp" if sampler == "gp" else "tpe"), observations

    def _observations(self, for_gp: bool) -> list[FrozenTrial]:
        view = self._view
        return [
            as_observation(view.state, view.ladder, halving, member, self._distributions, for_gp)
            for halving in view.halving.values()
            for member in halving.steps[0]
        ]

    def _sobol(self, index: int, stream: int = 0) -> Params:
        cell, paths = self._cell, self._shared_paths
        return self.space.at(shared_point(self._study, cell, paths, index, stream))

    def _replace_seen(self, params: Params, seen: set[str], index: int) -> Params:
        """``params``; if the cell has them already, a Sobol point or any unused configuration."""
        for stream in range(1, REDRAWS):
            if key_of(params) not in seen:
                return params
            params = self._sobol(index, stream)
        if self.space.num_configurations is None:
            return params
        unused = [p for p in self.space.configurations() if key_of(p) not in seen]
        which = [self._cell.search] if self._cell.search else []
        draw = seed_of(self._study.seed, self._cell.regime, "left over", index, *which)
        return unused[draw % len(unused)] if unused else params


def build_sampler(model: Model, seed: int, *, conditional: bool) -> BaseSampler:
    """An Optuna sampler that uses its model from the first trial on: the caller decides when.

    ``group`` makes TPE model each branch of a conditional space; in other spaces it only costs time
    (0.5 ms of 2 ms a proposal).
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


def suggest(optuna_study: optuna.Study, space: Space) -> Params:
    """One configuration, conditions first; inactive paths are not suggested."""
    trial = optuna_study.ask()
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
    """Inside this block Optuna logs errors only and warns of no experimental argument."""
    logger = logging.getLogger("optuna")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
