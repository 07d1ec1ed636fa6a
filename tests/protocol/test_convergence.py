"""A round climbs its ladder as long as its best gains enough; whatever the order of arrival."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.convergence import Convergence
from rethink_ray.protocol.extension import extend, fingerprint_of
from rethink_ray.protocol.halving import HalvingState, Ladder, ladder_of, replay_halving
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.retention import needed_by
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Outcome, TrialEnded
from rethink_ray.search.costs import ladder_steps
from rethink_ray.search.observations import as_observation, distribution_of
from rethink_ray.search.optuna_journal import optuna_study_name, write_optuna_journal
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.resolve import Cell, TrialConfig, base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study
from tests.search.same_study import assert_decided_the_same, events_of, facts_in
from tests.search.search_builders import LADDER, ap_of, facts_of, member, ran, rung, small_study

RULE = Ladder(lengths=(2.0, 4.0, 6.0, 8.0), keep=(3, 2, 2, 1), metric="val/ap", converged=0.5)
ROUND = tuple(member(t) for t in ("a", "b", "c"))
LENGTHS = {**LADDER, "lengths": [2, 4, 6, 8], "converged": 0.5}
CELL = Cell("full", "scratch")


def climbing(**changes: Any) -> Study:
    budget = {"trials": 6, "keep": [4, 2, 2, 1], "replicates": 2, "audit": 1}
    return small_study(**{"schedule": LENGTHS, "budget": budget, **changes})


def halving_of(scores: Mapping[str, list[float]], rule: Ladder = RULE) -> HalvingState:
    """Of a round with these scores at 2x, 4x, ...; ids ranked by hand."""
    state = StudyState(
        rung(t, length, ap)
        for t, values in scores.items()
        for length, ap in zip(rule.lengths, values, strict=False)
    )
    return replay_halving(state, rule, ROUND)


def steps(found: HalvingState) -> list[list[str]]:
    return [[m.trial_id for m in step] for step in found.steps]


def test_a_round_goes_on_while_its_best_gains_half_a_point() -> None:
    found = halving_of({"a": [10, 11, 11.5], "b": [9, 10, 10.4], "c": [8]})
    assert steps(found) == [["a", "b", "c"], ["a", "b"], ["a", "b"], ["a"]]
    assert not found.is_decided
    assert not found.converged


def test_a_gain_below_half_a_point_ends_it_where_it_was_measured() -> None:
    found = halving_of({"a": [10, 11, 11.4], "b": [9, 10, 10.9], "c": [8]})
    assert steps(found) == [["a", "b", "c"], ["a", "b"], ["a", "b"]]
    assert found.is_decided
    assert found.converged
    assert found.lengths(RULE) == (2.0, 4.0, 6.0)


def test_the_best_of_the_round_counts_whoever_that_is() -> None:
    """``a`` stands still, but ``b`` overtakes it and the round has gained."""
    found = halving_of({"a": [10, 10, 10], "b": [9, 10.6, 10.7], "c": [8]})
    assert len(found.steps) == 3
    assert found.converged  # 10.7 after 10.6


def test_nobody_is_judged_before_everybody_has_finished() -> None:
    found = halving_of({"a": [10, 10.1], "b": [9], "c": [8]})
    assert [m.trial_id for m in found.waiting] == ["b"]
    assert not found.converged


def test_two_lengths_are_always_run_and_none_ends_without_the_rule() -> None:
    flat = {t: [10.0] * 4 for t in ("a", "b", "c")}
    assert steps(halving_of(flat)) == [["a", "b", "c"], ["a", "b"]]
    free = Ladder(lengths=RULE.lengths, keep=RULE.keep, metric=RULE.metric)
    assert len(halving_of(flat, free).steps) == 4
    assert not halving_of(flat, free).converged


def test_a_gain_of_exactly_the_asked_points_goes_on() -> None:
    rule = Ladder(lengths=(2.0, 4.0, 6.0), keep=(3, 1, 1), metric=RULE.metric, converged=0.3)
    assert 2.3 - 2.0 < 0.3  # in floating point
    assert len(halving_of({"a": [2.0, 2.3], "b": [1], "c": [1]}, rule).steps) == 3


def test_the_last_length_of_all_is_judged_too() -> None:
    still = halving_of({"a": [1, 2, 3, 4], "b": [0, 1, 2], "c": [0]})
    over = halving_of({"a": [1, 2, 3, 3.1], "b": [0, 1, 2], "c": [0]})
    assert (still.is_decided, still.converged) == (True, False)
    assert (over.is_decided, over.converged) == (True, True)


def test_failures_and_scores_that_are_no_numbers_are_no_convergence() -> None:
    state = StudyState([*(rung(t, 2.0, 10) for t in "abc"), rung("a", 4.0, math.nan)])
    state.add(TrialEnded(trial_id="b", outcome="diverged", reason=""))
    found = replay_halving(state, RULE, ROUND)
    assert found.is_decided
    assert not found.converged


def saturating(config: TrialConfig, length: float) -> Mapping[str, float] | Outcome:
    """Pre-trained detectors stand still from 4x on, others gain a point from length to length."""
    if config.recipe.optimizer.lr > 0.08:
        return "diverged"
    known = min(length, 4.0) if config.recipe.init.source == "upstream" else length
    return ap_of(config, known)


def run(study: Study, answer: Any = saturating) -> StudyState:
    cluster = SimulatedCluster(study, facts_of(study), answer, slots=3)
    assert cluster.run().done
    return cluster.state


def test_each_cell_ends_where_it_stops_gaining_and_replicates_go_no_further() -> None:
    study = climbing()
    state = run(study)
    ends = {cell.arm: StudyView(study, state).cell(cell).convergence for cell in cells_of(study)}
    assert ends == {
        "scratch": Convergence(length=8.0, improving=True),
        "pretrained": Convergence(length=6.0, improving=False),
    }
    assert ends["pretrained"] is not None
    assert ends["pretrained"].words == "converged at 6x"
    assert ends["scratch"] is not None
    assert ends["scratch"].words == "still improving at 8x"
    for cell in cells_of(study):
        end = 8.0 if cell.arm == "scratch" else 6.0
        assert max(StudyView(study, state).cell(cell).incumbents) == end
        for purpose in ("search", "replicate"):
            trials = {m.trial_id for _, m in state.members(cell, purpose)}  # type: ignore[arg-type]
            assert max(length for t, length in state.rungs if t in trials) == end


def test_a_converged_trial_is_done_its_losers_are_stopped_and_audits_end_with_the_round() -> None:
    study = climbing()
    state = run(study)
    search = [
        f
        for f in StudyView(study, state).cell(Cell("full", "pretrained")).statuses
        if f.purpose == "search"
    ]
    assert {f.converged for f in search} == {6.0}
    done = [f for f in search if f.state == "done"]
    assert {f.longest for f in done} == {6.0}
    assert any(f.audit for f in done)
    assert all((f.longest or 0.0) < 6.0 for f in search if f.state == "stopped")
    assert not any(f.state == "waiting" for f in StudyView(study, state).cell(CELL).statuses)
    progress = progress_of(study, state)
    assert progress.complete
    words = {c.cell.name: c.convergence.words for c in progress.cells if c.convergence}
    assert words["few/pretrained"] == "converged at 6x"
    assert words["few/scratch"] == "still improving at 8x"
    table = build_tables(study, state, facts_of(study)).trials
    rows = zip(*(table.column(n).to_pylist() for n in ("arm", "purpose", "converged")), strict=True)
    assert {c for arm, purpose, c in rows if (arm, purpose) == ("pretrained", "search")} == {6.0}


def test_without_the_rule_the_same_study_runs_the_same_trials_to_the_end() -> None:
    ruled, free = climbing(), climbing(schedule={**LADDER, "lengths": [2, 4, 6, 8]})
    with_rule, without = run(ruled), run(free)
    for cell in cells_of(ruled):
        first = with_rule.rounds[cell, "search"][0]
        assert first == without.rounds[cell, "search"][0]
        assert len(ran(without, cell, 8.0)) == 2 + 1  # the best of either round, and an audit
    assert fingerprint_of(ruled) != fingerprint_of(free)


def test_a_longer_ladder_takes_on_only_what_was_still_improving() -> None:
    study = climbing()
    state = run(study)
    longer = extend(study, lengths=(10.0,))
    kept = {cell: needed_by(StudyView(study, state).cell(cell)).trunks for cell in cells_of(study)}
    assert all(bool(kept[cell]) == (cell.arm == "scratch") for cell in kept)
    cluster = SimulatedCluster(longer, facts_of(longer), saturating, slots=3, state=state)
    cluster.run()
    assert {job.cell.rpartition("/")[2] for job in cluster.started} == {"scratch"}
    on_its_own = {job.trial_id for job in cluster.started if job.purpose == "search"}
    assert on_its_own <= set().union(*kept.values())
    assert max(StudyView(longer, state).cell(CELL).incumbents) == 10.0
    assert max(StudyView(longer, state).cell(Cell("full", "pretrained")).incumbents) == 6.0


def test_copied_arms_run_as_far_as_the_arm_they_copy() -> None:
    def answer(config: TrialConfig, length: float) -> Mapping[str, float]:
        return ap_of(config, min(length, 4.0) if config.arm == "scratch" else length)

    study = climbing(arms={"scratch": {}, "copy": {}}, tuning={"copy_from": "scratch"})
    state = run(study, answer)
    assert StudyView(study, state).cell(CELL).convergence == Convergence(
        length=6.0, improving=False
    )
    assert StudyView(study, state).cell(Cell("full", "copy")).convergence is None
    assert max(StudyView(study, state).cell(Cell("full", "copy")).incumbents) == 6.0


def test_optuna_is_told_that_a_converged_trial_is_complete(tmp_path: Path) -> None:
    study = climbing()
    state = run(study)
    cell = Cell("full", "pretrained")
    ladder = ladder_of(study, cell)
    distributions = {path: distribution_of(p) for path, p in space_of(study, cell).items()}
    first = state.rounds[cell, "search"][0].members
    halving = replay_halving(state, ladder, first)
    trials = [as_observation(state, ladder, halving, m, distributions) for m in first]
    finalists = {m.trial_id for m in halving.steps[-1]}
    assert len(finalists) == 2
    for trial, proposed in zip(trials, first, strict=True):
        complete = trial.state == TrialState.COMPLETE
        assert complete == (proposed.trial_id in finalists)
        if complete:
            assert trial.value == state.metric(proposed.trial_id, 6.0, "val/ap")
    path = tmp_path / "optuna.journal"
    write_optuna_journal(path, study, state)
    storage = JournalStorage(JournalFileBackend(str(path)))
    shown = optuna.load_study(study_name=optuna_study_name(study, cell), storage=storage).trials
    assert not any(t.state in (TrialState.RUNNING, TrialState.WAITING) for t in shown)
    states = {t.user_attrs["trial_id"]: t.state for t in shown}
    assert {states[t] for t in finalists} == {TrialState.COMPLETE}


def test_a_plan_tells_the_least_and_the_most() -> None:
    # 1x is 100 updates and the rate drops 40 before the end: 2x, 4x, 6x, 8x cost 200, 440, 680, 920
    study = climbing(
        regimes={"full": {"images": "all"}},
        arms={"scratch": {}},
        budget={"trials": 4, "keep": [4, 2, 2, 1], "replicates": 2},
    )
    schedule = base_recipe(study, CELL).schedule
    assert [ladder_steps(schedule, schedule.lengths[: i + 1]) for i in range(4)] == [
        200,
        440,
        680,
        920,
    ]
    (cell,) = plan_study(study, facts_of(study)).cells
    assert cell.steps_range[0] == 4 * 200 + 2 * 240 + 2 * 440
    assert cell.steps_range[1] == 4 * 200 + 2 * 480 + 240 + 2 * (200 + 440 + 680 + 920)
    assert cell.steps_range[0] < cell.steps <= cell.steps_range[1]


def test_a_plan_of_students_knows_that_their_teachers_may_end_early_too() -> None:
    arms = {
        "scratch": {},
        "student": {"teacher": "scratch", "set": {"labels.kind": "self_training"}},
    }
    study = climbing(regimes={"full": {"images": "all"}}, arms=arms)
    state = run(study, lambda config, length: ap_of(config, min(length, 4.0)))
    students = state.members(Cell("full", "student"), "search")
    assert {m.teacher_length for _, m in students} == {6.0}
    for cell in plan_study(study, facts_of(study)).cells:
        assert cell.steps_range[0] < cell.steps <= cell.steps_range[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {**LENGTHS, "lengths": [2, 4]}, "budget": {"trials": 4}}, "three lengths"),
        (
            {"budget": {"trials": 4, "searches": 2}},
            "must be left out where a cell is searched several times",
        ),
        (
            {
                "search": {"schedule.length": {"choice": [2, 4, 6]}},
                "budget": {"trials": 4},
                "schedule": {**LENGTHS, "lengths": [6]},
            },
            "must be left out where schedule.length is searched",
        ),
    ],
)
def test_a_rule_that_can_never_end_a_ladder_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=rf"small.yaml: schedule.converged: .*{message}"):
        climbing(**changes)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(slots=st.integers(1, 9), order=st.integers(0, 2**20), stop=st.integers(0, 60))
def test_order_and_kills_change_nothing(slots: int, order: int, stop: int) -> None:
    study = climbing()
    facts = facts_of(study)
    once = replay(study, facts, saturating)
    begun = SimulatedCluster(study, facts, saturating, slots=slots)
    begun.run(max_events=stop)
    again = replay(
        study, facts, saturating, slots=slots, order_seed=order, events=events_of(begun.state)
    )
    assert facts_in(again) == facts_in(once)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_shuffled_and_repeated_records_decide_the_same(data: st.DataObject) -> None:
    study = climbing()
    cluster = SimulatedCluster(study, facts_of(study), saturating, slots=5)
    cluster.run(max_events=data.draw(st.integers(0, 80)))
    events = events_of(cluster.state)
    shuffled = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events)))
    assert_decided_the_same(study, events, shuffled, too_early=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    scores=st.lists(st.lists(st.floats(0, 100), min_size=4, max_size=4), min_size=3, max_size=3),
    rule=st.floats(0.1, 20),
)
def test_a_round_ends_at_the_first_gain_that_is_too_small(
    scores: list[list[float]], rule: float
) -> None:
    """Against a plain reading of the rule: bests of who ran, length by length."""
    ladder = replace(RULE, keep=(3, 3, 3, 3), converged=rule)
    found = halving_of(dict(zip("abc", scores, strict=True)), ladder)
    bests = [max(s[i] for s in scores) for i in range(4)]
    ends = [i for i in range(1, 4) if round(bests[i] - bests[i - 1], 9) < rule]
    assert len(found.steps) == (ends[0] + 1 if ends else 4)
    assert found.converged == bool(ends)
    assert found.is_decided
