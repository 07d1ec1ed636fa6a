"""The arms that may be the best, by numbers one can check with a table of t, and by simulation."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from rethink_ray.judge.arm_choice import choose_arm
from rethink_ray.judge.best_set import find_best_set, find_common_level, interval_of_chosen
from rethink_ray.judge.statistics import mean_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmark_answer import (
    answer_rates,
    build_design,
    build_planted,
    build_planted_sample,
    run_until_decided,
)

LOW, HIGH = [9.0, 10.0, 11.0], [19.0, 20.0, 21.0]
HALF = 2.392 * (2.0 / 3.0) ** 0.5
"""Quantile of t with 4 degrees of freedom (3.75 % above: three quarters of 5), times the standard
error."""


def test_an_arm_that_is_shown_to_be_worse_may_not_be_the_best() -> None:
    best = find_best_set({"low": LOW, "high": HIGH})
    assert best.arms == ("high",)
    assert best.behind == pytest.approx({"low": 10.0 + HALF, "high": 0.0}, abs=0.001)


def test_equal_arms_may_both_be_the_best_and_each_is_behind_by_half_an_interval_at_most() -> None:
    best = find_best_set({"one": HIGH, "other": HIGH})
    assert best.arms == ("one", "other")
    assert best.behind == pytest.approx({"one": HALF, "other": HALF}, abs=0.001)


def test_two_arms_are_told_apart_beyond_the_one_sided_quantile_and_not_before() -> None:
    for lead, kept in ((HALF - 0.01, 2), (HALF + 0.01, 1)):
        shifted = [value + lead for value in LOW]
        assert len(find_best_set({"low": LOW, "high": shifted}).arms) == kept


@pytest.mark.parametrize(("others", "limit"), [(1, 1.645), (2, 1.92), (3, 2.06), (5, 2.23)])
def test_equal_spreads_give_dunnetts_limits(others: int, limit: float) -> None:
    """Dunnett 1955, table 1a (one-sided 5 %, infinite degrees of freedom)."""
    level = find_common_level(1.0, [1.0] * others, 0.05)
    assert ndtri(1.0 - level) == pytest.approx(limit, abs=0.006)


def test_comparisons_that_share_nothing_are_corrected_as_independent_ones() -> None:
    level = find_common_level(0.0, [1.0, 2.0, 3.0], 0.05)
    assert (1.0 - level) ** 3 == pytest.approx(0.95, abs=1e-5)


def test_arms_without_any_spread_are_ordered_by_their_scores() -> None:
    best = find_best_set({"a": [3.0] * 3, "b": [5.0] * 3, "c": [5.0] * 3})
    assert best.arms == ("b", "c")
    assert best.behind == {"a": 2.0, "b": 0.0, "c": 0.0}


def test_a_finding_that_calls_a_comparison_open_keeps_the_arm() -> None:
    groups = {"low": LOW, "high": HIGH}
    assert find_best_set(groups, is_shown_ahead=lambda one, other: False).arms == ("high", "low")


def test_the_interval_of_a_chosen_arm_is_longer_below_the_more_arms_it_was_chosen_from() -> None:
    mean = mean_of(HIGH)
    assert mean is not None
    se = 3.0**-0.5
    assert interval_of_chosen(mean, 1) == pytest.approx(mean.interval())
    longer = (20.0 - 9.925 * se, 20.0 + 4.303 * se)  # t with 2 degrees of freedom, 0.5 and 2.5 %
    assert interval_of_chosen(mean, 5) == pytest.approx(longer, abs=0.001)
    # before the last look both ends have half of the error: t of 0.25 and 1.25 %
    early = (20.0 - 14.089 * se, 20.0 + 6.205 * se)
    assert interval_of_chosen(mean, 5, before_last_look=True) == pytest.approx(early, abs=0.001)
    two = mean_of(HIGH[:2])
    assert two is not None
    assert interval_of_chosen(two, 5) is None


@pytest.mark.parametrize(("arms", "lead", "spread"), [(5, 0.0, "equal"), (3, 0.5, "best wide")])
def test_the_true_best_is_inside_and_the_interval_holds_in_95_studies_of_100(
    arms: int, lead: float, spread: str
) -> None:
    studies, rng = 150, np.random.default_rng(arms)
    rates = answer_rates(build_design(arms, 3, lead, spread), studies, rng)
    slack = 2.0 * (0.05 * 0.95 / studies) ** 0.5
    assert min(rates.best_inside, rates.all_within, rates.covered) >= 0.95 - slack
    assert rates.too_far_behind <= 0.05 + slack


def test_a_planted_study_with_looks_runs_what_they_ask_for_and_its_answer_uses_all_of_it() -> None:
    study = build_planted(3, has_looks=True)
    # arm1 leads by ten at sd 0.5 and stops at the first look; arm2 is level and runs on
    luck = (-0.5, 0.0, 0.5, -0.5, 0.5, -0.4, 0.4, -0.5, 0.5)
    means = {"arm0": 20.0, "arm1": 30.0, "arm2": 20.0}
    planned = [build_planted_sample(arm, [mean + x for x in luck]) for arm, mean in means.items()]
    replicates, corrections = run_until_decided(study, planned)
    nums = [len(sample.values) for sample in replicates]
    assert nums[1] == 3 < nums[0] == nums[2]
    choice = choose_arm(study, "full", replicates, list(means), corrections)
    assert (choice.arm, choice.why) == ("arm1", "alone")
    mean = mean_of(choice.samples["arm1"].numbers)
    assert mean is not None
    assert (mean.value, mean.nums) == (30.0, (3,))


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "lead", "spread"), [(2, 1.0, "equal"), (5, 0.5, "best narrow")])
def test_the_answer_of_a_study_that_stops_when_it_has_decided_holds_as_often(
    arms: int, lead: float, spread: str
) -> None:
    studies, rng = 150, np.random.default_rng(arms)
    design = replace(build_design(arms, 9, lead, spread), has_looks=True)
    rates = answer_rates(design, studies, rng)
    slack = 2.0 * (0.05 * 0.95 / studies) ** 0.5
    assert min(rates.best_inside, rates.covered) >= 0.95 - slack
    assert rates.too_far_behind <= 0.05 + slack
