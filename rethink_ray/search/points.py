"""A cell's search space as a unit cube, and the Sobol points in it.

All arms of a regime read the same scrambled points, and a path has the same coordinate in all of
them (common random numbers): arms are then compared at the same values, and chance favours none.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rethink_ray.search.sobol import draw_sobol
from rethink_ray.spec.first_values import sort_for_sampling
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell, base_values, space_of
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import Study

Params = dict[str, Value]
SobolPoints = tuple[tuple[float, ...], ...]
MOST_CONFIGURATIONS = 10_000
"""Spaces of at most this many combinations are listed; larger ones count as endless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A cell's parameters, unconditional ones first, and the base recipe's values."""

    parameters: Mapping[str, Parameter]
    base: Mapping[str, Value]

    @property
    def num_configurations(self) -> int | None:
        """The number of configurations; None if a range is continuous or there are over 10,000."""
        if any(p.kind in ("log_uniform", "uniform") for p in self.parameters.values()):
            return None
        if math.prod(len(_options(p)) for p in self.parameters.values()) > MOST_CONFIGURATIONS:
            return None
        return sum(1 for _ in self.configurations())

    def active(self, params: Params) -> Iterator[tuple[str, Parameter]]:
        """Paths in sampling order, without those whose condition ``params`` do not meet so far."""
        for path, parameter in self.parameters.items():
            if parameter.active({**self.base, **params}):
                yield path, parameter

    def at(self, point: Mapping[str, float]) -> Params:
        """The configuration at a point of the unit cube (path -> coordinate)."""
        params: Params = {}
        for path, parameter in self.active(params):
            params[path] = value_at_coordinate(parameter, point[path])
        return params

    def configurations(self) -> Iterator[Params]:
        """Every configuration of a space without continuous ranges."""
        options = [_options(p) for p in self.parameters.values()]
        for values in itertools.product(*options):
            chosen = dict(zip(self.parameters, values, strict=True))
            params: Params = {}
            for path, _ in self.active(params):
                params[path] = chosen[path]
            first = all(
                path in params or chosen[path] == _options(parameter)[0]
                for path, parameter in self.parameters.items()
            )
            if first:  # an inactive path counts once, not once per option
                yield params


def space_in(study: Study, cell: Cell) -> Space:
    """The search space of a cell."""
    parameters = sort_for_sampling(space_of(study, cell))
    return Space(parameters=parameters, base=base_values(study, cell))


def shared_paths(study: Study, regime: str) -> tuple[str, ...]:
    """Every path that some arm of a regime searches, in the order of the coordinates."""
    arms = (space_of(study, Cell(regime, arm)) for arm in study.arms)
    return tuple(sorted(set(itertools.chain.from_iterable(arms))))


def shared_point(
    study: Study, cell: Cell, paths: Sequence[str], index: int, stream: int = 0
) -> dict[str, float]:
    """Point ``index`` of a scrambled Sobol sequence, as path -> coordinate in [0, 1).

    All arms of a regime have the same sequence, but each repeated search has one of its own.

    Args:
        study: the study.
        cell: its regime and the number of its search choose the sequence.
        paths: those of the regime (``shared_paths``).
        index: position of the point in the sequence.
        stream: number of an independent scrambling. A redraw takes the same index of the next
            stream, so that one arm's redraw does not shift the points of the trials after it.
    """
    if not paths:
        return {}
    search_index = [cell.search] if cell.search else []
    seed = seed_of(study.seed, cell.regime, "sobol", stream, *search_index)
    points = _sobol(len(paths), seed, max(5, math.ceil(math.log2(index + 1))))
    return dict(zip(paths, points[index], strict=True))


@lru_cache(maxsize=256)
def _sobol(num_dimensions: int, seed: int, power: int) -> SobolPoints:
    return tuple(tuple(row) for row in draw_sobol(num_dimensions, seed, power).tolist())


def value_at_coordinate(parameter: Parameter, coordinate: float) -> Value:
    """The value at a coordinate in [0, 1) of a parameter's range or options."""
    if parameter.choice is not None:
        return parameter.choice[min(int(coordinate * len(parameter.choice)), _last(parameter))]
    low, high = parameter.bounds
    match parameter.kind:
        case "int_uniform":
            return min(math.floor(low + coordinate * (high - low + 1)), int(high))
        case "log_uniform":
            span = math.log(high) - math.log(low)
            return round_to_significant(parameter, math.exp(math.log(low) + coordinate * span))
        case _:
            return round_to_significant(parameter, low + coordinate * (high - low))


def round_to_significant(parameter: Parameter, value: float) -> float:
    """The value with 6 significant digits, as it is recorded; never outside the bounds."""
    low, high = parameter.bounds
    return min(max(float(f"{value:.6g}"), low), high)


def key_of(params: Mapping[str, Value]) -> str:
    """A text that is equal for equal configurations."""
    return json.dumps(params, sort_keys=True)


def _last(parameter: Parameter) -> int:
    return len(parameter.choice or ()) - 1


def _options(parameter: Parameter) -> Sequence[Value]:
    if parameter.choice is not None:
        return parameter.choice
    low, high = parameter.bounds
    return range(int(low), int(high) + 1)
