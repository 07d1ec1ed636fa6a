"""The runs that a study can start: every combination of searched values that a rule looks at."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.settings import used_value_at, with_settings
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import ResourceSpec

MAX_COUNT = 64
"""A whole-number range up to this size is enumerated; of a larger one three values are taken."""
SHARE_INSIDE = 0.618
"""Share of the way from the lower end of a range to the value that is taken inside it."""
ONE_PROCESS = ResourceSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recipe and where it runs: what the rules about runs look at."""

    recipe: Recipe
    resources: ResourceSpec = ONE_PROCESS
    metric: str = "ap"
    """``objective.metric``."""

    @property
    def num_workers(self) -> int:
        """Processes that share a batch."""
        return max(self.resources.workers, 1)

    @property
    def words(self) -> Mapping[str, Any]:
        """What the sentences of a rule are filled from."""
        return {**dict(self.recipe), "resources": self.resources, "metric": self.metric}


def reachable_recipes(
    recipe: Recipe, space: Mapping[str, Parameter], paths: tuple[str, ...]
) -> Iterator[Recipe]:
    """The recipe with every combination of searched values at ``paths`` and their conditions."""
    searched = [path for path in paths if path in space]
    conditions = [c for path in searched for c in space[path].when if c in space]
    names = list(dict.fromkeys([*conditions, *searched]))
    base = {c: used_value_at(recipe, c) for path in searched for c in space[path].when}
    options = [(*_options(space[n]), *_conditions_inside(space, searched, n)) for n in names]
    for values in itertools.product(*options):
        chosen: dict[str, Value] = dict(zip(names, values, strict=True))
        active = {p: v for p, v in chosen.items() if space[p].active({**base, **chosen})}
        yield with_settings(recipe, active, "search") if active else recipe


def _conditions_inside(
    space: Mapping[str, Parameter], searched: Iterable[str], path: str
) -> Iterator[Value]:
    """The values inside the range of ``path`` under which a searched parameter exists.

    Of a long range only three values are taken, so such a condition would never hold.
    """
    parameter = space[path]
    if parameter.choice is not None:
        return
    for values in (space[other].when.get(path, ()) for other in searched):
        for value in values if isinstance(values, tuple) else (values,):
            if parameter.contains(value) and value not in _options(parameter):
                yield value


def _options(parameter: Parameter) -> tuple[Value, ...]:
    """All options, or of a range its ends and a value inside.

    Some rules hold at both ends and nowhere between: workers share 8 and 128 images, but not 9, and
    a quarter and a half of 8 images are whole, but not a third.
    """
    if parameter.choice is not None:
        return parameter.choice
    low, high = parameter.bounds
    if parameter.kind != "int_uniform":
        inside = float(f"{low + SHARE_INSIDE * (high - low):.6g}")
        return (low, min(max(inside, low), high), high)
    if high - low < MAX_COUNT:
        return tuple(range(int(low), int(high) + 1))
    return (int(low), int(low) + 1, int(high))
