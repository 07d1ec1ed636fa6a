"""Hours against numbers one can count by hand, and a limit on a clock that only tests move."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from rethink_ray.records.run_progress import HoursRange
from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import (
    ONE_IN_TEN,
    SECONDS_BETWEEN_JOBS,
    SECONDS_TO_START_RAY,
    JobTimes,
    Outlook,
    estimate_hours,
    forecast,
)
from rethink_ray.search.jobs import Job
from rethink_ray.search.paces import Pace, Paces
from rethink_ray.search.simulate import SimulatedCluster
from rethink_ray.search.time_limit import JobGate, TimeLimit, require_hours
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study
from tests.search.search_builders import ap_of, facts_of, small_study

ONE_CELL: dict[str, Any] = {"regimes": {"full": {"images": "all"}}, "arms": {"scratch": {}}}
STEADY = Pace(
    seconds_per_update=0.5, seconds_per_scored_image=0.01, seconds_to_start=2.0, spread=0.0
)
ONE_TRIAL: dict[str, Any] = {"trials": 1, "keep": [1, 1, 1], "replicates": 0}
TRIAL_SECONDS = 680 * 0.5 + 3 * (200 * 0.01 + 2.0 + SECONDS_BETWEEN_JOBS)
"""2x, 4x and 6x cost 200, 240 and 240 updates; each is a job, scored on 200 images."""


def seconds_of(hours: HoursRange) -> float:
    return hours.expected * 3600


def test_one_trial_takes_its_updates_its_scoring_and_its_starts() -> None:
    study = small_study(**ONE_CELL, budget=ONE_TRIAL)
    hours = estimate_hours(study, facts_of(study), {"scratch": STEADY})
    assert seconds_of(hours) == pytest.approx(TRIAL_SECONDS + SECONDS_TO_START_RAY)
    assert hours.low == pytest.approx(hours.expected / math.exp(ONE_IN_TEN * 0.1))
    assert hours.high == pytest.approx(hours.expected * math.exp(ONE_IN_TEN * 0.1))


def test_two_slots_run_two_trials_side_by_side() -> None:
    study = small_study(**ONE_CELL, budget={"trials": 2, "keep": [2, 2, 2], "replicates": 0})
    both = estimate_hours(study, facts_of(study), {"": STEADY}, slots=2)
    assert seconds_of(both) == pytest.approx(TRIAL_SECONDS + SECONDS_TO_START_RAY)
    alone = estimate_hours(study, facts_of(study), {"": STEADY})
    assert seconds_of(alone) == pytest.approx(2 * TRIAL_SECONDS + SECONDS_TO_START_RAY)


def test_a_round_waits_for_its_slowest_trial() -> None:
    study = small_study(**ONE_CELL, budget={"trials": 4, "keep": [4, 4, 4], "replicates": 0})
    uneven = {"": replace(STEADY, spread=0.5)}
    steady = estimate_hours(study, facts_of(study), {"": STEADY}, slots=4)
    assert estimate_hours(study, facts_of(study), uneven, slots=4).expected > 1.2 * steady.expected


def test_an_asset_takes_its_own_pace_or_that_of_its_arm() -> None:
    study = small_study(
        regimes={"full": {"images": "all"}},
        arms={"pretrained": {"set": {"init.source": "upstream"}}},
        budget=ONE_TRIAL,
    )
    trial = TRIAL_SECONDS + SECONDS_TO_START_RAY + SECONDS_BETWEEN_JOBS
    by_arm = estimate_hours(study, facts_of(study), {"": STEADY})
    assert seconds_of(by_arm) == pytest.approx(trial + 1500 * 0.5 + 2.0)
    whole = Pace(seconds_per_update=0, seconds_per_scored_image=0, seconds_to_start=60, spread=0)
    paces = {"": STEADY, "asset classifier": whole}
    assert seconds_of(estimate_hours(study, facts_of(study), paces)) == pytest.approx(trial + 60)


def test_what_is_recorded_is_not_counted_again_and_what_runs_is_counted_in_part() -> None:
    study = small_study(**ONE_CELL, budget=ONE_TRIAL)
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=1)
    cluster.run(max_events=1)
    outlook = Outlook(study=study, facts=facts_of(study), paces={"": STEADY}, state=cluster.state)
    left = 480 * 0.5 + 2 * (2.0 + 2.0 + SECONDS_BETWEEN_JOBS)
    assert seconds_of(forecast(outlook).hours) == pytest.approx(left + SECONDS_TO_START_RAY)
    (trial_id, _), *_ = cluster.state.rungs
    running = replace(outlook, worked={f"{trial_id}-4x": 100.0})
    assert seconds_of(forecast(running).hours) == pytest.approx(left - 100.0)
    assert len(cluster.state.rungs) == 1, "a forecast leaves the records as they are"


def test_nothing_is_left_of_a_study_that_is_done() -> None:
    study = small_study(**ONE_CELL, budget=ONE_TRIAL)
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=1)
    cluster.run()
    done = estimate_hours(study, facts_of(study), {"": STEADY}, state=cluster.state)
    assert done == HoursRange(low=0.0, expected=0.0, high=0.0)


def test_replicates_of_one_best_configuration_or_of_one_for_each_length_make_the_range() -> None:
    budget = {"trials": 6, "keep": [6, 6, 6], "replicates": 3}
    study = small_study(**ONE_CELL, budget=budget)
    hours = estimate_hours(study, facts_of(study), {"": STEADY})
    day = math.exp(ONE_IN_TEN * 0.1)
    search = 6 * TRIAL_SECONDS + SECONDS_TO_START_RAY
    # a replicate is one job for all lengths, scored on 800 images at each
    replicate = 680 * 0.5 + 3 * 800 * 0.01 + 2.0 + SECONDS_BETWEEN_JOBS
    assert hours.low * day * 3600 == pytest.approx(search + 3 * replicate)
    assert hours.high / day > hours.low * day


def test_cells_are_ready_in_the_order_in_which_their_last_jobs_end() -> None:
    study = small_study(
        regimes={"full": {"images": "all"}}, arms={"a": {}, "b": {}}, budget=ONE_TRIAL
    )
    cells = forecast(Outlook(study=study, facts=facts_of(study), paces={"": STEADY})).cells
    # one slot works in the study's order: 2x of both, then 4x of both, then 6x of both
    assert [cell.cell for cell in cells] == ["full/a", "full/b"]
    assert cells[1].ready_after * 3600 == pytest.approx(2 * TRIAL_SECONDS)
    assert cells[0].slot_hours * 3600 == pytest.approx(TRIAL_SECONDS)


def test_an_arm_without_a_pace_is_named() -> None:
    study = small_study()
    with pytest.raises(SpecError, match="pretrained"):
        estimate_hours(study, facts_of(study), {"scratch": STEADY})


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan, math.inf])
def test_hours_are_a_number_above_zero(hours: float) -> None:
    with pytest.raises(SpecError, match="--hours"):
        require_hours(hours)


@dataclass(frozen=True)
class Design:
    """A random study, a machine that is not quite as its paces say, and a number of hours."""

    study: Study
    facts: DataFacts
    paces: Paces
    slots: int
    hours: float
    seed: int

    def cluster(self, state: StudyState | None = None) -> SimulatedCluster:
        """The machine: a pace of its own today, and jobs that differ by the pace's spread."""
        rng = np.random.default_rng(self.seed)
        today = math.exp(0.1 * rng.standard_normal())
        records = StudyState() if state is None else state
        times = JobTimes(study=self.study, facts=self.facts, paces=self.paces, state=records)

        def duration(job: Job, length: float) -> float:
            pace, seconds = times.pace(job), times.seconds(job, length)
            assert pace is not None
            assert seconds is not None
            return today * seconds * math.exp(pace.spread * rng.standard_normal())

        cluster = SimulatedCluster(
            self.study, self.facts, ap_of, slots=self.slots, duration=duration, state=records
        )
        cluster.records_seconds = True
        return cluster


