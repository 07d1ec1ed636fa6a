"""A study that gets more arms or regimes: new cells beside the old ones, which stay the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.protocol.extension import add_from_file, extend
from rethink_ray.records.state import StudyState
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.edits import count_looks_before
from rethink_ray.spec.resolve import Cell, cells_of, searches_of
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of, facts_in
from tests.search.search_builders import BASE, ap_of, diverging_above, facts_of, small_study

FEW: dict[str, Any] = {"trials": 4, "keep": [4, 2, 1], "replicates": 2, "audit": 1}
ALONE = small_study(arms={"scratch": {}}, budget=FEW)
FROZEN = {"set": {"init.source": "upstream", "init.frozen": "backbone"}}
MORE_ARMS = small_study(arms={"frozen": FROZEN, "scratch": {}}, budget=FEW)
MORE_REGIMES = small_study(
    arms={"scratch": {}},
    regimes={"half": {"images": 400}, "full": {"images": "all"}, "few": {"images": 60}},
    budget=FEW,
)
TAUGHT = small_study(
    arms={
        "scratch": {},
        "student": {"set": {"labels.kind": "self_training"}, "teacher": "scratch"},
    },
    settings=BASE,
    budget=FEW,
)


def edited(study: Study, from_file: Study, *, has_results: bool = True) -> Study:
    return add_from_file(study, from_file, "edited.yaml", has_results=has_results)


def of_cells(state: StudyState, study: Study) -> tuple[object, ...]:
    """What the records say of the cells that ``study`` has."""
    cells = set(searches_of(study))
    rounds = {key: by_number for key, by_number in state.rounds.items() if key[0] in cells}
    trials = {m.trial_id for by in rounds.values() for r in by.values() for m in r.members}
    rungs = {key: rung.metrics for key, rung in state.rungs.items() if key[0] in trials}
    return rounds, rungs, {key: end for key, end in state.ended.items() if key in trials}


def started_in(cluster: SimulatedCluster, study: Study) -> list[str]:
    """Ids of the jobs of a study's cells, in the order in which they began."""
    names = {cell.name for cell in searches_of(study)}
    return [job.job_id for job in cluster.started if job.cell in names and job.asset is None]


@pytest.mark.parametrize("from_file", [MORE_ARMS, MORE_REGIMES, TAUGHT])
@pytest.mark.parametrize("events", [0, 7, 1000])
def test_what_is_added_changes_nothing_in_the_cells_that_were_there(
    from_file: Study, events: int
) -> None:
    alone = SimulatedCluster(ALONE, facts_of(ALONE), ap_of, slots=1)
    alone.run()
    first = SimulatedCluster(ALONE, facts_of(ALONE), ap_of, slots=1)
    first.run(events)
    study = edited(ALONE, from_file)
    second = SimulatedCluster(study, facts_of(from_file), ap_of, slots=1, state=first.state)
    assert second.run().done
    assert of_cells(second.state, ALONE) == of_cells(alone.state, ALONE)
    began = dict.fromkeys([*started_in(first, ALONE), *started_in(second, ALONE)])
    assert list(began) == started_in(alone, ALONE)
    new = set(cells_of(study)) - set(cells_of(ALONE))
    assert {cell for cell, _ in second.state.rounds} == set(cells_of(ALONE)) | new


def test_added_cells_are_those_of_a_study_that_began_with_them() -> None:
    before = replay(ALONE, facts_of(ALONE), ap_of)
    after = replay(edited(ALONE, MORE_ARMS), facts_of(MORE_ARMS), ap_of, events=events_of(before))
    assert facts_in(after) == facts_in(replay(MORE_ARMS, facts_of(MORE_ARMS), ap_of))


def test_added_cells_come_last_edit_by_edit() -> None:
    once = edited(ALONE, MORE_ARMS)
    names = [cell.name for cell in cells_of(once)]
    assert names == ["full/scratch", "few/scratch", "full/frozen", "few/frozen"]
    twice = edited(once, small_study(**_tree(arms={"frozen": FROZEN, "scratch": {}}, half=True)))
    names = [cell.name for cell in cells_of(twice)]
    assert names[:4] == ["full/scratch", "few/scratch", "full/frozen", "few/frozen"]
    assert names[4:] == ["half/scratch", "half/frozen"]
    looks = {
        cell.name: count_looks_before(twice, cell.regime, cell.arm) for cell in cells_of(twice)
    }
    assert looks == {
        "full/scratch": 0,
        "few/scratch": 0,
        "full/frozen": 1,
        "few/frozen": 1,
        "half/scratch": 2,
        "half/frozen": 2,
    }


def _tree(arms: dict[str, Any], *, half: bool) -> dict[str, Any]:
    regimes: dict[str, Any] = {"full": {"images": "all"}, "few": {"images": 60}}
    if half:
        regimes["half"] = {"images": 400}
    return {"arms": arms, "regimes": regimes, "budget": FEW}


def test_a_second_search_of_the_old_cells_comes_before_the_added_ones() -> None:
    study = extend(edited(ALONE, MORE_ARMS), searches=2)
    names = [cell.name for cell in searches_of(study)]
    assert names[:4] == ["full/scratch", "few/scratch", "full/scratch/2", "few/scratch/2"]
    assert names[4:6] == ["full/frozen", "few/frozen"]


def test_an_addition_before_the_first_result_is_no_look() -> None:
    study = edited(ALONE, MORE_ARMS, has_results=False)
    assert study.edits == ()
    assert [*study.arms] == ["scratch", "frozen"]
    assert count_looks_before(study, "full", "frozen") == 0


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    stops=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    at=st.integers(0, 3),
    order=st.integers(0, 2**20),
)
def test_killed_before_and_after_an_edit_it_is_the_same_study(
    stops: list[int], at: int, order: int
) -> None:
    grown, answer = edited(ALONE, MORE_ARMS), diverging_above(0.08)
    facts, state = facts_of(MORE_ARMS), StudyState()
    for number, max_events in enumerate(stops):
        study = ALONE if number < at else grown
        SimulatedCluster(study, facts, answer, slots=3, state=state).run(max_events)
    ended = replay(grown, facts, answer, slots=2, order_seed=order, events=events_of(state))
    assert facts_in(ended) == facts_in(replay(MORE_ARMS, facts, answer))
    assert of_cells(ended, ALONE) == of_cells(replay(ALONE, facts_of(ALONE), answer), ALONE)


def test_cells_are_named_by_regime_and_arm_whatever_was_added() -> None:
    assert Cell("full", "frozen") in cells_of(edited(ALONE, MORE_ARMS))
