"""Which trial teaches a cell: the incumbent of another arm in the same regime.

It is chosen once, when the search of the taught cell begins, and its id is recorded with every
student. More trials or longer lengths do not change the teacher of students that have started.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.records.types import Member
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import Cell, TrialConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A search trial of the teacher's cell, and how long it is trained again for its students."""

    trial_id: str
    length: float
    config: TrialConfig
    """With the search trial's own seeds; a student replaces them by its own."""


def build_teacher(member: Member, length: float, config: TrialConfig) -> Teacher:
    """A trial as a teacher that trains for exactly one length."""
    schedule = config.recipe.schedule.model_copy(update={"lengths": (length,)})
    recipe = config.recipe.model_copy(update={"schedule": schedule})
    return Teacher(
        trial_id=member.trial_id,
        length=length,
        config=config.model_copy(update={"recipe": recipe}),
    )


def find_recorded(
    students: Sequence[Member], cell: Cell, candidates: Sequence[Member], source: Cell
) -> tuple[Member, float] | None:
    """The trial that the first taught student names, and its length; None if none was taught yet.

    Args:
        students: the search trials of ``cell``.
        cell: the taught cell.
        candidates: the search trials of ``source``.
        source: the teacher's cell.

    Raises:
        RecordError: the named trial is not one of ``source``.
    """
    for student in students:
        if student.teacher is not None and student.teacher_length is not None:
            for member in candidates:
                if member.trial_id == student.teacher:
                    return member, student.teacher_length
            must = f"must be a trial of {source.name}, which teaches {cell.name}"
            raise RecordError(explain("records: teacher", must, student.teacher))
    return None
