"""How many replicates or searches each cell runs, where the study ends once it has decided.

``replicates: {from: 3, to: 9, until: decided}``: all cells have 3 at the first look. A cell that
the look lets run on has 5 at the second, and so on. The looks are events, so that what runs next
follows from the records; ``judge`` says what a look decides, and ``search`` records it.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rethink_ray.protocol.cell_rules import CellRules
from rethink_ray.records.types import LookTaken
from rethink_ray.spec.resolve import Cell, cells_of
from rethink_ray.spec.sequential import SequentialReplicates
from rethink_ray.spec.study import Study

Axis = Literal["replicates", "searches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLook:
    """The look that a study takes once everything that it asks for is in."""

    number: int
    replicates: int
    """Replicates, or searches, of each cell that ran up to it."""


class StudyLooks:
    """The looks of one study: those it has taken, and what they leave to run."""

    def __init__(self, study: Study, taken: Iterable[LookTaken]) -> None:
        plan = study.budget.sequential
        assert plan is not None, "the study looks at its results while it runs"
        self.plan: SequentialReplicates = plan
        self.axis = sequential_axis(study)
        self._study = study
        self._num_replicates = study.budget.num_replicates
        by_number = {look.number: look for look in taken}
        following = itertools.takewhile(by_number.__contains__, itertools.count())
        self.taken = tuple(by_number[number] for number in following)

    @cached_property
    def planned(self) -> tuple[LookTaken, ...]:
        """The looks that were taken up to ``to``; one beyond it spends the reserve."""
        return tuple(look for look in self.taken if look.replicates <= self.plan.to)

    @property
    def is_over(self) -> bool:
        """No planned look is to come: the last one was taken, or nothing ran on after one."""
        if not self.planned:
            return False
        return len(self.planned) == len(self.plan.looks) or not self.planned[-1].running

    @cached_property
    def due(self) -> DueLook | None:
        """The next look; None if there is none to come."""
        if not self.is_over:
            number = len(self.planned)
            return DueLook(number=number, replicates=self.plan.looks[number])
        extended, is_spent = self.plan.extended_to, len(self.taken) > len(self.planned)
        if extended is None or is_spent or not (self.plan.reserve and self.left_open):
            return None
        return DueLook(number=len(self.taken), replicates=extended)

    @property
    def left_open(self) -> tuple[str, ...]:
        """``regime/arm`` of the cells whose comparisons the planned looks left open."""
        return self.planned[-1].running if self.is_over else ()

    def count_due(self, cell: Cell) -> int:
        """How many replicates, or searches, a cell has at the next look, or had at its last."""
        name, count = _name(cell), self.plan.looks[0]
        for look, following in zip(self.planned, self.plan.looks[1:], strict=False):
            if name not in look.running:
                break
            count = following
        if self.plan.extended_to and name in self.left_open:
            return max(count, self.plan.extended_to)
        return count

    def count_most(self, cell: Cell) -> int:
        """How many a cell may come to have, by the looks so far."""
        count = self.count_due(cell)
        runs_on = not self.planned or _name(cell) in self.planned[-1].running
        return max(count, self.plan.most) if runs_on and not self.is_over else count

    def count_replicates(self, search: Cell) -> int:
        """Replicates of each incumbent that one search of a cell has to have."""
        if self.axis == "replicates":
            return self.count_due(search)
        return self._num_replicates if search.search < self.count_due(search) else 0

    def most_replicates(self, search: Cell) -> int:
        """Replicates of each incumbent that one search of a cell may come to have."""
        most = self.count_most(search)
        if self.axis == "replicates":
            return most
        return self._num_replicates if search.search < most else 0

    def needs_search(self, search: Cell) -> bool:
        """One search of a cell has to run: for the cell itself, or for one that learns from it."""
        if self.axis == "replicates" or search.search < self.count_due(search):
            return True
        learners = self._learners.get(_name(search), ())
        return any(self.needs_search(search.of_arm(arm)) for arm in learners)

    @cached_property
    def _learners(self) -> dict[str, list[str]]:
        """``regime/arm`` -> the arms whose searches wait for those of this cell."""
        learners: dict[str, list[str]] = {}
        for cell in cells_of(self._study):
            for source in CellRules(self._study, cell).sources:
                learners.setdefault(_name(source), []).append(cell.arm)
        return learners


def _name(cell: Cell) -> str:
    """``regime/arm``, without the number of the search."""
    return f"{cell.regime}/{cell.arm}"


def sequential_axis(study: Study) -> Axis | None:
    """What is added until a comparison is decided; None: the study has plain numbers."""
    if study.budget.sequential is None:
        return None
    return "searches" if study.budget.num_searches > 1 else "replicates"


def derive_looks(study: Study, taken: Iterable[LookTaken]) -> StudyLooks | None:
    """The looks of a study; None: it has plain numbers."""
    if study.budget.sequential is None:
        return None
    return StudyLooks(study, taken)


def count_replicates(study: Study, taken: Iterable[LookTaken], cell: Cell) -> int:
    """Replicates of each incumbent that a cell has to have, by the looks so far."""
    if sequential_axis(study) != "replicates":
        return study.budget.num_replicates
    return StudyLooks(study, taken).count_due(cell)


def count_searches(study: Study, taken: Iterable[LookTaken], cell: Cell) -> int:
    """Searches that a cell has to have for itself, by the looks so far."""
    if sequential_axis(study) != "searches":
        return study.budget.num_searches
    return StudyLooks(study, taken).count_due(cell)
