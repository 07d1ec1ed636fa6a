"""What a study file says about one cell, before anything has run.

``CellView`` adds the records. Options that only some studies use (repeated searches, ladders that
may end early, replicates on other images, copied values) are read here and nowhere else.
"""

from functools import cached_property

from rethink_ray.protocol.halving import Ladder, ladder_of
from rethink_ray.spec.first_values import first_values
from rethink_ray.spec.resolve import Cell, copied_cell, space_of
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import Study


class CellRules:
    """The rules for one search of one cell."""

    def __init__(self, study: Study, cell: Cell) -> None:
        self.study = study
        self.cell = cell

    @cached_property
    def ladder(self) -> Ladder:
        """The schedule lengths, and how many trials of a round run each of them."""
        return ladder_of(self.study, self.cell)

    @cached_property
    def space(self) -> dict[str, Parameter]:
        """Searched path -> parameter; empty where nothing is tuned."""
        return space_of(self.study, self.cell)

    @cached_property
    def copied(self) -> Cell | None:
        """The cell whose incumbents' values this one copies; None: it searches for itself."""
        return copied_cell(self.study, self.cell)

    @cached_property
    def teacher(self) -> Cell | None:
        """The cell whose incumbent teaches this one; None: no arm does.

        Each repeated search has a teacher of its own: results of searches that shared one would
        not be independent.
        """
        arm = self.study.arms[self.cell.arm].teacher
        return self.cell.of_arm(arm) if isinstance(arm, str) else None

    @property
    def sources(self) -> tuple[Cell, ...]:
        """The cells whose searches must be over before this one begins."""
        return tuple(cell for cell in (self.copied, self.teacher) if cell is not None)

    @property
    def num_trials(self) -> int:
        """Trials that the search samples: one where nothing is tuned, none where values are copied.

        Without a search space all trials would have the same configuration.
        """
        if self.copied is not None:
            return 0
        return self.study.budget.trials if self.space else 1

    @cached_property
    def first_values(self) -> tuple[dict[str, Value], ...]:
        """The first configurations of the search: the recipe's own, then those of ``try_first``."""
        return first_values(self.study, self.cell)

    @property
    def num_audited(self) -> int:
        """How many trials the audit takes; none where values are copied."""
        return 0 if self.copied is not None else self.study.budget.audit

    @property
    def num_replicates(self) -> int:
        """Replicates of each incumbent."""
        return self.study.budget.num_replicates


def num_searches(study: Study) -> int:
    """How many independent searches each cell has."""
    return study.budget.num_searches


def has_looks(study: Study) -> bool:
    """Whether replicates (or searches) are added until the primary comparisons are decided."""
    return study.budget.sequential is not None


def searches_of_cell(study: Study, cell: Cell) -> tuple[Cell, ...]:
    """Every search of one cell, the first one first."""
    return tuple(Cell(cell.regime, cell.arm, number) for number in range(num_searches(study)))


def least_gain(study: Study) -> float | None:
    """Points that a round must gain, or it converges; None: every round runs the whole ladder."""
    return study.schedule.converged


def may_end_early(study: Study) -> bool:
    """Whether a round that stops improving runs no longer lengths (``schedule.converged``)."""
    return least_gain(study) is not None


def redraws_images(study: Study) -> bool:
    """Whether replicates are to train on other images than the search (``replicate.vary``)."""
    return "subset" in study.replicate.vary


def with_whole_ladders(study: Study) -> Study:
    """The same study, but every round runs its ladder to the end."""
    schedule = study.schedule.model_copy(update={"converged": None})
    return study.model_copy(update={"schedule": schedule})