def random_design(seed: int) -> Design:
    rng = np.random.default_rng(seed)
    trials = int(rng.integers(2, 5))
    study = small_study(
        regimes={"few": {"images": 60}},
        arms={"scratch": {}, "other": {"set": {"optimizer.momentum": 0.8}}},
        budget={"trials": trials, "keep": [trials, 2, 1], "replicates": int(rng.integers(1, 4))},
    )
    paces = {
        arm: Pace(
            seconds_per_update=float(rng.uniform(0.02, 2.0)),
            seconds_per_scored_image=float(rng.uniform(0.001, 0.1)),
            seconds_to_start=float(rng.uniform(0.1, 20.0)),
            spread=float(rng.uniform(0.05, 0.4)),
        )
        for arm in study.arms
    }
    facts, slots = facts_of(study), int(rng.integers(1, 5))
    whole = estimate_hours(study, facts, paces, slots=slots).expected
    hours = float(rng.uniform(0.2, 1.3)) * whole
    return Design(study=study, facts=facts, paces=paces, slots=slots, hours=hours, seed=seed)


@pytest.mark.parametrize("num_designs", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_random_designs_with_noisy_paces_end_in_time_and_go_on_to_the_same_table(
    num_designs: int,
) -> None:
    num_cut = num_in_range = 0
    for seed in range(num_designs):
        design = random_design(seed)
        uncut = design.cluster()
        assert uncut.run().done
        expected = estimate_hours(design.study, design.facts, design.paces, slots=design.slots)
        num_in_range += expected.low <= uncut.makespan / 3600 <= expected.high

        cluster = design.cluster()
        limit = TimeLimit(hours=design.hours, clock=lambda c=cluster: c.makespan, began=0.0)
        gate = JobGate(study=design.study, facts=design.facts, limit=limit)
        cluster.admits = lambda job, c=cluster, g=gate: g.admits(job, c.state)
        decision = cluster.run()  # no job is stopped at the limit: the gate alone must do
        assert cluster.makespan <= 1.1 * 3600 * design.hours
        assert cluster.is_cut != decision.done
        num_cut += cluster.is_cut

        again = design.cluster(cluster.state)
        assert again.run().done
        assert table_of(again.state) == table_of(uncut.state)
    assert 0.3 * num_designs <= num_cut <= 0.9 * num_designs, "some are cut and some are not"
    assert num_in_range >= 0.6 * num_designs, "the range holds about eight of ten"


def test_a_machine_that_slows_down_stops_its_jobs_at_the_limit() -> None:
    # 2x of the first trial takes 100 s, everything after it ten times as long as expected
    study = small_study(**ONE_CELL, budget={"trials": 2, "keep": [2, 1, 1], "replicates": 0})
    cluster = SimulatedCluster(
        study,
        facts_of(study),
        ap_of,
        slots=1,
        duration=lambda job, length: 1000.0 if cluster.state.rungs else 100.0,
    )
    cluster.records_seconds = True
    limit = TimeLimit(hours=0.1, clock=lambda: cluster.makespan, began=0.0)
    gate = JobGate(study=study, facts=facts_of(study), limit=limit)
    cluster.admits = lambda job: gate.admits(job, cluster.state)
    cluster.deadline = limit.seconds_left
    assert not cluster.run().done
    assert cluster.is_cut
    assert cluster.makespan == 360 - 15.0
    assert len(cluster.running) == 1


def table_of(state: StudyState) -> dict[tuple[str, float], tuple[object, ...]]:
    """What the rungs of a study are, without the time that they took."""
    rungs = state.rungs.items()
    return {key: (rung.steps, rung.steps_new, dict(rung.metrics)) for key, rung in rungs}


def test_the_first_job_that_does_not_fit_is_the_end_though_a_later_one_would_fit() -> None:
    # 2x takes 100 s a trial: 250 s admit two of them; then 4x would take 120 s
    budget = {"trials": 2, "keep": [2, 1, 1], "replicates": 0}
    study = small_study(**ONE_CELL, budget=budget)
    cluster = SimulatedCluster(
        study, facts_of(study), ap_of, slots=1, duration=lambda job, length: 50.0 * length
    )
    cluster.records_seconds = True
    limit = TimeLimit(hours=290 / 3600, clock=lambda: cluster.makespan, began=0.0)
    gate = JobGate(study=study, facts=facts_of(study), limit=limit)
    cluster.admits = lambda job: gate.admits(job, cluster.state)
    assert not cluster.run().done
    assert cluster.is_cut
    assert [length for _, length in cluster.state.rungs] == [2.0, 2.0]
    assert cluster.makespan == 200.0, "nothing was started that had to be stopped"


def test_a_job_of_unknown_pace_may_start_while_there_is_time() -> None:
    study = small_study(**ONE_CELL, budget=ONE_TRIAL)
    now = 0.0
    limit = TimeLimit(hours=1.0, clock=lambda: now, began=0.0)
    gate = JobGate(study=study, facts=facts_of(study), limit=limit)
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=1)
    cluster.run(max_events=0)
    (job,) = cluster.started
    assert gate.admits(job, cluster.state)
    now = 3600.0
    assert limit.is_over()
    assert not gate.admits(job, cluster.state)
