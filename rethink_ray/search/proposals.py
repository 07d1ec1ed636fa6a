"""The configurations that a cell proposes: first values, Sobol points, then a model's suggestions.

Each round fills a fresh in-memory Optuna study from the records, in canonical order. A proposal
therefore depends on nothing but the study and its records.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from rethink_ray.protocol.cell_view import CellView
from rethink_ray.search.points import Params, Space, key_of, shared_paths, shared_point, space_in
from rethink_ray.spec.hashing import seed_of

if TYPE_CHECKING:  # importing Optuna takes 0.2 s, and first values and Sobol points need none of it
    from optuna.trial import FrozenTrial

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
        """The values to try first, then Sobol points, or what a model suggests."""
        first = self._view.rules.first_values[num_earlier:][:size]
        yield from first
        model, observations = self._model()
        if model == "sobol":
            for index in range(num_earlier + len(first), num_earlier + size):
                yield self._sobol(index)
            return
        seed = seed_of(self._study.seed, self._cell.name, "sampler", number)
        conditional = any(p.when for p in self.space.parameters.values())
        from rethink_ray.search.samplers import build_sampler, suggest_configurations

        sampler = build_sampler(model, seed, conditional=conditional)
        yield from suggest_configurations(sampler, self._cell.name, observations, self.space)

    def _model(self) -> tuple[Model, Sequence["FrozenTrial"]]:
        """The model to sample from, and the observations to fit it to."""
        sampler = self._study.sampler
        if sampler == "random":
            return "random", ()
        if sampler == "quasi_random" or not self.space.parameters:
            return "sobol", ()
        observations = self._observations(for_gp=sampler == "gp")
        finished = sum(trial.state.name != "FAIL" for trial in observations)
        if finished < FINISHED_BEFORE_A_MODEL[sampler]:
            return "sobol", ()
        return ("gp" if sampler == "gp" else "tpe"), observations

    def _observations(self, for_gp: bool) -> list["FrozenTrial"]:
        from rethink_ray.search.observations import as_observation, distribution_of

        view = self._view
        distributions = {p: distribution_of(s) for p, s in self.space.parameters.items()}
        return [
            as_observation(view.state, view.ladder, halving, member, distributions, for_gp)
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
