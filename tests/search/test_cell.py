"""One cell from its first round to its last replicate; copies; studies that grow."""

from collections.abc import Mapping

import pytest

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Outcome, RungDone
from rethink_ray.search.decide import Decider
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.resolve import Cell, TrialConfig, cells_of
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of
from tests.search.search_builders import LADDER, SEARCH, ap_of, facts_of, ran, small_study

CELL = Cell("full", "scratch")
ONE_CELL = {"regimes": {"full": {"images": "all"}}, "arms": {"scratch": {}}}


def drifting(config: TrialConfig, length: float) -> Mapping[str, float]:
    """The best rate falls with length: high rates win at 2x, low ones at 6x."""
    better_high = 1 if length < 3 else -1
    return {"val/ap": 20 + length + better_high * config.recipe.optimizer.lr}


def one_cell(**changes: object) -> Study:
    budget = {"trials": 4, "keep": [4, 4, 4], "replicates": 2}
    return small_study(**{**ONE_CELL, "budget": budget, **changes})  # type: ignore[arg-type]


def replicate_ladders(state: StudyState) -> dict[str | None, list[tuple[float, ...]]]:
    """Incumbent -> the lengths that each of its replicates ran."""
    ladders: dict[str | None, list[tuple[float, ...]]] = {}
    for _, m in state.members(CELL, "replicate"):
        done = state.lengths_done(m.trial_id, (2.0, 4.0, 6.0, 12.0))
        ladders.setdefault(m.of, []).append(done)
    return ladders


def test_each_distinct_incumbent_is_replicated_up_to_its_longest_length() -> None:
    study = one_cell()
    state = replay(study, facts_of(study), drifting)
    best = StudyView(study, state).cell(CELL).incumbents
    short, long = best[2.0].trial_id, best[6.0].trial_id
    assert short != long
    assert best[4.0].trial_id == long
    assert replicate_ladders(state) == {short: [(2.0,)] * 2, long: [(2.0, 4.0, 6.0)] * 2}


def test_a_replicate_is_its_incumbent_with_another_seed() -> None:
    study = one_cell()
    state = replay(study, facts_of(study), drifting)
    search = {m.trial_id: m for _, m in state.members(CELL, "search")}
    replicates = [m for _, m in state.members(CELL, "replicate")]
    for m in replicates:
        assert m.params == search[m.of or ""].params
    seeds = [m.seed for m in replicates] + [m.seed for m in search.values()]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_two_names_of_one_contender_have_seed_streams_of_their_own() -> None:
    study = one_cell(arms={"scratch": {}, "again": {}})
    state = replay(study, facts_of(study), drifting)
    first, second = (state.members(cell, "search") for cell in cells_of(study))
    assert [m.params for _, m in first] == [m.params for _, m in second]
    assert not {m.seed for _, m in first} & {m.seed for _, m in second}


def test_no_replicates_are_asked_for_where_the_budget_has_none() -> None:
    study = one_cell(budget={"trials": 4, "keep": [4, 2, 1], "replicates": 0})
    state = replay(study, facts_of(study), ap_of)
    assert Decider(study, facts_of(study)).next_jobs(state).done
    assert not state.members(CELL, "replicate")


def test_a_cell_with_nothing_to_tune_runs_its_one_configuration() -> None:
    study = one_cell(search={}, budget={"trials": 8, "keep": [8, 4, 2], "replicates": 2})
    state = replay(study, facts_of(study), ap_of)
    assert [len(ran(state, CELL, x)) for x in (2.0, 4.0, 6.0)] == [1, 1, 1]
    assert len(state.members(CELL, "replicate")) == 2


def test_a_cell_whose_every_trial_diverged_is_done_without_replicates() -> None:
    study = one_cell()
    state = replay(study, facts_of(study), lambda config, length: "diverged")
    assert len(state.ended) == 4
    assert not state.members(CELL, "replicate")


