"""Corrected p values of comparisons with two nulls each, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from rethink_ray.judge.step_down import NullPair, correct_pairs, holm


def pair(first: float, second: float = 1.0, beyond: float = 1.0) -> NullPair:
    return NullPair(first=first, second=second, beyond=beyond)


def test_a_comparison_alone_keeps_both_of_its_p_values() -> None:
    assert correct_pairs([pair(0.04, 0.03)]) == [(0.04, 0.03)]


def test_one_rejected_null_leaves_the_multiplier_of_the_others_as_it_is() -> None:
    # the first is shown not to be zero, but perhaps it differs by the margin or more
    assert correct_pairs([pair(0.001), pair(0.03)]) == [(0.002, 1.0), (0.06, 1.0)]


def test_a_difference_beyond_the_margin_takes_its_comparison_out_of_the_count() -> None:
    # it leaves at 2 x 0.004; after that the other one stands alone
    assert correct_pairs([pair(0.001, beyond=0.004), pair(0.03)])[1][0] == pytest.approx(0.03)
    # it leaves at 2 x 0.02 only, which is above 0.03
    assert correct_pairs([pair(0.001, beyond=0.02), pair(0.03)])[1][0] == pytest.approx(0.04)


def test_a_comparison_leaves_when_both_of_its_nulls_are_rejected() -> None:
    first, second = correct_pairs([pair(0.001, 0.01), pair(0.03)])
    assert first == (0.002, 0.02)
    assert second[0] == pytest.approx(0.03)


def test_the_order_of_comparisons_changes_nothing() -> None:
    pairs = [pair(0.001, beyond=0.004), pair(0.03), pair(0.2, 0.012), pair(0.0005, beyond=0.0006)]
    turned = correct_pairs(pairs[::-1])
    assert correct_pairs(pairs) == turned[::-1]


def test_of_three_pairs_each_counts_those_that_have_not_left_before_it() -> None:
    """The first leaves at 3 x 0.002, the second at 2 x 0.01, and the third then stands alone."""
    pairs = [pair(0.03, 0.04), pair(0.001, beyond=0.002), pair(0.01, 0.005)]
    third, first, second = correct_pairs(pairs)
    assert first == (0.003, 1.0)
    assert second == (0.02, 0.01)
    assert third == (0.03, 0.04)


def test_of_three_pairs_one_whose_equality_alone_is_shown_keeps_the_count_at_three() -> None:
    # p of the margin 0.004: equal; but p of zero is 0.2, so perhaps its difference is not zero
    equal, other, third = correct_pairs([pair(0.2, 0.004), pair(0.02), pair(0.5, 0.02)])
    assert equal == pytest.approx((0.6, 0.012))
    assert other == pytest.approx((0.06, 1.0))
    assert third == pytest.approx((1.0, 0.06))


def test_the_smallest_p_of_a_family_of_20000_is_multiplied_by_20000() -> None:
    many = [pair(p, beyond=p) for p in np.linspace(1e-9, 1.0, 20_000).tolist()]
    assert correct_pairs(many)[0] == (pytest.approx(2e-5), 1.0)


def test_holm_multiplies_by_what_is_left_and_never_decreases() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), max_size=8))
def test_holm_keeps_the_order_and_lies_between_plain_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= 1.0
        assert q <= max(min(1.0, len(p_values) * r) for r in p_values if r <= p) + 1e-12
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


@pytest.mark.parametrize(
    "truths",
    [(0.0,) * 5, (0.5,) * 5, (0.0, 0.0, 0.5, 0.5, 0.5), (0.0, 0.5, 1.0, 2.0, 4.0), (0.0, 0.6)],
)
def test_at_most_5_families_in_100_err_whether_truths_are_zero_or_at_the_margin(
    truths: tuple[float, ...],
) -> None:
    """Known standard errors, a quarter of the margin of 0.5: there errors are likeliest."""
    rng, num = np.random.default_rng(len(truths)), 1000
    for se in (0.14, 0.125):
        observed = np.array(truths) + se * rng.normal(size=(num, len(truths)))
        zero, far = 2 * norm.sf(abs(observed) / se), norm.sf((0.5 - abs(observed)) / se)
        beyond = np.minimum(1.0, 2 * norm.sf((abs(observed) - 0.5) / se))
        wrong = 0
        for family in range(num):
            rows = zip(zero[family], far[family], beyond[family], strict=True)
            corrected = correct_pairs([pair(*map(float, row)) for row in rows])
            wrong += any(
                (p_far <= 0.05 if truth >= 0.5 else truth == 0.0 and p_zero <= 0.05 < p_far)
                for truth, (p_zero, p_far) in zip(truths, corrected, strict=True)
            )
        assert wrong / num <= 0.05 + 2.0 * (0.05 * 0.95 / num) ** 0.5
