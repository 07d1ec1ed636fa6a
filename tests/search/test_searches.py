"""Several searches of one cell: independent of each other, alike between arms, and append-only."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.extension import extend, fingerprint_of
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.retention import Retention
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, RoundProposed
from rethink_ray.search.optuna_journal import optuna_study_name
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.resolve import Cell, searches_of
from rethink_ray.spec.study import Study
from tests.search.same_study import assert_same_in_any_order, events_of, facts_in
from tests.search.search_builders import BASE, ap_of, diverging_above, facts_of, small_study

FEW: dict[str, Any] = {"trials": 6, "keep": [4, 2, 1], "replicates": 2, "audit": 1}
FULL = {"regimes": {"full": {"images": "all"}}}


def searched(times: int, **changes: Any) -> Study:
    return small_study(budget=FEW | {"searches": times}, **changes)


def proposed(state: StudyState, arm: str, search: int) -> list[Member]:
    return [m for _, m in state.members(Cell("full", arm, search), "search")]


def members(state: StudyState) -> dict[object, list[Member]]:
    return {key: [m for _, m in state.members(*key)] for key in state.rounds}


def test_the_first_of_three_searches_is_the_only_one_of_a_study_with_one() -> None:
    one, three = searched(1), searched(3)
    alone = replay(one, facts_of(one), ap_of)
    first = members(replay(three, facts_of(three), ap_of))
    assert {key: found for key, found in first.items() if not key[0].search} == members(alone)
    assert fingerprint_of(three) == fingerprint_of(one)


def test_searches_of_a_cell_propose_other_points_under_other_seeds() -> None:
    study = searched(3, **FULL)
    state = replay(study, facts_of(study), ap_of)
    found = [proposed(state, "scratch", k) for k in range(3)]
    assert [len(f) for f in found] == [6, 6, 6]
    assert len({m.trial_id for f in found for m in f}) == 18
    assert len({m.seed for f in found for m in f}) == 18
    rates = [[m.params["optimizer.lr"] for m in f] for f in found]
    assert {r[0] for r in rates} == {0.02}  # each search starts from the base recipe's values
    assert len({rate for r in rates for rate in r[1:]}) == 15


def test_arms_read_the_same_points_in_searches_of_the_same_number() -> None:
    study = searched(3, **FULL)
    state = replay(study, facts_of(study), ap_of)
    for k in range(3):
        ours, theirs = proposed(state, "scratch", k), proposed(state, "pretrained", k)
        assert [m.params for m in ours] == [m.params for m in theirs]


def test_each_search_is_halved_audited_and_replicated_by_itself() -> None:
    study = searched(3, **FULL)
    state = replay(study, facts_of(study), ap_of)
    for k in range(3):
        cell = Cell("full", "scratch", k)
        own = {m.trial_id for m in proposed(state, "scratch", k)}
        best = {m.trial_id for m in StudyView(study, state).cell(cell).incumbents.values()}
        assert best <= own
        assert {m.trial_id for m in StudyView(study, state).cell(cell).audited} <= own
        repeats = [m for _, m in state.members(cell, "replicate")]
        assert {m.of for m in repeats} == best
        assert len(repeats) == 2 * len(best)
        reached = [sum((t, x) in state.rungs for t in own) for x in (2.0, 6.0)]
        assert reached == [6, 3]  # the best of the rounds of 4 and of 2, and one loser


def test_more_searches_repeat_nothing_and_give_the_study_that_began_with_them() -> None:
    began, large = searched(1), searched(3)
    facts = facts_of(began)
    before = replay(began, facts, ap_of)
    grown = extend(began, searches=3)
    after = replay(grown, facts, ap_of, events=events_of(before))
    assert members(after) == members(replay(large, facts, ap_of))
    assert all(after.rungs[key] is rung for key, rung in before.rungs.items())


def test_a_round_tells_how_many_searches_were_asked_for_when_it_began() -> None:
    began = searched(1, **FULL)
    before = replay(began, facts_of(began), ap_of)
    after = replay(extend(began, searches=3), facts_of(began), ap_of, events=events_of(before))
    firsts = [after.rounds[Cell("full", "scratch", k), "search"][0] for k in range(3)]
    assert [(r.search, r.searches) for r in firsts] == [(0, 1), (1, 3), (2, 3)]


def test_a_copied_arm_carries_the_values_of_the_search_of_the_same_number() -> None:
    study = searched(3, tuning={"copy_from": "scratch"}, **FULL)
    state = replay(study, facts_of(study), ap_of)
    for k in range(3):
        best = {
            m.trial_id
            for m in StudyView(study, state).cell(Cell("full", "scratch", k)).incumbents.values()
        }
        assert {m.of for m in proposed(state, "pretrained", k)} == best


def test_each_search_of_a_student_has_a_teacher_from_the_search_of_the_same_number() -> None:
    arms = {
        "pretrained": {"set": {"init.source": "upstream"}},
        "student": {"set": {"labels.kind": "self_training"}, "teacher": "pretrained"},
    }
    study = searched(2, arms=arms, settings=BASE, **FULL)
    state = replay(study, facts_of(study), ap_of)
    taught = [{m.teacher for m in proposed(state, "student", k)} for k in range(2)]
    best = [
        StudyView(study, state).cell(Cell("full", "pretrained", k)).incumbents[6.0].trial_id
        for k in (0, 1)
    ]
    assert taught == [{best[0]}, {best[1]}]
    assert best[0] != best[1]
    seeds = [{m.asset_seed for m in proposed(state, "student", k)} for k in range(2)]
    assert len(seeds[0] | seeds[1]) == 2


def test_a_plan_of_three_searches_is_three_times_that_of_one() -> None:
    plain = FEW | {"audit": 0}  # where an audited loser stands depends on who it is
    studies = [small_study(budget=plain | {"searches": times}) for times in (1, 3)]
    plans = [plan_study(study, facts_of(study)) for study in studies]
    for one, three in zip(plans[0].cells, plans[1].cells, strict=True):
        assert (three.cell, three.trials, three.rounds) == (one.cell, 18, 6)
        assert three.replicates_range == (6, 18)
        assert one.replicates_range == (2, 6)
        assert three.steps_range == (3 * one.steps_range[0], 3 * one.steps_range[1])


def test_progress_tells_every_search_and_what_is_left_of_all() -> None:
    study = searched(2, **FULL)
    names = [c.cell.name for c in progress_of(study, StudyState()).cells]
    expected = ["full/scratch", "full/pretrained", "full/scratch/2", "full/pretrained/2"]
    assert names == expected == [cell.name for cell in searches_of(study)]
    assert progress_of(study, StudyState()).search_to_go == 24
    assert progress_of(study, replay(study, facts_of(study), ap_of)).complete


def test_every_row_of_the_tables_says_which_search_it_is_of() -> None:
    study = searched(2, **FULL)
    state = replay(study, facts_of(study), ap_of)
    tables = build_tables(study, state, facts_of(study))
    rows = tables.trials.select(["search", "purpose", "trial_id"]).to_pylist()
    for k in range(2):
        ours = {m.trial_id for arm in ("scratch", "pretrained") for m in proposed(state, arm, k)}
        table_ids = {r["trial_id"] for r in rows if (r["search"], r["purpose"]) == (k, "search")}
        assert table_ids == ours
    assert set(tables.rungs.column("search").to_pylist()) == {0, 1}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(slots=st.integers(1, 9), order=st.integers(0, 2**20))
def test_any_order_of_arrival_gives_the_same_searches(slots: int, order: int) -> None:
    assert_same_in_any_order(searched(2, **FULL), diverging_above(0.08), slots, order)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(stops=st.lists(st.integers(0, 25), min_size=1, max_size=4), grow=st.integers(0, 3))
def test_killed_and_given_more_searches_it_is_the_same_study(stops: list[int], grow: int) -> None:
    began, large, answer = searched(1, **FULL), searched(2, **FULL), diverging_above(0.08)
    facts, state = facts_of(began), StudyState()
    for number, max_events in enumerate(stops):
        study = began if number < grow else extend(began, searches=2)
        SimulatedCluster(study, facts, answer, slots=3, state=state).run(max_events)
    ended = replay(extend(began, searches=2), facts, answer, events=events_of(state))
    whole = replay(large, facts, answer)
    assert members(ended) == members(whole)
    assert facts_in(ended)[1:] == facts_in(whole)[1:]


def test_each_search_has_an_optuna_study_and_keeps_the_weights_of_its_incumbents() -> None:
    study = searched(2, **FULL)
    second = Cell("full", "scratch", 1)
    assert optuna_study_name(study, second) == "small/full/scratch/2"
    state = replay(study, facts_of(study), ap_of)
    best = {(m.trial_id, x) for x, m in StudyView(study, state).cell(second).incumbents.items()}
    weights = {
        (t, x) for t, x in state.rungs if t in {m.trial_id for m in proposed(state, "scratch", 1)}
    }
    kept = weights - {
        (path.parent.parent.name, float(path.name.removesuffix("x.pt")))
        for path in Retention(study, Path(), lambda folder: _models(folder, weights)).files_to_drop(
            state, running=()
        )
    }
    assert kept == best


def _models(folder: Path, weights: set[tuple[str, float]]) -> list[Path]:
    if folder.name != "models":
        return []
    return [
        folder / f"{x:g}x.pt" for trial_id, x in sorted(weights) if trial_id == folder.parent.name
    ]


def test_a_log_from_before_there_were_several_searches_is_one_search() -> None:
    old = RoundProposed(regime="full", arm="scratch", number=0, purpose="search", members=())
    assert (old.search, old.searches, old.cell) == (0, 1, Cell("full", "scratch"))
