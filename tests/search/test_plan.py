"""The dry run against numbers one can count by hand."""

from typing import Any

import pytest

from rethink_ray.search.costs import ladder_steps, new_steps, separate_steps
from rethink_ray.search.plan import plan_study
from rethink_ray.search.simulate import SimulatedCluster, replay
from rethink_ray.spec.recipe import DecaySpec, ScheduleSpec
from tests.search.search_builders import ap_of, facts_of, small_study

HE = ScheduleSpec(
    unit=90_000, lengths=(2.0, 3.0, 4.0, 5.0, 6.0), decay=DecaySpec(before_end=(2 / 3, 2 / 9))
)
"""He et al. 2018: the rate drops at T-60k and T-20k for every T."""
ONE_CELL = {"regimes": {"full": {"images": "all"}}, "arms": {"scratch": {}}}


def test_hes_ladder_costs_780_thousand_updates_and_not_1_8_million() -> None:
    assert ladder_steps(HE, HE.lengths) == 480_000 + 5 * 60_000 == 780_000
    assert separate_steps(HE, HE.lengths) == 90_000 * (2 + 3 + 4 + 5 + 6) == 1_800_000


def test_a_promoted_trial_pays_only_for_the_new_part_of_the_trunk() -> None:
    assert new_steps(HE, 2.0) == 180_000
    assert new_steps(HE, 4.0, (2.0,)) == 180_000 + 60_000


def test_a_cosine_shares_nothing_and_a_constant_rate_everything() -> None:
    cosine = ScheduleSpec(unit=100, warmup=5, decay=DecaySpec(kind="cosine"))
    constant = ScheduleSpec(unit=100, warmup=5, decay=DecaySpec(kind="constant"))
    assert ladder_steps(cosine, (2.0, 4.0)) == 600
    assert ladder_steps(constant, (2.0, 4.0)) == 400


@pytest.mark.parametrize("kind", ["step", "one_minus_sqrt"])
def test_a_decay_at_the_end_is_paid_for_by_each_length(kind: Any) -> None:
    decay = DecaySpec(kind=kind, before_end=(0.4, 0.1))
    assert ladder_steps(ScheduleSpec(unit=100, warmup=5, decay=decay), (2.0, 4.0)) == 400 + 40


def test_a_plan_counts_rounds_trials_jobs_and_updates() -> None:
    # 100 updates are 1x; the rate drops 40 before the end. Each trial that runs 2x, 4x, 6x costs
    # 200, then 240 more, then 240 more.
    study = small_study(**ONE_CELL, budget={"trials": 8, "keep": [4, 2, 1], "replicates": 0})
    plan = plan_study(study, facts_of(study), slots=1)
    (cell,) = plan.cells
    assert (cell.rounds, cell.trials, cell.replicates) == (2, 8, 0)
    assert cell.jobs == plan.jobs == 8 + 4 + 2
    assert cell.search_steps == 8 * 200 + 4 * 240 + 2 * 240
    assert cell.separate_steps == 8 * 200 + 4 * 400 + 2 * 600
    assert plan.makespan_steps == plan.steps
    assert plan.busy_share == 1.0
    assert (cell.num_parameters, cell.num_configurations) == (2, None)


def test_replicates_are_per_incumbent_so_a_plan_tells_their_range() -> None:
    # one ladder to 2x, 4x, 6x costs 200, 440, 680: a replicate of each of three incumbents costs
    # 200 + 440 + 680, one of a single incumbent 680
    study = small_study(**ONE_CELL, budget={"trials": 8, "keep": [4, 2, 1], "replicates": 2})
    (cell,) = plan_study(study, facts_of(study)).cells
    assert cell.replicates_range == (2, 6)
    assert cell.steps_range == (cell.search_steps + 2 * 680, cell.search_steps + 2 * 1320)
    assert cell.steps_range[0] <= cell.steps <= cell.steps_range[1]


def test_a_second_slot_waits_for_the_end_of_a_halving_step() -> None:
    # one round of 3: 200 on each slot, then a third alone; then the best alone: 240 + 240
    study = small_study(**ONE_CELL, budget={"trials": 3, "keep": [3, 1, 1], "replicates": 0})
    plan = plan_study(study, facts_of(study), slots=2)
    assert plan.makespan_steps == 400 + 480
    assert plan.busy_share == (3 * 200 + 480) / (2 * 880)


