"""Planted truth: how often intervals hold and verdicts err. Fewer studies than the benchmark runs,
fixed seeds, and twice the simulation's own error allowed on each side."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from soundness import (
    NOISES,
    Luck,
    bracket_coverage,
    false_by_luck,
    family_rates,
    importance_rates,
    normal,
    paired_coverage,
    welch_coverage,
)

from tests.analysis.planted import build_study

STUDIES = 1000
SLACK = 2.0 * (0.05 * 0.95 / STUDIES) ** 0.5


@pytest.mark.parametrize("num", [3, 5])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 4.0])
def test_welch_covers_94_to_98_percent_whatever_the_two_spreads(num: int, ratio: float) -> None:
    rng = np.random.default_rng([1, num])
    covered = welch_coverage((normal, normal), (1.0, ratio), num, STUDIES, rng)
    assert 0.94 - SLACK <= covered <= 0.98 + SLACK


@pytest.mark.parametrize("num", [3, 5])
@pytest.mark.parametrize("name", ["t4", "skewed", "5 % crashes"])
def test_welch_covers_94_to_98_percent_of_noise_that_is_not_normal(num: int, name: str) -> None:
    rng = np.random.default_rng([2, num])
    covered = welch_coverage((NOISES[name], NOISES[name]), (1.0, 1.0), num, STUDIES, rng)
    assert 0.94 - SLACK <= covered <= 0.98 + SLACK


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_has_mean_0_so_that_what_is_planted_is_the_truth(name: str) -> None:
    drawn = NOISES[name](np.random.default_rng(3), 100_000)
    assert abs(float(np.mean(drawn))) < 3.0 * float(np.std(drawn)) / 100_000**0.5


@pytest.mark.parametrize("num", [3, 5])
def test_two_rungs_of_one_trunk_are_covered_94_to_96_percent_by_the_paired_interval(
    num: int,
) -> None:
    covered = paired_coverage(normal, num, STUDIES, np.random.default_rng([4, num]))
    assert 0.94 - SLACK <= covered <= 0.96 + SLACK


@pytest.mark.parametrize("num", [3, 5])
@pytest.mark.parametrize(
    "leads", [(3.0, 2.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (2.0, 2.0, 2.0, 0.6, 0.4)]
)
def test_both_ends_of_a_catch_up_bracket_are_true_95_times_in_100(
    num: int, leads: tuple[float, ...]
) -> None:
    rng = np.random.default_rng([5, num])
    assert bracket_coverage(leads, 0.3, num, 0.5, 500, rng) >= 0.95


@pytest.mark.parametrize("effects", [(0.0,) * 6, (1.0, 0.0, 0.0, 0.0)])
def test_at_most_5_families_in_100_call_equal_arms_different(effects: tuple[float, ...]) -> None:
    study = build_study(margin=0.1)  # hardly anything is equivalent: verdicts go by the sign
    rates = family_rates(study, effects, 0.3, 5, 150, np.random.default_rng(6))
    assert rates.false_family <= 0.05 + 2.0 * (0.05 * 0.95 / 150) ** 0.5


def test_at_most_5_families_in_100_call_arms_at_the_margin_equal() -> None:
    """With an uncorrected 90 % interval one in seven such families errs."""
    effects, rng = [0.5] * 5, np.random.default_rng(12)
    rates = family_rates(build_study(), effects, 0.15, 5, 150, rng)
    assert rates.false_family <= 0.05 + 2.0 * (0.05 * 0.95 / 150) ** 0.5


def test_one_searchs_luck_is_taken_for_an_arms_lead_and_that_of_several_searches_is_not() -> None:
    luck, rng = Luck(trials=8, spread=1.0, noise=0.3), np.random.default_rng(11)
    rates = {}
    for searches, replicates in ((1, 5), (5, 1), (3, 3)):
        budget = {"trials": 8, "keep": [8, 8, 8], "replicates": replicates, "searches": searches}
        study = build_study(margin=0.01, budget=budget)
        rates[searches] = false_by_luck(study, luck, replicates, 400, rng)
    print(", ".join(f"{k} searches: {rate:.1%} false" for k, rate in rates.items()))
    slack = 2.0 * (0.05 * 0.95 / 400) ** 0.5
    assert rates[1] > 0.3
    assert rates[3] <= 0.05 + slack
    assert rates[5] <= 0.05 + slack


def test_a_point_at_noise_03_is_found_by_5_replicates_alone_95_and_of_ten_75_times_in_100() -> None:
    study, rng = build_study(), np.random.default_rng(7)
    assert family_rates(study, [1.0], 0.3, 5, 400, rng).found >= 0.95
    one_of_ten = [1.0] + [0.0] * 9
    assert family_rates(study, one_of_ten, 0.3, 5, 100, rng).found >= 0.75


@pytest.mark.parametrize(("noise", "num"), [(0.20, 4), (0.25, 6), (0.30, 8)])
def test_equal_arms_are_shown_to_be_equivalent_four_times_in_five(noise: float, num: int) -> None:
    rates = family_rates(build_study(), [0.0], noise, num, 800, np.random.default_rng(8))
    assert rates.equivalent >= 0.8


def test_five_replicates_at_noise_03_leave_half_of_equal_pairs_open() -> None:
    rates = family_rates(build_study(), [0.0], 0.3, 5, 400, np.random.default_rng(9))
    assert 0.45 <= rates.equivalent <= 0.6
    assert rates.needed is not None
    assert rates.needed >= 8


def test_importance_ranks_the_planted_parameter_first_and_never_calls_its_copy_clear() -> None:
    rates = importance_rates(0.6, 20, 100, np.random.default_rng(10))
    assert rates.first >= 0.95
    assert rates.shuffled == 0.0
    assert importance_rates(0.3, 20, 100, np.random.default_rng(10)).clear >= 0.9
