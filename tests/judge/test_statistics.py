"""Intervals and verdict arithmetic, against numbers from a pencil and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from rethink_ray.judge.statistics import (
    Estimate,
    mean_of,
    p_beyond,
    p_not_above,
    p_not_below,
    sample_sd,
    t_quantile,
)
from tests.judge.two_groups import paired, welch


def test_the_mean_of_1_2_3_has_sd_1_and_a_half_width_of_4_30_standard_errors() -> None:
    estimate = mean_of([1.0, 2.0, 3.0])
    assert estimate is not None
    interval = estimate.interval()
    assert estimate.value == 2.0
    assert sample_sd([1.0, 2.0, 3.0]) == 1.0
    assert interval is not None
    assert interval[1] - 2.0 == pytest.approx(4.302653 / math.sqrt(3))


def test_below_three_values_there_is_a_mean_and_no_interval() -> None:
    assert mean_of([]) is None
    two = mean_of([1.0, 3.0])
    assert two is not None
    assert (two.value, two.interval(), two.p_value) == (2.0, None, None)
    lone = welch([1.0, 2.0, 3.0], [1.0, 2.0])
    assert lone is not None
    assert (lone.value, lone.interval()) == (0.5, None)
    assert welch([1.0], []) is None


def test_welch_agrees_with_scipy_where_spreads_and_numbers_differ() -> None:
    a, b = [21.0, 22.5, 23.1, 20.2], [18.9, 19.0, 19.2]
    ours, theirs = welch(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert ours is not None
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.df == pytest.approx(theirs.df)
    assert ours.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_paired_agrees_with_scipy_and_is_sharper_than_welch_for_a_shared_trunk() -> None:
    short, long = [10.0, 12.0, 14.0], [11.0, 13.1, 15.2]
    ours, theirs = paired(long, short), stats.ttest_rel(long, short)
    unpaired = welch(long, short)
    assert ours is not None
    assert unpaired is not None
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert (ours.se or 0.0) < 0.1 * (unpaired.se or 0.0)


def test_replicates_that_agree_to_the_last_digit_decide_without_a_division_by_zero() -> None:
    same, apart = welch([3.0] * 3, [3.0] * 3), welch([4.0] * 3, [3.0] * 3)
    assert same is not None
    assert apart is not None
    assert same.p_value == 1.0
    assert apart.p_value == 0.0
    assert apart.interval() == (1.0, 1.0)


def test_the_two_one_sided_tests_at_5_percent_are_the_90_percent_interval() -> None:
    se = 0.1
    edge = 0.5 - t_quantile(0.9, 8.0) * se
    inside = Estimate(value=edge - 1e-9, se=se, df=8.0, nums=(5, 5))
    outside = Estimate(value=edge + 1e-9, se=se, df=8.0, nums=(5, 5))
    assert (p_not_above(inside, 0.5) or 1.0) < 0.05 < (p_not_above(outside, 0.5) or 0.0)
    assert (p_not_below(inside, 0.5) or 1.0) < 0.001
    assert p_not_below(Estimate(value=0.0, se=None, df=None, nums=(2, 2)), 0.5) is None


def test_a_difference_is_beyond_the_margin_if_its_95_percent_interval_is() -> None:
    edge = 0.5 + t_quantile(0.95, 8.0) * 0.1
    for value, is_beyond in ((edge + 1e-9, True), (edge - 1e-9, False), (0.0, False)):
        for sign in (1.0, -1.0):
            effect = Estimate(value=sign * value, se=0.1, df=8.0, nums=(5, 5))
            assert ((p_beyond(effect, 0.5) or 0.0) < 0.05) is is_beyond
    assert p_beyond(Estimate(value=0.4, se=0.0, df=8.0, nums=(5, 5)), 0.5) == 1.0
    assert p_beyond(Estimate(value=9.0, se=None, df=None, nums=(2, 2)), 0.5) is None


@pytest.mark.parametrize(("num", "low", "high"), [(3, 0.945, 0.985), (5, 0.94, 0.975)])
def test_welch_covers_the_planted_difference_with_sds_that_differ_fourfold(
    num: int, low: float, high: float
) -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(2000):
        a, b = 1.0 + 0.25 * rng.normal(size=num), rng.normal(size=num)
        estimate = welch(list(a), list(b))
        interval = estimate.interval() if estimate else None
        assert interval is not None
        hits += interval[0] <= 1.0 <= interval[1]
    assert low <= hits / 2000 <= high


def test_two_looks_double_the_p_value_and_widen_95_to_97_5_percent() -> None:
    a, b = [21.0, 22.5, 23.1, 20.2], [18.9, 19.0, 19.2]
    once, twice = welch(a, b), welch(a, b, looks=2)
    assert once is not None
    assert twice is not None
    assert once.p_value is not None
    assert twice.p_value == pytest.approx(2.0 * once.p_value)
    assert twice.interval() == pytest.approx(once.interval(0.975))
    equal = welch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], looks=2)
    assert equal is not None
    assert equal.p_value == 1.0


def test_adding_replicates_until_it_looks_good_keeps_its_level_only_if_looks_count() -> None:
    rng = np.random.default_rng(7)
    naive = counted = 0
    for _ in range(1000):
        a, b = rng.normal(size=9), rng.normal(size=9)
        first = welch(list(a[:5]), list(b[:5]))
        for looks in (1, 2):
            second = welch(list(a), list(b), looks)
            assert first is not None
            assert second is not None
            found = min(looks * (first.p_value or 1.0), second.p_value or 1.0) < 0.05
            naive, counted = naive + (looks == 1 and found), counted + (looks == 2 and found)
    assert naive > 65  # of 1,000, where 50 were promised
    assert counted <= 50
