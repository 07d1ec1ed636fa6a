"""Families of comparisons at a look, by hand; and the arrays of simulations against them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rethink_ray.judge.families import FamilyMember, decide_family, is_clear_of_margin
from rethink_ray.judge.spending import LookPlan
from rethink_ray.judge.statistics import Estimate, contrast, p_not_above, p_not_below

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from sequential_trials import (
    SUPPORTED,
    Family,
    Policy,
    draw_scores,
    find_clear,
    find_errors,
    measure,
    p_of_far,
    p_of_zero,
    run_fixed,
    run_studies,
    step_down,
)


def test_a_comparison_clear_of_the_margin_hands_its_share_on() -> None:
    first = FamilyMember(p_zero=0.02, is_clear=True)
    second = FamilyMember(p_zero=0.04)
    assert [d.rejects_zero for d in decide_family([first, second])] == [True, True]
    assert [d.rejects_zero for d in decide_family([second, second])] == [False, False]


def test_a_comparison_that_is_not_clear_keeps_its_share_and_so_does_a_futile_one() -> None:
    near = FamilyMember(p_zero=0.02)
    stopped = FamilyMember(p_zero=0.001, is_open=False)
    open_one = FamilyMember(p_zero=0.03)
    for other in (near, stopped):
        assert not decide_family([other, open_one])[1].rejects_zero
    gone = FamilyMember(is_open=False, has_left=True)
    (left, decided) = decide_family([gone, open_one])
    assert left.has_left
    assert not left.rejects_zero
    assert decided.rejects_zero
    assert decided.p_zero == pytest.approx(0.03)


def test_both_nulls_may_be_rejected_and_then_nothing_is_left_to_err_in() -> None:
    both = FamilyMember(p_zero=0.02, p_far=0.01)
    decisions = decide_family([both, FamilyMember(p_zero=0.04)])
    assert (decisions[0].rejects_zero, decisions[0].rejects_far) == (True, True)
    assert decisions[0].has_left
    assert decisions[1].rejects_zero


def test_a_difference_is_clear_beyond_the_margin_or_where_noise_hides_the_margin() -> None:
    def effect(value: float, se: float) -> Estimate:
        return Estimate(value=value, se=se, df=8.0, nums=(5, 5))

    # t(0.975) with 8 degrees of freedom is 2.31, t(0.95) 1.86
    assert is_clear_of_margin(effect(0.74, 0.1), 0.5)
    assert not is_clear_of_margin(effect(0.72, 0.1), 0.5)
    assert is_clear_of_margin(effect(-0.74, 0.1), 0.5)
    assert is_clear_of_margin(effect(0.0, 0.27), 0.5)
    assert not is_clear_of_margin(effect(0.0, 0.26), 0.5)
    assert not is_clear_of_margin(Estimate(value=9.0, se=None, df=None, nums=(2, 2)), 0.5)


def test_simulations_measure_and_step_down_as_the_package_does() -> None:
    rng = np.random.default_rng(5)
    truths = rng.choice([0.0, 0.3, 0.5, 1.0], size=(40, 4))
    scores = draw_scores(rng, truths, (0.1, 0.2, 0.2, 0.4, 0.1), 5)
    effects = measure(scores, 5)
    zero, far, clear = p_of_zero(effects), p_of_far(effects, 0.5), find_clear(effects, 0.5)
    is_open, left = rng.random(zero.shape) < 0.8, np.zeros(zero.shape, dtype=np.bool_)
    left[:, 0] = ~is_open[:, 0]
    stepped = step_down(Family(zero, far, clear, is_open, left))
    for study in range(len(scores)):
        members = []
        for arm in range(4):
            one = contrast(((1.0, list(scores[study, arm + 1])), (-1.0, list(scores[study, 0]))))
            assert one is not None
            sides = [p(one, 0.5) or 0.0 for p in (p_not_below, p_not_above)]
            assert (one.p_value, max(sides)) == pytest.approx((zero[study, arm], far[study, arm]))
            members.append(
                FamilyMember(
                    p_zero=one.p_value or 0.0,
                    p_far=max(sides),
                    is_clear=is_clear_of_margin(one, 0.5),
                    is_open=bool(is_open[study, arm]),
                    has_left=bool(left[study, arm]),
                )
            )
        decided = decide_family(members)
        assert [d.rejects_zero for d in decided] == stepped.rejects_zero[study].tolist()
        assert [d.rejects_far for d in decided] == stepped.rejects_far[study].tolist()
        assert [d.has_left for d in decided] == stepped.left[study].tolist()


@pytest.mark.parametrize("truth", [0.0, 0.5])
def test_at_most_5_families_in_100_err_over_all_looks(truth: float) -> None:
    """Five arms with four times the noise of the reference, all equal to it or at the margin."""
    truths = np.full((3000, 5), truth)
    sds = (0.075,) + (0.3,) * 5
    scores = draw_scores(np.random.default_rng(2), truths, sds, 9)
    outcome = run_studies(scores, Policy(LookPlan(looks=(3, 5, 7, 9)), is_futile=False))
    errors = find_errors(outcome, truths, 0.5).any(axis=1).mean()
    assert errors <= 0.05 + 2.0 * (0.05 * 0.95 / 3000) ** 0.5


def test_a_difference_of_7_noises_stops_early_and_is_found_as_often_as_with_9_replicates() -> None:
    truths = np.full((500, 1), 2.0)
    scores = draw_scores(np.random.default_rng(4), truths, (0.3, 0.3), 9)
    outcome = run_studies(scores, Policy(LookPlan(looks=(3, 5, 7, 9))))
    fixed, _ = run_fixed(scores, 0.5)
    assert (outcome.state == SUPPORTED).all()
    assert (fixed.state == SUPPORTED).all()
    assert outcome.replicates.max() <= 5
    assert outcome.saved(9) >= 4 / 9
