"""A ``CellView`` answers from the records as they are now, however long it lives."""

from typing import Any

import pytest

from rethink_ray.protocol.cell_rules import CellRules
from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.protocol.extension import extend
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of
from tests.search.search_builders import ap_of, diverging_above, facts_of, rung, small_study

CELL = Cell("full", "scratch")
COPY = Cell("full", "copy")
COPYING: dict[str, Any] = {
    "arms": {"scratch": {}, "copy": {}},
    "tuning": {"copy_from": "scratch"},
    "budget": {"trials": 4, "keep": [4, 2, 1], "replicates": 2, "audit": 1},
}
ENDING: dict[str, Any] = {
    "schedule": {"unit": 100, "lengths": [2, 4, 6], "converged": 3.0},
    "budget": {"trials": 6, "keep": [4, 2, 1], "replicates": 2, "audit": 1},
}
TWICE: dict[str, Any] = {"budget": {**COPYING["budget"], "searches": 2}}


def answers(view: CellView) -> tuple[object, ...]:
    return (
        view.halving,
        view.audited,
        dict(view.incumbents),
        view.statuses,
        view.convergence,
        view.search_to_go,
        view.replicates_to_go,
        view.is_search_over,
        view.pending_search,
        view.pending_replicates,
        view.missing_replicates,
    )


@pytest.mark.parametrize("changes", [COPYING, ENDING, TWICE])
def test_a_view_that_lives_on_answers_as_a_fresh_one(changes: dict[str, Any]) -> None:
    study = small_study(**changes)
    cluster = SimulatedCluster(study, facts_of(study), diverging_above(0.05), slots=2)
    happened: list[Event] = []
    cluster.watch = happened.append
    cluster.run()
    old = StudyView(study, StudyState())
    for event in happened:
        old.state.add(event)
        fresh = StudyView(study, old.state)
        for view in fresh.searches:
            assert answers(old.cell(view.cell)) == answers(view)
    assert all(view.is_search_over and not view.replicates_to_go for view in old.searches)


def test_answers_are_kept_until_the_records_grow() -> None:
    study = small_study()
    state = replay(study, facts_of(study), ap_of)
    view = StudyView(study, state).cell(CELL)
    statuses = view.statuses
    assert view.statuses is statuses
    state.add(rung("of another study", 2.0, 1.0))
    assert view.statuses is not statuses
    assert view.statuses == statuses


def test_a_view_of_other_records_forgets_what_it_knew() -> None:
    study = small_study()
    view = StudyView(study, replay(study, facts_of(study), ap_of))
    assert view.cell(CELL).is_search_over
    view.read(StudyState())
    assert not view.cell(CELL).is_search_over
    assert not view.cell(CELL).incumbents


def test_a_cell_with_nothing_to_tune_runs_one_trial() -> None:
    fixed = {"optimizer.lr": 0.01, "optimizer.weight_decay": 1e-4}
    study = small_study(arms={"scratch": {}, "fixed": {"set": fixed}})
    assert CellRules(study, CELL).num_trials == 8
    assert CellRules(study, Cell("full", "fixed")).num_trials == 1
    [cell] = [c for c in progress_of(study, StudyState()).cells if c.cell == Cell("few", "fixed")]
    assert (cell.budget, cell.search_to_go) == (1, 1)


def copied(study: Study, state: StudyState) -> CellView:
    return StudyView(study, state).cell(COPY)


def test_a_copied_cell_is_not_over_while_its_source_searches_again() -> None:
    study = small_study(**COPYING)
    before = replay(study, facts_of(study), ap_of)
    num_copies = len(before.members(COPY, "search"))
    assert copied(study, before).is_search_over

    larger = extend(study, trials=8)
    assert not copied(larger, before).is_search_over
    assert copied(larger, before).search_to_go == 1  # at least: the source may find more
    progress = progress_of(larger, before)
    [cell] = [c for c in progress.cells if c.cell == COPY]
    assert (cell.budget, cell.search_to_go) == (num_copies + 1, 1)

    after = replay(larger, facts_of(study), ap_of, events=events_of(before))
    assert copied(larger, after).is_search_over
    assert progress_of(larger, after).complete


def test_a_copied_cell_lacks_one_trial_for_each_new_incumbent_of_its_source() -> None:
    study = small_study(**COPYING)
    whole = replay(study, facts_of(study), ap_of)
    own = StudyState(e for e in events_of(whole) if getattr(e, "arm", "scratch") == "scratch")
    view = copied(study, own)
    originals = {m.trial_id for m in StudyView(study, own).cell(CELL).incumbents.values()}
    assert {m.trial_id for m in view.uncopied} == originals
    assert view.num_unproposed == len(originals)
