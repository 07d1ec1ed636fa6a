"""The search space: one parameter per dotted path of the recipe, some only under a condition."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from rethink_ray.spec.recipe import Spec

Value = str | int | float | bool | None
MAX_INT = 2**53
"""Up to here samplers, which count in floats, tell whole numbers apart."""
Kind = Literal["log_uniform", "uniform", "int_uniform", "choice"]


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

    @model_validator(mode="after")
    def _one_kind_and_a_real_range(self) -> Self:
        given = [k for k in ("log_uniform", "uniform", "int_uniform", "choice") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                f"must have exactly one of log_uniform, uniform, int_uniform, choice|{given}"
            )
        if self.choice is not None:
            options = {(isinstance(option, bool), option) for option in self.choice}
            if len(options) != len(self.choice):
                raise ValueError(f"choice must not repeat an option|{list(self.choice)}")
            return self
        low, high = self.bounds
        if self.int_uniform and max(-low, high) > MAX_INT:
            raise ValueError(f"int_uniform must stay within {MAX_INT:,}|{[low, high]}")
        if not low < high:
            raise ValueError(f"{self.kind} must be [low, high] with low < high|{[low, high]}")
        if self.kind == "log_uniform" and low <= 0:
            raise ValueError(f"log_uniform needs a lower bound above zero|{[low, high]}")
        return self

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
        found = self.log_uniform or self.uniform or self.int_uniform
        assert found is not None, "a choice has no bounds"
        return found

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
        for path, wanted in self.when.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            if path not in values or values[path] not in allowed:
                return False
        return True
