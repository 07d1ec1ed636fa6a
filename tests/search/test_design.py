"""Designs for a budget of hours: costs by pencil, the choice by its own rule, planted paces."""

import math
from dataclasses import replace

import pytest

from rethink_ray.search.design import (
    Design,
    DesignRequest,
    design_study,
    find_smallest_design,
    list_left_out,
    list_shares,
    rank_designs,
    round_up,
)
from rethink_ray.search.design_costs import (
    CellWork,
    bound_makespan,
    count_chain_seconds,
    count_replicate_seconds,
    count_rung_steps,
    count_search_seconds,
)
from rethink_ray.search.noise_prior import LUCK_OF_A_SEARCH, NoisePrior, expect_noise
from rethink_ray.search.paces import Pace
from rethink_ray.spec.errors import SpecError

PACE = Pace(seconds_per_update=1.0, seconds_per_scored_image=0.5, seconds_to_start=3.0, spread=0.0)
WORK = CellWork(unit=10, lengths=(2.0, 4.0), keep=(3, 2), num_select=10, num_report=20)
SLOW = Pace(seconds_per_update=0.4, seconds_per_scored_image=0.05, seconds_to_start=0.5)
FAST = Pace(seconds_per_update=0.2, seconds_per_scored_image=0.05, seconds_to_start=0.5)


