"""What a number of replicates decides: against a pencil, and against simulated verdicts."""

import math

import numpy as np
import pytest

from rethink_ray.judge.catch_up import find_bracket
from rethink_ray.judge.claims import judge_claims, measure_claims
from rethink_ray.judge.judging import judge_study
from rethink_ray.judge.measurements import Difference
from rethink_ray.judge.power import Simulation, count_replicates_needed
from rethink_ray.judge.rules import DecisionRule, rule_of
from rethink_ray.judge.statistics import contrast
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import Claim
from tests.analysis.planted import build_study
from tests.judge.rows import build_samples

ABOVE, NOT_BELOW = rule_of("above", 0.5), rule_of("not_below", 0.5)
CATCHES_UP, EQUAL = rule_of("catches_up", 0.5), rule_of("equal", 0.5)
SPREAD = (math.sqrt(0.5), 0.0, -math.sqrt(0.5))
"""Three values of mean 0 whose sd is sqrt(0.5); times sqrt(2) it is 1."""


def _needed(difference: float, sd: float, rule: DecisionRule, more_than: int = 3) -> int | None:
    return count_replicates_needed(difference, (sd, sd), rule, more_than)


def test_a_true_zero_at_noise_03_and_margin_05_needs_about_8_replicates() -> None:
    assert _needed(0.0, 0.3, ABOVE, more_than=5) == 8


def test_a_smaller_difference_needs_more_replicates() -> None:
    """With half the difference the standard error must halve: about four times as many."""
    needed = [_needed(d, 0.3, rule_of("above", 0.05), more_than=2) for d in (0.4, 0.2)]
    assert needed == [10, 37]


def test_a_catch_up_of_equal_arms_at_sd_1_needs_64_and_not_behind_alone_51() -> None:
    """0.5 / sqrt(2 / 64) = 2.83 just exceeds t(0.975, 126) + t(0.8, 126) = 1.979 + 0.845 = 2.82.

    At 5 % on one side it is t(0.95) + t(0.8) = 2.505, and 0.5 / sqrt(2 / 51) = 2.525.
    """
    assert _needed(0.0, 1.0, CATCHES_UP) == 64
    assert _needed(0.0, 1.0, NOT_BELOW) == 51


@pytest.mark.parametrize(("num", "low", "high"), [(64, 0.77, 0.83), (51, 0.66, 0.74)])
def test_64_replicates_decide_a_catch_up_four_times_in_five_and_51_do_not(
    num: int, low: float, high: float
) -> None:
    """The verdict itself, over 1,500 simulated studies of two equal arms with sd 1."""
    rng = np.random.default_rng(64)
    decided = 0
    for _ in range(1500):
        arms = rng.normal(size=(2, num))
        effect = contrast(((1.0, arms[0].tolist()), (-1.0, arms[1].tolist())))
        chase = Difference(terms=(), scale="points", effect=effect)
        decided += find_bracket([(6.0, chase)], 0.5).caught_up_from is not None
    assert low <= decided / 1500 <= high


def test_a_declared_catch_up_and_the_study_s_own_ask_for_the_same_replicates() -> None:
    """Equal arms, three replicates, sd 1, margin 0.5: 64 in the finding and in the claim."""
    values = [v * math.sqrt(2.0) for v in SPREAD]
    rows = {(arm, n): values for arm in ("scratch", "pretrained") for n in (2.0, 4.0)}
    samples = build_samples(rows)
    judged = judge_study(build_study(), samples)
    (own,) = [f for f in judged.findings if f.kind == "catch_up"]
    claim = Claim(
        says="scratch catches up",
        side={"arm": "scratch"},
        against={"arm": "pretrained"},
        match=("regime", "metric"),
        expect="catches_up",
    )
    measured = measure_claims({"chase": claim}, samples, 0.5)
    ((declared,),) = (o.findings for o in judge_claims(measured, "replicates", judged.corrections))
    assert own.verdict is declared.verdict is Verdict.INCONCLUSIVE
    assert own.needed == declared.needed == 64
    assert "about 64 replicates per arm would decide" in own.sentence
    assert "about 64 replicates per arm would decide" in declared.sentence


def test_not_behind_by_the_margin_is_one_sided_and_so_needs_fewer() -> None:
    """(0.5 - 0) / (0.3 sqrt(2 / n)) must exceed t(0.975) + t(0.8): n = 7 gives 3.12 > 3.05."""
    assert _needed(0.0, 0.3, CATCHES_UP) == 7
    assert _needed(0.4, 1.0, ABOVE) == 100
    assert _needed(0.4, 1.0, CATCHES_UP) == 21


def test_a_difference_that_is_not_zero_does_not_decide_whether_two_are_equal() -> None:
    """1.0 ahead at margin 0.5: only an interval beyond the margin, 0.5 away, contradicts it."""
    assert _needed(1.0, 0.3, ABOVE) == 4
    assert _needed(1.0, 0.3, EQUAL) == _needed(0.5, 0.3, rule_of("above", 1e-9)) == 7


def test_a_correction_and_a_second_look_ask_for_more() -> None:
    plain = _needed(0.5, 0.3, rule_of("above", 0.01))
    among_ten = _needed(0.5, 0.3, rule_of("above", 0.01, apart_by=10.0))
    assert (plain, among_ten) == (7, 12)
    assert rule_of("not_below", 0.5, margin_by=2.0).margin_error == 0.025
    assert rule_of("catches_up", 0.5).margin_error == 0.025
    assert rule_of("catches_up", 0.5, margin_by=4.0).margin_error == 0.0125


def test_what_a_hundred_replicates_cannot_decide_has_no_number() -> None:
    assert _needed(0.5, 3.0, ABOVE) is None
    assert _needed(5.0, 0.1, ABOVE, more_than=7) == 8


@pytest.mark.parametrize(("rule", "noise"), [(ABOVE, 0.3), (NOT_BELOW, 0.3), (CATCHES_UP, 0.3)])
def test_a_plan_and_a_verdict_ask_for_about_the_same_replicates(
    rule: DecisionRule, noise: float
) -> None:
    after = _needed(0.0, noise, rule, more_than=2)
    before = Simulation(noise=noise, seed=0).power(2, 5, rule).equal_replicates
    assert after is not None
    assert before is not None
    assert abs(after - before) <= 1


def test_four_times_in_five_the_number_it_asks_for_decides() -> None:
    needed = _needed(0.0, 0.3, ABOVE)
    assert needed is not None
    study, decided = build_study(schedule={"unit": 60, "lengths": [2]}), 0
    rng = np.random.default_rng(3)
    for _ in range(300):
        rows = {
            (arm, 2.0): (0.3 * rng.normal(size=needed)).tolist()
            for arm in ("scratch", "pretrained")
        }
        headline, *_ = judge_study(study, build_samples(rows)).findings
        decided += headline.verdict is not Verdict.INCONCLUSIVE
    assert 0.75 <= decided / 300 <= 0.95
