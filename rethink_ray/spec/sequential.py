"""A budget that ends when it has decided: ``replicates: {from: 3, to: 9, until: decided}``."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from rethink_ray.spec.model import PositiveInt, Spec
from rethink_ray.spec.rules.rule import Breach, Rule

FEWEST = 3
"""Below three values there is no interval."""
STEP = 2
Spending = Literal["obrien_fleming", "hwang_shih_decani_4", "hwang_shih_decani_2"]


class SequentialReplicates(Spec):
    """So many replicates (or searches) of each arm as it takes to decide its comparisons.

    A look happens when every run up to one of the numbers in ``at`` is in. An arm runs on to the
    next number while one of its primary comparisons is open.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    first: Annotated[int, Field(ge=FEWEST, alias="from")]
    """How many each arm has at the first look."""
    to: PositiveInt
    """The most that any arm gets. It is fixed when the study starts."""
    until: Literal["decided"]
    """An arm runs on until its primary comparisons are ``decided``: supported, contradicted,
    equivalent, or without a chance to be decided by the last look."""
    at: tuple[PositiveInt, ...] | None = None
    """How many each arm that runs on has at each look, rising from ``from`` to ``to``. Null takes
    every second number: 3, 5, 7, 9."""
    spending: Spending = "obrien_fleming"
    """How the error of 5 % is spent over the looks: ``obrien_fleming`` spends little on early ones,
    ``hwang_shih_decani_4`` (gamma -4) and ``hwang_shih_decani_2`` (gamma -2) spend more. Source:
    Lan & DeMets 1983; Hwang et al. 1990."""
    reserve: Annotated[float, Field(ge=0.0, lt=0.05)] = 0.0
    """The part of the error of 5 % that is kept for one look beyond ``to`` (``resume
    --replicates``). With 0 replicates beyond ``to`` describe and decide nothing."""
    extended_to: PositiveInt | None = Field(
        None, exclude_if=lambda number: number is None, json_schema_extra={"readOnly": True}
    )
    """How many the arms that the last look left open run on to: ``resume --replicates`` writes it.
    """

    rules = (
        Rule(
            key="to",
            broken=lambda budget: budget.to <= budget.first,
            must="must be more than from ({first})",
            remedy="A plain number has no looks: replicates: 5.",
        ),
        Rule(
            key="at",
            reads=("from", "to"),
            broken=lambda budget: budget.at is not None and _list_breach(budget),
            must="must rise from {first} to {to}",
            remedy="For instance {example}.",
        ),
    )

    @property
    def looks(self) -> tuple[int, ...]:
        """How many each arm that runs on has at each look, up to ``to``."""
        return self.at if self.at is not None else _every_second(self.first, self.to)

    @property
    def most(self) -> int:
        """The most that any arm gets, those beyond ``to`` included."""
        return max(self.to, self.extended_to or 0)

    @property
    def as_written(self) -> dict[str, Any]:
        """The keys as a file says them."""
        return self.model_dump(mode="json", exclude_unset=True)


def _every_second(first: int, last: int) -> tuple[int, ...]:
    """3, 5, 7, 9 from 3 to 9; the last number closes the list in any case."""
    return (*range(first, last, STEP), last)


def _list_breach(budget: SequentialReplicates) -> bool | Breach:
    at = budget.at or ()
    rises = all(a < b for a, b in pairwise(at))
    if at and rises and (at[0], at[-1]) == (budget.first, budget.to):
        return False
    return Breach(came=at, words={"example": list(_every_second(budget.first, budget.to))})


def most_of(budget: int | SequentialReplicates) -> int:
    """The number itself, or the most that a sequential budget comes to."""
    return budget if isinstance(budget, int) else budget.most
