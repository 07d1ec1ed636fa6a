"""Intervals and estimates after looks: they widen, and they undo the luck of early stops."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from rethink_ray.judge.spending import LookPlan, nominal_levels
from rethink_ray.judge.stage_estimates import estimate_median, estimate_stage
from rethink_ray.judge.statistics import Estimate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmark_sequential import estimate_medians, find_misses
from sequential_trials import Policy, at_the_end, draw_scores, run_studies

PLAN = LookPlan(looks=(3, 5, 7, 9), spending="hwang_shih_decani_4")


def effect(value: float, num: int, sd: float = 1.0) -> Estimate:
    return Estimate(value=value, se=sd * (2 / num) ** 0.5, df=2.0 * num - 2, nums=(num, num))


def test_the_repeated_interval_has_the_level_of_its_look_and_the_family_one_is_wider() -> None:
    looks = [effect(1.0, 3), effect(1.2, 5)]
    estimates = estimate_stage(PLAN, looks, num_compared=5)
    assert estimates is not None
    assert estimates.repeated == looks[1].interval(1.0 - nominal_levels(PLAN, 0.05)[1])
    assert estimates.family == looks[1].interval(1.0 - nominal_levels(PLAN, 0.01)[1])
    plain = looks[1].interval()
    assert plain is not None
    assert estimates.family[0] < estimates.repeated[0] < plain[0]
    assert plain[1] < estimates.repeated[1] < estimates.family[1]


def test_without_an_earlier_look_or_without_noise_the_estimate_is_the_plain_difference() -> None:
    assert estimate_median(PLAN, [effect(1.0, 3)], 0.05) == 1.0
    assert estimate_median(PLAN, [effect(1.0, 3, 0.0), effect(1.5, 5, 0.0)], 0.05) == 1.5
    unknown = Estimate(value=1.0, se=None, df=None, nums=(2, 2))
    assert estimate_stage(PLAN, [unknown], 1) is None


def test_two_looks_at_a_known_noise_have_the_estimate_of_the_textbook() -> None:
    # Jennison & Turnbull 2000, 8.4: under the estimate, "decided for this side at the first look,
    # or not decided there and so large at the second" has a chance of one half
    plan, se = LookPlan(looks=(3, 5), spending="hwang_shih_decani_4"), (2 / 3) ** 0.5
    first, second = replace(effect(1.5, 3), df=1e9), replace(effect(1.6, 5), df=1e9)
    truth = estimate_median(plan, [first, second], 0.05)
    edge = float(ndtri(1.0 - nominal_levels(plan, 0.05)[0] / 2.0)) * se
    both = multivariate_normal(mean=[truth, truth], cov=[[2 / 3, 2 / 5], [2 / 5, 2 / 5]])
    below, lower = (float(ndtr((bound - truth) / se)) for bound in (edge, -edge))
    at_second = (below - both.cdf([edge, 1.6])) - (lower - both.cdf([-edge, 1.6]))
    assert 1.0 - below + at_second == pytest.approx(0.5, abs=1e-4)
    assert 1.4 < truth < 1.59


def test_an_estimate_behind_is_the_mirror_image_of_one_ahead() -> None:
    ahead = estimate_median(PLAN, [effect(1.0, 3), effect(2.5, 5)], 0.05)
    behind = estimate_median(PLAN, [effect(-1.0, 3), effect(-2.5, 5)], 0.05)
    assert ahead == pytest.approx(-behind)


def test_a_stop_at_the_third_look_is_shrunk_because_earlier_ones_could_have_decided() -> None:
    looks = [effect(1.5, 3), effect(1.6, 5), effect(1.6, 7)]
    assert 1.2 < estimate_median(PLAN, looks, 0.05) < 1.6


def test_the_estimate_is_too_high_in_half_of_all_studies_and_repeated_intervals_cover() -> None:
    truths = np.full((300, 1), 1.5)
    scores = draw_scores(np.random.default_rng(8), truths, (1.0, 1.0), 9)
    policy = Policy(PLAN, is_futile=False)
    outcome = run_studies(scores, policy)
    unbiased = estimate_medians(policy, outcome)
    plain = at_the_end(outcome).value[:, 0]
    early = outcome.ended[:, 0] < 3
    assert np.mean(unbiased > 1.5) == pytest.approx(0.5, abs=0.06)
    assert abs(np.mean(unbiased) - 1.5) < abs(np.mean(plain) - 1.5)
    assert np.mean(plain[early]) - 1.5 > 0.2
    assert np.mean(unbiased[early]) - 1.5 > 0.1, "it is unbiased over all stops, not given one"
    assert (
        find_misses(policy, outcome, truths, 0.05).mean() <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5
    )
