"""What runs next: equal budgets, any order of arrival, assets, faults, and a fresh start."""

import pickle
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, JobFailed, Resumed
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Job
from rethink_ray.search.simulate import SimulatedCluster, replay, rung_of
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.errors import RecordError
from rethink_ray.spec.resolve import Cell, cells_of
from rethink_ray.spec.study import Study
from tests.search.same_study import (
    assert_decided_the_same,
    assert_same_after_kills,
    assert_same_in_any_order,
    events_of,
)
from tests.search.search_builders import ap_of, diverging_above, facts_of, ran, small_study

FEW = {"trials": 6, "keep": [4, 2, 1], "replicates": 2, "audit": 1}


def few(**changes: object) -> Study:
    return small_study(budget=FEW, **changes)


def test_every_cell_gets_the_same_budget() -> None:
    study = small_study(budget={"trials": 16, "keep": [8, 4, 2], "replicates": 2})
    state = replay(study, facts_of(study), ap_of, slots=3)
    for cell in cells_of(study):
        assert [len(ran(state, cell, x)) for x in (2.0, 4.0, 6.0)] == [16, 8, 4]


def test_a_last_round_is_as_small_as_what_is_left() -> None:
    study = few()
    state = replay(study, facts_of(study), ap_of)
    rounds = state.rounds[Cell("few", "scratch"), "search"]
    assert [len(rounds[n].members) for n in sorted(rounds)] == [4, 2]
    assert len(ran(state, Cell("few", "scratch"), 2.0)) == 6


def test_proposals_are_recorded_before_their_jobs_appear() -> None:
    study = few()
    state, decider = StudyState(), Decider(study, facts_of(study))
    first = decider.next_jobs(state)
    assert len(first.rounds) == 4
    assert first.jobs == ()
    assert not first.incomplete
    state.add(first.rounds[0])
    second = decider.next_jobs(state)
    assert [j.cell for j in second.jobs] == ["full/scratch"] * 4
    assert len(second.rounds) == 3


def test_the_same_records_give_the_same_decision_object() -> None:
    study = few()
    state, decider = StudyState(), Decider(study, facts_of(study))
    assert decider.next_jobs(state) is decider.next_jobs(state)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(slots=st.integers(1, 9), order=st.integers(0, 2**20))
def test_any_order_of_arrival_gives_the_same_study(slots: int, order: int) -> None:
    assert_same_in_any_order(few(), diverging_above(0.08), slots, order)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_shuffled_and_repeated_records_decide_the_same(data: st.DataObject) -> None:
    study = few()
    facts = facts_of(study)
    cluster = SimulatedCluster(study, facts, diverging_above(0.08), slots=5)
    cluster.run(max_events=data.draw(st.integers(0, 60)))
    events = events_of(cluster.state)
    shuffled = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events)))
    assert_decided_the_same(study, events, shuffled, too_early=True)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(stops=st.lists(st.integers(0, 25), min_size=1, max_size=4))
def test_killed_and_continued_it_is_the_same_study(stops: list[int]) -> None:
    assert_same_after_kills(few(), diverging_above(0.08), stops)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(order=st.integers(0, 2**20), every=st.integers(3, 9))
def test_a_fresh_decider_agrees_at_every_step(order: int, every: int) -> None:
    study = few(arms={"scratch": {}, "twin": {}, "copy": {}}, tuning={"copy_from": "scratch"})
    facts = facts_of(study)
    remembering, state, number = Decider(study, facts), StudyState(), 0
    while not (decision := remembering.next_jobs(state)).done:
        number += 1
        if number % every == 0:
            assert Decider(study, facts).next_jobs(state) == decision
        for event in (*decision.rounds, *decision.ends):
            state.add(event)
        if decision.jobs:
            answer_one(state, decision.jobs[(order + number) % len(decision.jobs)])


def answer_one(state: StudyState, job: Job) -> None:
    trial_id, config = job.trial
    length = job.lengths[0]
    state.add(rung_of(trial_id, config, length, ap_of(config, length), 1))


def test_trials_wait_for_their_asset_which_is_built_once() -> None:
    study = few()
    state, decider = StudyState(), Decider(study, facts_of(study))
    for proposed in decider.next_jobs(state).rounds:
        state.add(proposed)
    decision = decider.next_jobs(state)
    assert [j.purpose for j in decision.jobs] == ["asset"] + ["search"] * 8
    assert {j.cell for j in decision.jobs[1:]} == {"full/scratch", "few/scratch"}
    asset = decision.jobs[0].asset
    assert asset is not None
    assert decision.jobs[0].cell == "full/pretrained"
    state.add(AssetDone(key=asset.key, kind="classifier", metrics={}, seconds=1.0))
    assert Counter(j.purpose for j in decider.next_jobs(state).jobs) == {"search": 16}


def test_every_norm_the_search_reaches_gets_its_asset() -> None:
    study = few(search={"detector.norm": {"choice": ["gn", "bn"]}})
    facts = facts_of(study)
    cluster = SimulatedCluster(study, facts, ap_of, slots=2)
    cluster.run()
    assets = [job.asset for job in cluster.started if job.asset is not None]
    assert sorted(asset.detector.norm for asset in assets) == ["bn", "gn"]


