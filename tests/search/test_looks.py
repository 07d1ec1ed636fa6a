"""A study that ends once it has decided: looks in lockstep, whatever the slots and kills.

Planted here: ``pretrained`` is 8 points above ``scratch``, ``frozen`` half a point, noise is 0.3.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink_ray.commands.hours import missing_lines
from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.protocol.growth import require_same_comparisons
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import JobFailed, LookTaken, Outcome
from rethink_ray.search.decide import Decider
from rethink_ray.search.hours import estimate_hours
from rethink_ray.search.paces import Pace
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.search.time_limit import JobGate, TimeLimit
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.resolve import Cell, TrialConfig
from rethink_ray.spec.study import Study
from tests.search.same_study import events_of, facts_in
from tests.search.search_builders import BASE, facts_of, small_study

ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init.source": "upstream", "init.frozen": "stem"}},
}
ONE_LENGTH: dict[str, Any] = {
    "unit": 100,
    "lengths": [2],
    "warmup": 20,
    "decay": {"before_end": [0.4, 0.13]},
}
UNTIL_DECIDED: dict[str, Any] = {"from": 3, "to": 9, "until": "decided"}


def sequential(budget: Mapping[str, Any] | None = None, **changes: Any) -> Study:
    """One regime x three arms, one length, two trials a cell, 3 to 9 replicates."""
    given: dict[str, Any] = {
        "regimes": {"full": {"images": "all"}},
        "arms": ARMS,
        "schedule": ONE_LENGTH,
        "budget": {"trials": 2, "keep": [2], "replicates": UNTIL_DECIDED} | dict(budget or {}),
    }
    return small_study(**(given | changes))


def arm_of(config: TrialConfig) -> str:
    init = config.recipe.init
    return "scratch" if init.source == "random" else init.frozen.replace("none", "pretrained")


def scores(config: TrialConfig, length: float, *, noise: float = 0.3) -> dict[str, float]:
    """Pretrained is 8 points above scratch, and ``stem`` (frozen) half a point; sd ``noise``."""
    lead = {"scratch": 0.0, "pretrained": 8.0, "stem": 0.5}[arm_of(config)]
    ap = 20.0 + lead + noise * luck(config)
    return {"val/ap": ap, "test/ap": ap}


def luck(config: TrialConfig) -> float:
    """The sum of twelve uniform draws of a seed, less six: sd 1."""
    return sum(seed_of(config.seed, n) / 2**31 for n in range(12)) - 6.0


def looks_of(state: StudyState) -> list[tuple[int, tuple[str, ...]]]:
    return [(look.replicates, look.running) for look in state.looks_taken]


def num_replicates(state: StudyState) -> dict[str, int]:
    return {
        cell.name: sum(len(r.members) for r in rounds.values())
        for (cell, purpose), rounds in sorted(state.rounds.items())
        if purpose == "replicate"
    }


def decided(state: StudyState) -> list[str]:
    return [f"{c.verdict} at {c.stopped_at}" for c in state.looks_taken[-1].comparisons]


@pytest.fixture(scope="module")
def whole() -> StudyState:
    study = sequential()
    return replay(study, facts_of(study), scores)


def test_an_arm_stops_once_its_comparison_is_decided_and_the_reference_runs_on(
    whole: StudyState,
) -> None:
    both = ("full/scratch", "full/frozen")
    assert looks_of(whole) == [(3, both), (5, both), (7, ())]
    assert decided(whole) == ["supported at 3", "supported at 7"]
    assert num_replicates(whole) == {"full/frozen": 7, "full/pretrained": 3, "full/scratch": 7}


def test_the_replicates_that_run_are_the_first_ones_of_a_study_with_a_plain_number(
    whole: StudyState,
) -> None:
    plain = sequential({"replicates": 9})
    fixed = replay(plain, facts_of(plain), scores)
    for (cell, purpose), rounds in whole.rounds.items():
        ours = [m for number in sorted(rounds) for m in rounds[number].members]
        assert ours == [m for _, m in fixed.members(cell, purpose)][: len(ours)]
    assert not fixed.looks


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    slots=st.integers(2, 12),
    order=st.integers(0, 2**20),
    stops=st.lists(st.integers(1, 12), max_size=3),
)
def test_slots_order_and_kills_change_no_look_and_no_table(
    whole: StudyState, slots: int, order: int, stops: list[int]
) -> None:
    study, state = sequential(), StudyState()
    for max_events in stops:  # what ran is lost, and a fresh decider goes on
        SimulatedCluster(study, facts_of(study), scores, slots=slots, state=state).run(max_events)
    again = replay(
        study, facts_of(study), scores, slots=slots, order_seed=order, events=events_of(state)
    )
    assert facts_in(again) == facts_in(whole)
    tables = [build_tables(study, s, facts_of(study)) for s in (again, whole)]
    assert tables[0].trials == tables[1].trials
    assert tables[0].rungs == tables[1].rungs
    assert tables[0].looks == tables[1].looks


def test_a_look_is_recorded_before_any_further_replicate_is_proposed() -> None:
    study, seen = sequential(), list[str]()
    cluster = SimulatedCluster(study, facts_of(study), scores, slots=5)
    cluster.watch = lambda event: seen.append(type(event).__name__)
    cluster.run()
    at = [i for i, name in enumerate(seen) if name == "LookTaken"]
    assert [seen[i - 1] for i in at] == ["RungDone"] * 3
    assert [seen[i + 1] for i in at[:-1]] == ["RoundProposed"] * 2


def test_a_look_that_is_due_after_a_kill_is_taken_as_it_would_have_been(whole: StudyState) -> None:
    study = sequential()
    without = [e for e in events_of(whole) if e != whole.looks_taken[-1]]
    decision = Decider(study, facts_of(study)).next_jobs(StudyState(without))
    assert decision.events == (whole.looks_taken[-1],)
    assert (decision.jobs, decision.done) == ((), False)
    assert not progress_of(study, StudyState(without)).complete


def test_a_replicate_that_waits_for_a_machine_holds_the_look() -> None:
    study, state = sequential(), StudyState()
    cluster = SimulatedCluster(study, facts_of(study), scores, slots=1, state=state)
    while not any(job.purpose == "replicate" for job in cluster.started):
        cluster.run(1)
    lost = cluster.started[-1].job_id
    for _ in range(study.resources.retries + 1):
        state.add(JobFailed(job_id=lost, reason="killed"))
    decision = SimulatedCluster(study, facts_of(study), scores, slots=4, state=state).run()
    assert decision.blocked == (lost,)
    assert not state.looks


def test_a_replicate_that_diverges_is_the_worst_score_and_holds_nothing() -> None:
    study = sequential()
    first = replay(study, facts_of(study), scores).members(Cell("full", "frozen"), "replicate")[0]

    def one_diverges(config: TrialConfig, length: float) -> Mapping[str, float] | Outcome:
        return "diverged" if config.seed == first[1].seed else scores(config, length)

    state = replay(study, facts_of(study), one_diverges)
    verdicts = [look.comparisons[1].verdict for look in state.looks_taken]
    assert verdicts[0] == "open"
    assert set(verdicts) <= {"open", "futile"}  # 0 AP among 20.5 is a scatter of 9 points
    assert decided(state)[0] == "supported at 3"


def test_searches_are_added_until_their_means_decide() -> None:
    study = sequential({"replicates": 1, "searches": UNTIL_DECIDED | {"to": 5}})
    state = replay(study, facts_of(study), scores, slots=4)
    again = replay(study, facts_of(study), scores, slots=2, order_seed=5)
    assert facts_in(again) == facts_in(state)
    assert [look.replicates for look in state.looks_taken] == [3, 5]
    begun = {cell.name for cell, purpose in state.rounds if purpose == "search"}
    assert "full/pretrained/3" in begun
    assert "full/pretrained/4" not in begun  # decided at 3
    assert {"full/scratch/5", "full/frozen/5"} <= begun
    progress = progress_of(study, state)
    assert progress.complete
    assert len(progress.cells) == 3 + 5 + 5


def test_a_search_that_another_arm_copies_goes_on_without_replicates_of_its_own() -> None:
    study = sequential(
        {"replicates": 1, "searches": UNTIL_DECIDED | {"to": 5}},
        tuning={"copy_from": "pretrained"},
    )
    state = replay(study, facts_of(study), scores)
    fifth = Cell("full", "pretrained", 4)
    assert "full/pretrained" not in state.looks_taken[0].running
    assert state.members(fifth, "search")
    assert not state.members(fifth, "replicate")
    assert progress_of(study, state).complete


def test_replicates_that_a_look_asks_for_have_draws_and_assets_of_their_own() -> None:
    study = sequential(
        regimes={"few": {"images": 60}},
        settings=BASE | {"direct.passes": 10},
        arms={
            "scratch": {},
            "direct": {"set": {"init.source": "direct", "direct.norm": "gn", "direct.warmup": 5}},
            "student": {"set": {"labels.kind": "self_training"}, "teacher": "scratch"},
        },
        replicate={"vary": ["seed", "subset"]},
    )
    facts = replace(facts_of(study), train_digest="t")

    def lead(config: TrialConfig, length: float) -> dict[str, float]:
        ahead = {"direct": 8.0, "self_training": 0.5}
        learned = config.recipe.labels.kind
        ap = (
            20.0
            + ahead.get(config.recipe.init.source, ahead.get(learned, 0.0))
            + 0.3 * luck(config)
        )
        return {"val/ap": ap, "test/ap": ap}

    state, again = (replay(study, facts, lead, slots=n, order_seed=n) for n in (1, 7))
    assert facts_in(again) == facts_in(state)
    num = {cell.removeprefix("few/"): number for cell, number in num_replicates(state).items()}
    assert num["direct"] == 3 < num["student"] == num["scratch"]
    for arm, number in num.items():
        members = [m for _, m in state.members(Cell("few", arm), "replicate")]
        assert [m.draw for m in members] == [*range(1, number + 1)]
        assert len({m.assets for m in members}) == (1 if arm == "scratch" else number)


@pytest.mark.parametrize(("reserve", "looks"), [(0.01, [3, 5, 12]), (0.0, [3, 5])])
def test_replicates_beyond_the_last_look_spend_the_reserve_once_or_decide_nothing(
    reserve: float, looks: list[int]
) -> None:
    study = sequential({"replicates": UNTIL_DECIDED | {"to": 5, "reserve": reserve}})
    noisy = partial(scores, noise=1.0)
    state = replay(study, facts_of(study), noisy)
    assert looks_of(state)[-1] == (5, ("full/scratch", "full/frozen"))
    for num in (12, 14):
        longer = extend(study, replicates=num)
        require_same_comparisons(study, longer, state.looks_taken)
        assert fingerprint_of(longer) == fingerprint_of(study)
        state = replay(longer, facts_of(study), noisy, events=events_of(state))
        assert [look.replicates for look in state.looks_taken] == looks
        replicates = num_replicates(state)
        assert replicates == {"full/frozen": num, "full/pretrained": 3, "full/scratch": num}
        assert progress_of(longer, state).complete
        study = longer


@pytest.mark.parametrize(
    ("larger", "more"),
    [
        (sequential({"trials": 4}), "trials"),
        (sequential({"keep": [2, 1]}, schedule=ONE_LENGTH | {"lengths": [2, 4]}), "lengths"),
        (sequential(arms=ARMS | {"other": {"set": {"init.zero_init_residual": True}}}), "arms"),
    ],
)
def test_after_a_look_nothing_else_grows(whole: StudyState, larger: Study, more: str) -> None:
    study = sequential()
    require_same_comparisons(study, larger, ())
    with pytest.raises(SpecError, match=f"study: must keep its trials, .* but got more {more}"):
        require_same_comparisons(study, larger, whole.looks_taken)


def test_replicates_beyond_the_last_look_need_a_comparison_that_is_open(whole: StudyState) -> None:
    study = sequential()
    with pytest.raises(SpecError, match="resume --replicates: must have a comparison .* got 12"):
        require_same_comparisons(study, extend(study, replicates=12), whole.looks_taken)


def test_the_looks_of_a_started_study_are_fixed() -> None:
    other = sequential({"replicates": UNTIL_DECIDED | {"to": 7}})
    plain = sequential({"replicates": 3})
    for changed in (other, plain):
        with pytest.raises(SpecError, match="must be the study that this directory was started"):
            merge(sequential(), changed)
    assert merge(sequential(), sequential()) == sequential()


def test_a_plan_prints_the_range_of_the_looks_and_hours_lie_between() -> None:
    study = sequential()
    plan = plan_study(study, facts_of(study))
    assert [cell.replicates_range for cell in plan.cells] == [(3, 9)] * 3
    assert plan.steps_range == (3 * (2 + 3) * 200, 3 * (2 + 9) * 200)  # 200 updates a trial
    pace = {"": Pace(seconds_per_update=1.0, seconds_per_scored_image=0.0, seconds_to_start=0.0)}
    three, nine = (sequential({"replicates": num}) for num in (3, 9))
    low, high = (estimate_hours(plain, facts_of(study), pace).expected for plain in (three, nine))
    hours = estimate_hours(study, facts_of(study), pace)
    assert math.isclose(hours.expected, (low + high) / 2, rel_tol=0.01)
    assert hours.low < low < hours.expected < high < hours.high


def test_progress_says_what_is_to_go_at_least_and_at_most() -> None:
    study, state = sequential(), StudyState()
    cluster = SimulatedCluster(study, facts_of(study), scores, slots=1, state=state)
    while len(state.looks) < 1:
        cluster.run(1)
    progress = progress_of(study, state)
    assert (progress.replicates_to_go, progress.most_replicates_to_go) == (4, 12)
    pace = {"": Pace(seconds_per_update=1.0, seconds_per_scored_image=0.0, seconds_to_start=0.0)}
    left = estimate_hours(study, facts_of(study), pace, state=state)
    # 4 to 12 replicates of 200 s; eight of them on average, with 15 s to start
    assert left.low < 4 * 200 / 3600 < left.expected < 12 * 200 / 3600 < left.high
    assert math.isclose(left.expected * 3600, 8 * 200 + 15, rel_tol=0.02)
    assert progress.looks == (
        "on full, pretrained ends above scratch: stopped at 3 of 9 replicates: decided (supported)",
        "on full, frozen ends above scratch: after 3 of 9 replicates, 4 more would decide with "
        "80 %",
        "the next look comes at 5 replicates of full/scratch, full/frozen",
    )


def test_events_of_a_look_do_not_depend_on_when_they_were_recorded(whole: StudyState) -> None:
    study = sequential()
    late = [replace(look, at=7.0) for look in whole.looks_taken]
    state = StudyState([e for e in events_of(whole) if e not in whole.looks_taken] + late)
    assert Decider(study, facts_of(study)).next_jobs(state).done


@pytest.mark.parametrize(("after_first_look", "num_looks"), [(-250.0, 0), (300.0, 1)])
def test_hours_that_end_before_a_look_leave_it_to_the_next_run(
    whole: StudyState, after_first_look: float, num_looks: int
) -> None:
    # a trial takes 200 s, so the last two replicates before the first look begin 200 s before it
    study, looks_at = sequential(), list[float]()
    uncut = SimulatedCluster(study, facts_of(study), scores, slots=2)
    uncut.watch = lambda e: looks_at.extend([uncut.makespan] if isinstance(e, LookTaken) else [])
    assert uncut.run().done

    cluster = SimulatedCluster(study, facts_of(study), scores, slots=2)
    cluster.records_seconds = True
    seconds = looks_at[0] + after_first_look
    limit = TimeLimit(hours=seconds / 3600, clock=lambda: cluster.makespan, began=0.0)
    gate = JobGate(study=study, facts=facts_of(study), limit=limit)
    cluster.admits = lambda job: gate.admits(job, cluster.state)
    assert not cluster.run().done
    assert cluster.is_cut
    assert len(cluster.state.looks) == num_looks
    progress = progress_of(study, cluster.state)
    assert progress.is_before_first_look == (num_looks == 0)
    missing = list(missing_lines(progress))
    assert missing
    assert all(line.endswith("no finding") == (num_looks == 0) for line in missing)

    again = replay(study, facts_of(study), scores, events=events_of(cluster.state))
    assert facts_in(again) == facts_in(whole)
