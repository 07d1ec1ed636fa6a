"""Levels of the looks and sequential p values, against a pencil and against drawn deviations."""

import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rethink_ray.judge.look_levels import ALPHAS
from rethink_ray.judge.rules import rule_of
from rethink_ray.judge.spending import (
    SMALLEST_P,
    LookPlan,
    chance_to_decide_later,
    levels_of_normal,
    nominal_levels,
    sequential_p,
    sequential_p_one_sided,
    spend,
    tabulate_levels,
)
from rethink_ray.judge.statistics import Estimate
from rethink_ray.spec.sequential import Spending

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from calibrate_looks import Calibrated, welch_error

USUAL = LookPlan(looks=(3, 5, 7, 9))
PLANS = [
    LookPlan(looks=looks, spending=spending)
    for looks in ((3, 5, 7, 9), (3, 5, 6), (3, 4, 9), (5, 20))
    for spending in get_args(Spending)
]
FIVE = ALPHAS.index(0.05)


def test_one_look_spends_the_whole_error_at_once() -> None:
    levels = levels_of_normal(LookPlan(looks=(9,)))
    assert levels[:, 0] == pytest.approx(ALPHAS)


def test_obrien_fleming_at_a_third_of_the_replicates_needs_1_96_times_the_root_of_three() -> None:
    # 1.96 * 1.732 = 3.39; beyond that lie 0.069 % of the normal distribution
    assert spend(USUAL, np.array(0.05)) == pytest.approx([0.00069, 0.0086, 0.0263, 0.05], rel=0.01)
    assert levels_of_normal(USUAL)[FIVE, 0] == pytest.approx(0.00069, rel=0.01)


def test_a_gamma_of_minus_4_spends_5_percent_of_its_error_at_a_third_and_minus_2_spends_15() -> (
    None
):
    # (e^(4/3) - 1) / (e^4 - 1) = 2.79 / 53.6; (e^(2/3) - 1) / (e^2 - 1) = 0.948 / 6.39
    four, two = (
        spend(LookPlan(looks=(3, 9), spending=spending), np.array(0.05))
        for spending in get_args(Spending)[1:]
    )
    assert four == pytest.approx([0.05 * 0.052, 0.05], rel=0.01)
    assert two == pytest.approx([0.05 * 0.148, 0.05], rel=0.01)


def test_two_looks_at_known_noise_reject_together_what_the_plan_spends() -> None:
    plan = LookPlan(looks=(3, 6), spending="hwang_shih_decani_2")
    first, second = levels_of_normal(plan)[FIVE]
    rng = np.random.default_rng(3)
    sums = rng.normal(size=(2, 200_000)).cumsum(axis=0) / np.sqrt([[1.0], [2.0]])
    edges = -np.sqrt(2.0) * np.array([[erfinv(first - 1.0)], [erfinv(second - 1.0)]])
    assert np.mean((np.abs(sums) > np.abs(edges)).any(axis=0)) == pytest.approx(0.05, abs=0.0015)


def erfinv(value: float) -> float:
    from scipy.special import erfinv as inverse

    return float(inverse(value))


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_p_value_at_its_level_has_the_overall_error_as_sequential_p(plan: LookPlan) -> None:
    for look, level in enumerate(nominal_levels(plan, 0.03)):
        assert sequential_p(plan, [1.0] * look + [level]) == pytest.approx(0.03, rel=1e-6)
        assert sequential_p_one_sided(plan, [1.0] * look + [level / 2.0]) == pytest.approx(0.015)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_levels_rise_with_the_overall_error_and_stay_below_it(plan: LookPlan) -> None:
    levels = np.array([nominal_levels(plan, error) for error in np.geomspace(0.0001, 1.0, 60)])
    assert (np.diff(levels, axis=0) >= 0.0).all()
    assert (levels <= np.geomspace(0.0001, 1.0, 60)[:, None] * (1.0 + 1e-9)).all()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4), st.sampled_from(PLANS[:3]))
def test_another_look_never_raises_a_sequential_p(p_values: list[float], plan: LookPlan) -> None:
    so_far = [sequential_p(plan, p_values[: k + 1]) for k in range(len(p_values))]
    assert so_far == sorted(so_far, reverse=True)
    assert min(p_values) * (1.0 - 1e-9) <= so_far[-1] <= 1.0
    assert so_far[-1] >= SMALLEST_P * (1.0 - 1e-9)


@pytest.mark.parametrize("spending", get_args(Spending))
def test_the_table_holds_what_the_script_computes(spending: Spending) -> None:
    plan = LookPlan(looks=(3, 5, 7, 9), spending=spending)
    levels = tabulate_levels(plan)[FIVE]
    spent = spend(plan, np.array(0.05))
    assert DRAWN.solve(spent, levels) == pytest.approx(levels, rel=0.08)
    equal, fourfold, one_arm = DRAWN.errors(levels)
    assert max(equal, fourfold, one_arm) == pytest.approx(0.05, rel=0.03)
    assert equal < fourfold  # without calibration a ratio of 4 errs in 5.7 %


DRAWN = Calibrated((3, 5, 7, 9), 2**12)


def test_levels_for_known_noise_err_too_often_with_welchs_t() -> None:
    assert DRAWN.errors(levels_of_normal(USUAL)[FIVE])[1] > 0.055


def test_a_plan_without_a_table_spends_less_and_so_keeps_its_error() -> None:
    plan = LookPlan(looks=(4, 6, 8))
    errors = Calibrated(plan.looks, 2**12).errors(tabulate_levels(plan)[FIVE])
    assert errors.max() <= 0.052


def test_welchs_t_at_three_replicates_is_strict_with_equal_noise_and_lax_with_unequal() -> None:
    # coverage 96.7 % where both arms have the same noise; one arm without noise is exact
    assert welch_error(3, 0.05, 1.0) == pytest.approx(0.035, abs=0.0015)
    assert welch_error(3, 0.05, 4.0) > 0.05
    assert welch_error(3, 0.05, np.inf) == 0.05


def estimate(value: float, se: float) -> Estimate:
    return Estimate(value=value, se=se, df=8.0, nums=(5, 5))


def test_a_clear_difference_will_be_decided_and_one_between_zero_and_the_margin_will_not() -> None:
    rule = rule_of("above", 0.5)
    assert chance_to_decide_later(USUAL, 1, estimate(5.0, 0.5), rule) == pytest.approx(
        (1, 1), abs=0.01
    )
    # nothing is shown to lie inside a margin of one standard error
    assert max(chance_to_decide_later(USUAL, 1, estimate(0.0, 0.5), rule)) < 0.02
    # but inside one of ten standard errors
    assert min(chance_to_decide_later(USUAL, 1, estimate(0.0, 0.05), rule)) > 0.98
    assert chance_to_decide_later(USUAL, 3, estimate(0.0, 0.05), rule) == ()


def test_a_claim_of_not_being_behind_is_decided_by_its_lower_side_alone() -> None:
    ahead = estimate(0.9, 0.3)
    inside = chance_to_decide_later(USUAL, 1, ahead, rule_of("equal", 0.5))[-1]
    not_below = chance_to_decide_later(USUAL, 1, ahead, rule_of("not_below", 0.5))[-1]
    assert not_below > 0.95 > inside
