"""What a study may search: paths that exist, options that their fields accept, plain conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rethink_ray.spec.detector import REFUSED_BETWEEN
from rethink_ray.spec.errors import show_value
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.settings import (
    LENGTH_PATH,
    holds_float,
    known_paths,
    suggest_path,
    used_value_at,
)
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study


@dataclass(frozen=True)
class SearchedCell:
    """A cell with its base recipe and its search space."""

    study: Study
    cell: Cell

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe before anything is sampled."""
        return base_recipe(self.study, self.cell)

    @cached_property
    def space(self) -> Mapping[str, Parameter]:
        """Dotted path -> parameter."""
        return space_of(self.study, self.cell)

    def key_of(self, path: str) -> str:
        """The key of the study under which a path is searched."""
        is_arms = path in self.study.arms[self.cell.arm].search
        return f"arms.{self.cell.arm}.search.{path}" if is_arms else f"search.{path}"


@dataclass(frozen=True, slots=True)
class SearchedPath:
    """One parameter of a cell."""

    path: str
    parameter: Parameter
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Condition:
    """One path that a parameter's ``when`` names."""

    path: str
    space: Mapping[str, Parameter]


def _is_unknown(path: str) -> bool | Breach:
    is_unknown = path not in known_paths()
    return is_unknown and Breach(came=path, words={"nearest": suggest_path(path)})


def _has_no_range(searched: SearchedPath) -> bool | Breach:
    """A range over values that are not numbers."""
    path, parameter = searched.path, searched.parameter
    if path == LENGTH_PATH or parameter.choice is not None or holds_float(path):
        return False
    value = used_value_at(searched.recipe, path)
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return not (is_count and parameter.kind == "int_uniform") and Breach(came=path)


def _crosses_refused_values(searched: SearchedPath) -> bool | Breach:
    """A range whose ends its field accepts, but not what lies between."""
    group, _, key = searched.path.partition(".")
    refused = REFUSED_BETWEEN.get(key) if group == "detector" else None
    parameter = searched.parameter
    if refused is None or parameter.choice is not None:
        return False
    low, high = parameter.bounds
    words = {"first": refused[0], "last": refused[1]}
    crosses = max(low, refused[0]) < min(high, refused[1])
    return crosses and Breach(came=[low, high], words=words)


def _misses_the_base(searched: SearchedPath) -> bool | Breach:
    """The space does not hold the value of the base recipe, which is tried first."""
    base = used_value_at(searched.recipe, searched.path)
    parameter = searched.parameter
    if searched.path == LENGTH_PATH or parameter.contains(base):
        return False
    return Breach(came=list(parameter.choice or parameter.bounds), words={"base": show_value(base)})


PARAMETER_RULES: tuple[Rule[SearchedPath], ...] = (
    Rule(
        key="",
        broken=lambda searched: _is_unknown(searched.path),
        must="must be a path of the recipe",
        remedy="{nearest}",
    ),
    Rule(
        key="",
        broken=lambda searched: (
            searched.path == LENGTH_PATH
            and searched.parameter.choice is None
            and Breach(came=searched.parameter.kind)
        ),
        must="must be a choice of lengths",
    ),
    Rule(
        key="",
        broken=_has_no_range,
        must="must hold a number to have a range",
        remedy="Use choice, or int_uniform for a count.",
    ),
    Rule(
        key="",
        broken=_crosses_refused_values,
        must="must hold no value between {first:g} and {last:g}",
        remedy="Begin at {last:g}, or list the values: choice.",
    ),
)
BASE_VALUE_RULES: tuple[Rule[SearchedPath], ...] = (
    Rule(
        key="",
        broken=_misses_the_base,
        must="must contain the base recipe's value {base}",
        remedy="Widen it, or set the base value under settings.",
    ),
)
"""Checked once the field is known to accept every option."""
CONDITION_RULES: tuple[Rule[Condition], ...] = (
    Rule(
        key="",
        broken=lambda condition: _is_unknown(condition.path),
        must="must name a path of the recipe",
        remedy="{nearest}",
    ),
    Rule(
        key="",
        broken=lambda condition: (
            condition.path in condition.space
            and bool(condition.space[condition.path].when)
            and Breach(came=condition.path)
        ),
        must="must name a parameter that has no condition itself",
    ),
)