def refuse(spec: AssetSpec) -> AssetDone:
    metrics = {"accuracy": 0.06, "chance": 0.05}
    return AssetDone(
        key=spec.key, kind=spec.kind, metrics=metrics, seconds=1.0, refused="accuracy 0.06"
    )


def test_a_refused_asset_ends_its_trials_and_nothing_else() -> None:
    study = few()
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=2)
    cluster.build_asset = refuse
    decision = cluster.run()
    assert decision.done
    outcomes = Counter(end.outcome for end in cluster.state.ended.values())
    assert outcomes == {"refused": 12}  # six trials of pretrained in each of two regimes
    assert "accuracy 0.06" in next(iter(cluster.state.ended.values())).reason
    assert not cluster.state.members(Cell("full", "pretrained"), "replicate")
    assert len(cluster.state.members(Cell("full", "scratch"), "replicate")) >= 2


def test_a_job_failed_too_often_blocks_its_round_and_no_other_cell() -> None:
    study = few(resources={"retries": 1})
    facts = facts_of(study)
    state, decider = StudyState(), Decider(study, facts)
    for proposed in decider.next_jobs(state).rounds:
        state.add(proposed)
    bad = decider.next_jobs(state).jobs[1].job_id
    state.add(JobFailed(job_id=bad, reason="killed"))
    assert bad in [j.job_id for j in decider.next_jobs(state).jobs]
    state.add(JobFailed(job_id=bad, reason="killed"))
    cluster = SimulatedCluster(study, facts, ap_of, slots=3, state=state)
    decision = cluster.run()
    assert decision.incomplete
    assert decision.blocked == (bad,)
    assert not decision.done
    assert len(ran(state, Cell("few", "pretrained"), 2.0)) == 6
    assert not ran(state, Cell("full", "scratch"), 4.0)
    state.add(Resumed(trials=6, replicates=2, lengths=(2.0, 4.0, 6.0)))
    assert SimulatedCluster(study, facts, ap_of, slots=3, state=state).run().done


def test_a_trial_of_two_cells_is_run_once() -> None:
    study = few(arms={"scratch": {}})
    same_images = replace(facts_of(study), regime_digests={"full": "same", "few": "same"})
    state, decider = StudyState(), Decider(study, same_images)
    proposed = decider.next_jobs(state).rounds[0]
    for event in (proposed, replace(proposed, regime="few")):
        state.add(event)
    jobs = decider.next_jobs(state).jobs
    assert len(jobs) == 4
    assert {j.cell for j in jobs} == {"full/scratch"}


def test_records_of_another_configuration_are_refused() -> None:
    study = few()
    facts = facts_of(study)
    state = StudyState()
    for proposed in Decider(study, facts).next_jobs(state).rounds:
        state.add(proposed)
    other = replace(facts, fingerprint="another data set")
    with pytest.raises(RecordError, match="must have the id of its configuration"):
        Decider(study, other).next_jobs(state)


def test_a_job_crosses_process_borders() -> None:
    study = few()
    state, decider = StudyState(), Decider(study, facts_of(study))
    for proposed in decider.next_jobs(state).rounds:
        state.add(proposed)
    for job in decider.next_jobs(state).jobs:
        assert pickle.loads(pickle.dumps(job)) == job


def test_search_sees_the_selection_split_only() -> None:
    study = few()
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=2)
    cluster.run()
    splits = {(job.purpose, job.splits) for job in cluster.started}
    assert splits == {("asset", ()), ("search", ("val",)), ("replicate", ("val", "test"))}


def test_halving_steps_are_one_rung_and_audits_and_replicates_whole_ladders() -> None:
    study = few()
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=2)
    cluster.run()
    lengths = {(job.purpose, job.lengths) for job in cluster.started if job.asset is None}
    assert {("search", (2.0,)), ("search", (4.0,)), ("search", (6.0,))} <= lengths
    assert lengths & {("search", (4.0, 6.0)), ("search", (6.0,))}
    assert ("replicate", (2.0, 4.0, 6.0)) in lengths


def test_a_decider_that_only_counts_names_the_same_jobs_and_no_rounds() -> None:
    study = few()
    facts = facts_of(study)
    fresh = Decider(study, facts, propose=False).next_jobs(StudyState())
    assert (fresh.rounds, fresh.jobs, fresh.done) == ((), (), False)
    assert fresh.unproposed == 16  # the first rounds of four cells
    state = StudyState()
    SimulatedCluster(study, facts, ap_of, slots=2, state=state).run(max_events=30)
    counted, decided = (Decider(study, facts, propose=p).next_jobs(state) for p in (False, True))
    assert counted.jobs == decided.jobs
    proposed = [r for r in decided.rounds if r.purpose == "search"]
    assert counted.unproposed == sum(len(r.members) for r in proposed)
    assert counted.done == decided.done


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e9, 1e9), min_size=200, max_size=200))
def test_no_clock_is_read_by_a_decision(times: list[float]) -> None:
    study = few()
    facts = facts_of(study)
    cluster = SimulatedCluster(study, facts, diverging_above(0.08), slots=3)
    cluster.run(max_events=25)
    events = events_of(cluster.state)
    stamped = [replace(event, at=at) for event, at in zip(events, times, strict=False)]
    decision = Decider(study, facts).next_jobs(StudyState(stamped))
    assert decision == Decider(study, facts).next_jobs(StudyState(events))
