"""Who teaches a cell: the incumbent of another arm in the same regime.

It is chosen once, when the cell's search begins, and stands in the records from then on: more
trials or longer lengths change no student that has started.
"""

from dataclasses import dataclass

from rethink_ray.protocol.incumbents import incumbents
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, TrialConfig, resolve
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A search trial of the teacher's cell, and how long it is trained again."""

    trial_id: str
    length: float
    config: TrialConfig
    """Under the search trial's own seeds; a student puts its own in their place."""


def teacher_cell(study: Study, cell: Cell) -> Cell | None:
    """The cell that teaches ``cell``; ``None`` if nobody does, or a file. Each search has its own
    teacher: values of searches that shared one would not be independent."""
    teacher = study.arms[cell.arm].teacher
    return cell.of_arm(teacher) if isinstance(teacher, str) else None


def recorded_teacher(
    study: Study, facts: DataFacts, state: StudyState, cell: Cell
) -> Teacher | None:
    """The teacher that the cell's own rounds name; ``None`` before the first of them."""
    source = teacher_cell(study, cell)
    if source is None:
        return None
    for _, member in state.members(cell, "search"):
        if member.teacher is not None and member.teacher_length is not None:
            for _, known in state.members(source, "search"):
                if known.trial_id == member.teacher:
                    return _teacher(study, facts, state, source, known, member.teacher_length)
            must = f"must be a trial of {source.name}, which teaches {cell.name}"
            raise RecordError(explain("records: teacher", must, member.teacher))
    return None


def chosen_teacher(study: Study, facts: DataFacts, state: StudyState, cell: Cell) -> Teacher | None:
    """The teacher's cell's incumbent at its longest length; ``None`` if it found none."""
    source = teacher_cell(study, cell)
    assert source is not None, "asked only of a cell that is taught"
    best = incumbents(study, state, source)
    return _teacher(study, facts, state, source, best[max(best)], max(best)) if best else None


def config_of(
    study: Study, facts: DataFacts, state: StudyState, cell: Cell, member: Member
) -> TrialConfig:
    """The complete configuration of a recorded member, its teacher's included."""
    teacher = recorded_teacher(study, facts, state, cell)
    return _config(study, facts, cell, member, teacher)


def _teacher(
    study: Study, facts: DataFacts, state: StudyState, cell: Cell, member: Member, length: float
) -> Teacher:
    own = recorded_teacher(study, facts, state, cell)
    config = _config(study, facts, cell, member, own)
    schedule = config.recipe.schedule.model_copy(update={"lengths": (length,)})
    recipe = config.recipe.model_copy(update={"schedule": schedule})
    return Teacher(
        trial_id=member.trial_id,
        length=length,
        config=config.model_copy(update={"recipe": recipe}),
    )


def _config(
    study: Study, facts: DataFacts, cell: Cell, member: Member, teacher: Teacher | None
) -> TrialConfig:
    given = None if teacher is None else teacher.config
    own = (member.seed, facts, member.asset_seed, given, member.draw)
    return resolve(study, cell, member.params, *own)
