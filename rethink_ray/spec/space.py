"""The search space: one parameter per dotted path of the recipe, some only under a condition."""

from collections.abc import Mapping
from typing import Literal

from rethink_ray.spec.recipe import Spec
from rethink_ray.spec.rules.rule import Breach, Rule

Value = str | int | float | bool | None
MAX_INT = 2**53
"""Up to here samplers, which count in floats, tell whole numbers apart."""
Kind = Literal["log_uniform", "uniform", "int_uniform", "choice"]
PARAMETER_KINDS = ("log_uniform", "uniform", "int_uniform", "choice")


class Parameter(Spec):
    """A range or a list of options, under exactly one of four names."""

    log_uniform: tuple[float, float] | None = None
    """Numbers in [low, high], uniform in their logarithm; low is above zero."""
    uniform: tuple[float, float] | None = None
    """Numbers in [low, high], uniform."""
    int_uniform: tuple[int, int] | None = None
    """Whole numbers in [low, high], both included."""
    choice: tuple[Value, ...] | None = None
    """The options, each once."""
    when: dict[str, Value | tuple[Value, ...]] = {}
    """Conditions for this parameter to exist: dotted path and the value, or values, it must
    have."""

    rules = (
        Rule(
            key="",
            reads=PARAMETER_KINDS,
            broken=lambda parameter: _has_not_one_kind(parameter),
            must="must have exactly one of log_uniform, uniform, int_uniform, choice",
        ),
        Rule(
            key="choice",
            broken=lambda parameter: _repeats_an_option(parameter.choice or ()),
            must="must not repeat an option",
        ),
        Rule(
            key="int_uniform",
            broken=lambda parameter: max(map(abs, parameter.int_uniform or (0,))) > MAX_INT,
            must=f"must stay within {MAX_INT:,}",
        ),
        Rule(
            key="",
            reads=PARAMETER_KINDS,
            broken=lambda parameter: _has_no_width(parameter),
            must="must be [low, high] with low < high",
        ),
        Rule(
            key="log_uniform",
            broken=lambda parameter: min(parameter.log_uniform or (1.0,)) <= 0,
            must="must have a lower bound above zero",
        ),
    )

    @property
    def kind(self) -> Kind:
        """Which of the four this parameter is."""
        if self.log_uniform is not None:
            return "log_uniform"
        if self.uniform is not None:
            return "uniform"
        return "int_uniform" if self.int_uniform is not None else "choice"

    @property
    def bounds(self) -> tuple[float, float]:
        """Inclusive [low, high] of a range."""
        bounds = self.log_uniform or self.uniform or self.int_uniform
        assert bounds is not None, "a choice has no bounds"
        return bounds

    def contains(self, value: Value) -> bool:
        """Whether a value lies in the range or among the options."""
        if self.choice is not None:
            return any(
                value == o and isinstance(value, bool) == isinstance(o, bool) for o in self.choice
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.bounds
        return low <= value <= high and (self.kind != "int_uniform" or isinstance(value, int))

    def active(self, values: Mapping[str, Value]) -> bool:
        """Whether every condition holds among ``values`` (path -> value, the base's included)."""
        for path, condition in self.when.items():
            allowed = condition if isinstance(condition, tuple) else (condition,)
            if path not in values or values[path] not in allowed:
                return False
        return True


def _has_not_one_kind(parameter: Parameter) -> bool | Breach:
    kinds = [kind for kind in PARAMETER_KINDS if getattr(parameter, kind)]
    return len(kinds) != 1 and Breach(came=kinds)


def _repeats_an_option(options: tuple[Value, ...]) -> bool:
    return len({(isinstance(option, bool), option) for option in options}) != len(options)


def _has_no_width(parameter: Parameter) -> bool | Breach:
    if parameter.choice is not None:
        return False
    low, high = parameter.bounds
    return not low < high and Breach(key=parameter.kind, came=[low, high])