def test_a_searched_length_is_one_rung_per_trial_and_no_halving() -> None:
    search = SEARCH | {"schedule.length": {"choice": [2, 4, 6]}}
    study = one_cell(search=search, budget={"trials": 12, "keep": [6], "replicates": 1})
    state = replay(study, facts_of(study), drifting)
    members = [m for _, m in state.members(CELL, "search")]
    for m in members:
        assert state.lengths_done(m.trial_id, (2.0, 4.0, 6.0)) == (m.params["schedule.length"],)
    assert {m.params["schedule.length"] for m in members} == {2, 4, 6}
    by_length = StudyView(study, state).cell(CELL).incumbents
    assert sorted(by_length) == [2.0, 4.0, 6.0]
    assert sorted(replicate_ladders(state).values()) == [[(2.0,)], [(4.0,)], [(6.0,)]]


# --- He et al.'s protocol: tune one arm, copy its values -------------------------------------


def copying() -> Study:
    """``frozen`` fixes weight decay itself and has a path of its own; ``tuned`` is the source."""
    arms = {
        "copy": {
            "set": {"optimizer.weight_decay": 0.0002},
            "search": {"optimizer.momentum": {"uniform": [0.8, 0.95]}},
        },
        "tuned": {},
    }
    return one_cell(arms=arms, tuning={"copy_from": "tuned"})


def test_a_copied_cell_carries_the_incumbents_of_its_source() -> None:
    study = copying()
    state = replay(study, facts_of(study), drifting)
    source = StudyView(study, state).cell(Cell("full", "tuned")).incumbents
    copies = [m for _, m in state.members(Cell("full", "copy"), "search")]
    assert [m.of for m in copies] == [source[2.0].trial_id, source[6.0].trial_id]
    for m, length in zip(copies, (2.0, 6.0), strict=True):
        assert m.params["optimizer.lr"] == source[length].params["optimizer.lr"]
        assert m.params["optimizer.momentum"] == 0.9  # the base recipe's
        assert "optimizer.weight_decay" not in m.params
    carried = StudyView(study, state).cell(Cell("full", "copy")).incumbents
    assert [carried[x].trial_id for x in (2.0, 4.0, 6.0)] == [
        copies[0].trial_id,
        copies[1].trial_id,
        copies[1].trial_id,
    ]


def test_a_copied_cell_runs_what_it_carries_as_far_as_that_is_incumbent() -> None:
    study = copying()
    state = replay(study, facts_of(study), drifting)
    cell = Cell("full", "copy")
    short, long = (m.trial_id for _, m in state.members(cell, "search"))
    assert ran(state, cell, 2.0) == [short, long]
    assert ran(state, cell, 6.0) == [long]
    assert len(state.members(cell, "replicate")) == 4


def test_a_replicate_of_a_copied_configuration_is_done_when_it_has_come_as_far() -> None:
    study = copying()
    state = replay(study, facts_of(study), drifting)
    cell = Cell("full", "copy")
    whole = StudyView(study, state).cell(cell).statuses
    assert {f.state for f in whole} == {"done"}
    long = [f.member.trial_id for f in whole if f.purpose == "replicate" and f.longest == 6.0]
    assert long
    last = {(trial_id, 6.0) for trial_id in long}
    early = StudyState(
        e
        for e in events_of(state)
        if not (isinstance(e, RungDone) and (e.trial_id, e.length) in last)
    )
    states = {f.member.trial_id: f.state for f in StudyView(study, early).cell(cell).statuses}
    assert {states[trial_id] for trial_id in long} == {"waiting"}


def test_a_copied_cell_waits_until_its_source_has_chosen() -> None:
    study = copying()
    facts = facts_of(study)
    state = StudyState()
    SimulatedCluster(study, facts, drifting, slots=1, state=state).run(max_events=11)
    assert not state.members(Cell("full", "copy"), "search")  # 4 trials x 3 rungs take 12


def test_copied_values_that_cannot_run_get_no_replicates_and_leave_nothing_to_go() -> None:
    study = copying()

    def too_large(config: TrialConfig, length: float) -> Mapping[str, float] | Outcome:
        is_copy = config.recipe.optimizer.weight_decay == 0.0002
        return "infeasible" if is_copy else drifting(config, length)

    state = replay(study, facts_of(study), too_large)
    assert not state.members(Cell("full", "copy"), "replicate")
    assert progress_of(study, state).complete