def test_replicates_and_assets_are_planned_too() -> None:
    study = small_study(search={}, budget={"trials": 1, "keep": [1, 1, 1], "replicates": 3})
    plan = plan_study(study, facts_of(study), count_weights=lambda config: 1000)
    assert [c.replicates for c in plan.cells] == [3, 3, 3, 3]
    assert {c.replicates_range for c in plan.cells} == {(3, 3)}  # one trial, so one incumbent
    assert {c.steps_range for c in plan.cells} == {(c.steps, c.steps) for c in plan.cells}
    assert {c.replicate_steps for c in plan.cells} == {3 * (200 + 240 + 240)}
    assert plan.assets == 1
    assert plan.asset_steps == 1500  # the default classifier's


def test_disk_is_counted_as_files_come_and_go() -> None:
    # 1,000 weights with momentum at 4 bytes: a checkpoint takes 8,000 bytes, the weights 4,000
    study = small_study(**ONE_CELL, budget={"trials": 4, "keep": [4, 2, 1], "replicates": 0})
    plan = plan_study(study, facts_of(study), count_weights=lambda config: 1000)
    # most while the fourth trial ends its 2x: four trials with two trunk files each, the best's
    # weights so far, and the branch and the next file of the one that runs
    assert plan.disk_bytes == 4 * 2 * 8000 + 4000 + 2 * 8000
    assert plan.disk_final_bytes == 2 * 8000 + 3 * 4000, "one finalist, an incumbent per length"


def test_an_average_of_the_weights_is_in_every_checkpoint_but_not_in_a_kept_model() -> None:
    averaged = {"settings": {"optimizer.ema": {"half_life": 0.1}}}
    budget = {"trials": 4, "keep": [4, 2, 1], "replicates": 0}
    study = small_study(**ONE_CELL, budget=budget, **averaged)
    plan = plan_study(study, facts_of(study), count_weights=lambda config: 1000)
    assert plan.disk_final_bytes == 2 * 12_000 + 3 * 4000


def test_what_is_kept_decides_how_much_disk_is_needed_at_the_end() -> None:
    def final(**checkpoints: str) -> int | None:
        budget = {"trials": 4, "keep": [4, 2, 1], "replicates": 0}
        study = small_study(**ONE_CELL, budget=budget, checkpoints=checkpoints)
        return plan_study(study, facts_of(study), count_weights=lambda c: 1000).disk_final_bytes

    assert final(models="none", trunks="unfinished") == 0
    assert final(models="none", trunks="all") == 4 * 2 * 8000
    assert final(models="all", trunks="unfinished") == (4 + 2 + 1) * 4000


def test_what_replicates_find_takes_room_of_its_own() -> None:
    def final(kept: str) -> int:
        budget = {"trials": 1, "keep": [1, 1, 1], "replicates": 2}
        checkpoints = {"models": "none", "trunks": "unfinished", "detections": kept}
        study = small_study(**ONE_CELL, budget=budget, checkpoints=checkpoints)
        plan = plan_study(study, facts_of(study), count_weights=lambda config: 1000)
        return plan.disk_final_bytes or 0

    images = facts_of(small_study(**ONE_CELL)).split_sizes["test"]
    # two replicates of one incumbent, three rungs each, at most 100 boxes an image
    assert final("replicates") == 2 * 3 * images * 100 * 24
    assert final("none") == 0


def test_a_plan_is_the_study_that_will_run() -> None:
    study = small_study(budget={"trials": 16, "keep": [8, 4, 2], "replicates": 2, "audit": 1})
    facts = facts_of(study)
    plan = plan_study(study, facts, slots=4)
    state = replay(study, facts, ap_of)
    for cell in plan.cells:
        search = {m.trial_id for _, m in state.members(cell.cell, "search")}
        assert cell.trials == len(search) == 16
        steps = sum(r.steps_new for r in state.rungs.values() if r.trial_id in search)
        # an audited trial stopped at 2x costs 240 more than one stopped at 4x
        assert abs(cell.search_steps - steps) in (0, 240)


def test_a_pretended_cluster_never_runs_more_jobs_than_slots() -> None:
    study = small_study(budget={"trials": 8, "keep": [8, 4, 2], "replicates": 1})
    cluster = SimulatedCluster(study, facts_of(study), ap_of, slots=3)
    assert cluster.run().done
    assert cluster.busy <= 3 * cluster.makespan
    assert len({job.job_id for job in cluster.started}) == len(cluster.started)
