"""Takes a look once everything up to it is in: what ``judge`` decides becomes an event.

The look is recorded before any further replicate is proposed, so that what runs next follows from
the records alone. Simulators that plan a study make up what a look decides.
"""

from collections.abc import Callable

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.looks import DueLook
from rethink_ray.records.types import ComparisonState, LookTaken
from rethink_ray.spec.resolve import Cell, cells_of

LookTaker = Callable[[StudyView, DueLook], LookTaken]
"""(the study, all of whose runs up to the look are in; the look) -> what it decides."""


def take_due_look(view: StudyView, taker: LookTaker) -> LookTaken | None:
    """The look that a study takes now; None if none is to come.

    Args:
        view: the study. No cell has anything left to run.
        taker: decides what the look says.
    """
    due = None if view.looks is None else view.looks.due
    return None if due is None else taker(view, due)


def judge_look(view: StudyView, due: DueLook) -> LookTaken:
    """What the replicates up to this look decide, by the tests of ``judge``."""
    # judge needs SciPy and the tables PyArrow: a study with plain numbers imports neither
    from rethink_ray.judge.looks import take_look
    from rethink_ray.judge.read.study_scores import read_scores
    from rethink_ray.protocol.tables import build_tables

    study, looks = view.study, view.looks
    assert looks is not None, "a look is due"
    samples = read_scores(build_tables(study, view.state, view.facts)).list_samples()
    numbers = (*(look.replicates for look in looks.taken), due.replicates)
    decided = take_look(study, {num: [s.up_to(num) for s in samples] for num in numbers})
    return LookTaken(
        number=due.number,
        replicates=due.replicates,
        comparisons=tuple(
            ComparisonState(
                key=outcome.key,
                cells=tuple(f"{regime}/{arm}" for regime, arm in sorted(outcome.comparison.arms)),
                verdict=outcome.verdict,
                stopped_at=outcome.decided_at,
                more=outcome.stop.more,
                p_value=outcome.p_value,
            )
            for outcome in decided.comparisons
        ),
        running=tuple(
            _name(cell) for cell in cells_of(study) if (cell.regime, cell.arm) in decided.open_arms
        ),
    )


def pretend_all_decided(view: StudyView, due: DueLook) -> LookTaken:
    """A made-up look after which nothing runs on: the least that a study costs."""
    return LookTaken(number=due.number, replicates=due.replicates, comparisons=(), running=())


def pretend_none_decided(view: StudyView, due: DueLook) -> LookTaken:
    """A made-up look after which all that ran up to it runs on: the most that a study costs."""
    looks = view.looks
    assert looks is not None, "a look is due"
    running = (c for c in cells_of(view.study) if looks.count_due(c) == due.replicates)
    return LookTaken(
        number=due.number,
        replicates=due.replicates,
        comparisons=(),
        running=tuple(_name(cell) for cell in running),
    )


def _name(cell: Cell) -> str:
    return f"{cell.regime}/{cell.arm}"