def request(hours: float, **changes: object) -> DesignRequest:
    """98 pictures, three arms and two slots, as kangaroos on a laptop have them."""
    asked = DesignRequest(
        hours=hours,
        slots=2,
        paces=(("scratch", SLOW), ("finetuned", SLOW), ("frozen", FAST)),
        num_images=98,
        num_select=33,
        num_report=33,
        batch_size=8,
        rate_range=20.0,
        noise=expect_noise(98),
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


def test_a_longer_length_goes_on_from_where_the_shorter_one_began_its_decay() -> None:
    # 2x leaves the trunk at update 16 and 4x at 36: 20 updates, then 20 of trunk and 4 of decay
    assert count_rung_steps(10, (2.0, 4.0)) == (20, 24)


def test_the_seconds_of_a_search_and_of_a_replicate_by_pencil() -> None:
    # rungs take 20 + 10 x 0.5 = 25 s and 24 + 5 = 29 s; a job takes 3 s more
    assert count_search_seconds(WORK, PACE) == 3 * (25 + 3) + 2 * (29 + 3)
    # a replicate is scored on 20 pictures more: 35 and 39 s; one best configuration at each length
    assert count_replicate_seconds(WORK, PACE) == (3 + 35) + (3 + 35 + 39)
    # a trial that runs both lengths in two jobs, then a replicate of it
    assert count_chain_seconds(WORK, PACE) == 2 * (3 + 35 + 39) + 3


def test_one_trial_has_one_best_configuration_at_all_lengths() -> None:
    assert count_replicate_seconds(replace(WORK, keep=(1, 1)), PACE) == 3 + 35 + 39


def test_slots_share_the_work_but_no_chain_is_cut() -> None:
    assert bound_makespan(100.0, 10.0, 1) == 100.0
    assert bound_makespan(100.0, 10.0, 2) == 50.0 + 5.0
    assert bound_makespan(100.0, 10.0, 1000) == pytest.approx(0.1 + 9.99)


def test_a_quarter_of_the_pictures_gets_half_of_the_updates() -> None:
    design = design_study(request(1.0)).design
    assert replace(design, unit=40).unit_of(0.25) == 20


def test_noise_is_that_of_the_nearest_data_set_that_is_known() -> None:
    assert (expect_noise(118_000).low, expect_noise(118_000).high) == pytest.approx((0.1, 0.2))
    assert (expect_noise(20).low, expect_noise(20).high) == pytest.approx((1.0, 3.0))
    halfway = expect_noise(round(math.sqrt(1_000 * 10_000)))
    assert halfway.low == pytest.approx(math.sqrt(1.0 * 0.4), rel=1e-3)
    between = expect_noise(10_000).between_searches()
    assert between.low == pytest.approx(0.4 * math.sqrt(1.0 + LUCK_OF_A_SEARCH**2))
    assert NoisePrior(low=1.0, high=4.0).middle == 2.0


def test_regimes_have_forty_pictures_and_a_tenth_stands_for_all_only_if_it_has_500() -> None:
    assert list_shares(98) == [(1.0,), (1.0, 0.5)]
    assert list_shares(30) == [(1.0,)]
    assert list_shares(160)[-1] == (1.0, 0.5, 0.25)
    assert list_shares(50_000)[3:] == [(0.25,), (0.1,), (0.01,)]
    assert list_shares(2_000)[3:] == [(0.25,)]


@pytest.mark.parametrize("hours", [0.5, 1.0, 3.0, 8.0, 100.0])
def test_a_design_fits_its_hours_and_is_the_worthiest_that_does(hours: float) -> None:
    ranked = rank_designs(request(hours))
    assert all(one.hours <= hours for one in ranked)
    assert [one.worth for one in ranked] == sorted((one.worth for one in ranked), reverse=True)
    assert design_study(request(hours)) == ranked[0]


def test_more_hours_never_make_a_worse_study() -> None:
    rated = [design_study(request(hours)) for hours in (0.5, 1.0, 2.0, 4.0, 8.0, 30.0, 100.0)]
    worths = [one.worth for one in rated]
    assert worths == sorted(worths)
    first, last = rated[0].design, rated[-1].design
    assert last.unit * last.lengths[-1] > first.unit * first.lengths[-1]
    assert last.num_values > first.num_values
    assert last.arms == ("scratch", "finetuned", "frozen")


def test_results_are_added_until_they_decide_only_after_eight_trials_or_over_searches() -> None:
    ranked = [one.design for one in rank_designs(request(1.0))]
    assert any(design.stops_early for design in ranked)
    assert all(d.searches > 1 or d.trials >= 8 for d in ranked if d.stops_early)
    few = replace(ranked[0], trials=4, searches=1, replicates=4)
    assert not few.shows_luck_of_its_search
    assert replace(few, replicates=5).shows_luck_of_its_search
    assert not replace(few, replicates=1, searches=5).shows_luck_of_its_search


def test_an_evening_is_enough_to_speak_about_arms_and_not_about_configurations() -> None:
    design = design_study(request(8.0)).design
    assert design.searches >= 3
    assert not any("several searches" in line for line in list_left_out(request(8.0), design))


def test_too_few_hours_are_refused_with_the_hours_that_suffice() -> None:
    with pytest.raises(SpecError, match=r"--hours: must be at least .*, but got 0\.05") as error:
        design_study(request(0.05))
    least = float(error.value.must.partition("at least ")[2].partition(",")[0])
    assert design_study(request(least)).hours <= least
    assert f"--hours {least:g}" in error.value.remedy
    assert least < 0.5


def test_the_smallest_design_has_two_arms_three_values_and_eight_passes() -> None:
    smallest = find_smallest_design(request(1.0)).design
    assert (smallest.arms, smallest.shares) == (("scratch", "finetuned"), (1.0,))
    assert (smallest.trials, smallest.num_values, smallest.searches) == (2, 3, 1)
    assert smallest.unit * smallest.lengths[-1] >= 120


def test_arms_that_were_named_are_never_left_out() -> None:
    named = request(0.4, least_arms=3)
    with pytest.raises(SpecError, match="scratch and finetuned and frozen"):
        design_study(replace(named, hours=0.1))
    assert len(design_study(replace(named, hours=1.0)).design.arms) == 3


def test_a_large_data_set_is_studied_on_a_part_of_it_where_the_hours_do_not_reach() -> None:
    large = request(40.0, num_images=100_000, num_select=1_000, num_report=1_000)
    design = design_study(large).design
    assert design.shares == (0.1,)
    assert "regime all" in list_left_out(large, design)
    assert design_study(replace(large, hours=20.0)).design.shares == (0.01,)


def test_what_was_left_out_is_named() -> None:
    design = Design(
        arms=("scratch", "finetuned"),
        shares=(1.0,),
        unit=40,
        lengths=(2.0, 4.0),
        trials=2,
        searches=1,
        replicates=3,
    )
    assert list_left_out(request(1.0), design)[:2] == ("arm frozen", "regime half")
    assert (design.keep, design.num_comparisons) == ((2, 1), 1)
    assert replace(design, lengths=(2.0, 4.0, 8.0), trials=6).keep == (6, 3, 2)


def test_hours_are_rounded_up_to_two_digits() -> None:
    assert [round_up(x) for x in (0.231, 0.24, 3.01, 17.2)] == pytest.approx([0.24, 0.24, 3.1, 18])