# --- a study that grows ----------------------------------------------------------------------


def grown(study: Study, **budget: int) -> Study:
    return study.model_copy(update={"budget": study.budget.model_copy(update=budget)})


def test_more_trials_are_a_new_round_and_repeat_nothing() -> None:
    study = one_cell(budget={"trials": 4, "keep": [4, 2, 1], "replicates": 2})
    facts = facts_of(study)
    before = replay(study, facts, ap_of)
    larger = grown(study, trials=8)
    cluster = SimulatedCluster(larger, facts, ap_of, slots=2, state=StudyState(events_of(before)))
    assert cluster.run().done
    assert not {job.trial_id for job in cluster.started} & {t for t, _ in before.rungs}
    assert [len(ran(cluster.state, CELL, x)) for x in (2.0, 4.0, 6.0)] == [8, 4, 2]


def test_a_study_that_grew_has_the_trials_of_one_that_began_large() -> None:
    budget = {"trials": 16, "keep": [4, 2, 1], "replicates": 0}
    large = one_cell(budget=budget)
    facts = facts_of(large)
    at_once = replay(large, facts, ap_of)
    small = replay(grown(large, trials=8), facts, ap_of)
    continued = replay(large, facts, ap_of, events=events_of(small))
    assert continued.rounds == at_once.rounds
    assert continued.rungs == at_once.rungs


def test_more_replicates_continue_the_count_of_seeds() -> None:
    large = one_cell(budget={"trials": 4, "keep": [4, 2, 1], "replicates": 5})
    facts = facts_of(large)
    few = replay(grown(large, replicates=2), facts, ap_of)
    more = replay(large, facts, ap_of, events=events_of(few))
    at_once = replay(large, facts, ap_of)
    seeds = sorted(m.seed for _, m in more.members(CELL, "replicate"))
    assert seeds == sorted(m.seed for _, m in at_once.members(CELL, "replicate"))
    assert few.rungs.items() <= more.rungs.items()
    assert [len(r.members) for r in more.rounds[CELL, "replicate"].values()][:1] == [2]


def test_a_longer_ladder_goes_on_from_the_old_rungs() -> None:
    budget = {"trials": 8, "keep": [4, 2, 1], "audit": 1, "replicates": 1}
    study = one_cell(budget=budget)
    facts = facts_of(study)
    before = replay(study, facts, ap_of)
    longer = one_cell(
        budget={**budget, "keep": [4, 2, 1, 1]},
        schedule=LADDER | {"lengths": [2, 4, 6, 12]},
    )
    cluster = SimulatedCluster(longer, facts, ap_of, slots=2, state=StudyState(events_of(before)))
    assert cluster.run().done
    assert before.rungs.items() <= cluster.state.rungs.items()
    assert {job.lengths for job in cluster.started} <= {(12.0,), (2.0, 4.0, 6.0, 12.0)}
    assert len(ran(cluster.state, CELL, 12.0)) == 3  # one of each round, and the audit's


@pytest.mark.parametrize("replicates", [1, 3])
def test_an_incumbent_dethroned_by_more_trials_keeps_its_replicates(replicates: int) -> None:
    study = one_cell(budget={"trials": 2, "keep": [2, 1, 1], "replicates": replicates})
    facts = facts_of(study)

    def later_is_better(config: TrialConfig, length: float) -> Mapping[str, float]:
        base = config.recipe.optimizer.lr == 0.02
        return {"val/ap": 10.0 if base else 20.0 - config.recipe.optimizer.lr}

    before = replay(study, facts, lambda config, length: {"val/ap": -config.recipe.optimizer.lr})
    after = replay(grown(study, trials=8), facts, later_is_better, events=events_of(before))
    assert before.rungs.items() <= after.rungs.items()
    for member in StudyView(grown(study, trials=8), after).cell(CELL).incumbents.values():
        own = [m for _, m in after.members(CELL, "replicate") if m.of == member.trial_id]
        assert len(own) == replicates
