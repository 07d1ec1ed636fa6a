"""What a plan promises, held against numbers simulated elsewhere and against the findings."""

import numpy as np
import pytest

from rethink_ray.analysis.power import Power, measure_noise, plan_power, power_lines
from rethink_ray.records.state import StudyState
from rethink_ray.spec.errors import SpecError
from tests.analysis.planted import TREE, Planted, build_facts, build_study, written
from tests.judge.two_groups import welch

AHEAD = {
    "says": "pre-training ends ahead",
    "side": {"arm": "pretrained"},
    "against": {"arm": "scratch"},
    "where": {"metric": "ap"},
    "match": ["regime", "metric"],
}


def _plan(replicates: int, noise: float, **changes: object) -> dict[str, Power]:
    budget = {"trials": 2, "keep": [2, 2, 2], "replicates": replicates}
    study = build_study(budget=budget, **changes)
    return {p.name.partition(":")[0]: p for p in plan_power(study, build_facts(study), noise)}


@pytest.mark.parametrize(
    ("replicates", "noise", "chance"),
    [
        (3, 0.2, 0.55),
        (3, 0.3, 0.17),
        (5, 0.2, 0.94),
        (5, 0.3, 0.53),
        (8, 0.3, 0.87),
        (8, 0.4, 0.52),
    ],
)
def test_the_chance_of_equivalence_is_what_20000_simulated_studies_had(
    replicates: int, noise: float, chance: float
) -> None:
    assert _plan(replicates, noise)["headlines"].equal == pytest.approx(chance, abs=0.02)


def test_the_smallest_difference_is_found_four_times_in_five_by_welch_itself() -> None:
    smallest = _plan(5, 0.3)["headlines"].smallest
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(2000):
        lead = welch(rng.normal(smallest, 0.3, 5).tolist(), rng.normal(0.0, 0.3, 5).tolist())
        assert lead is not None
        found += (lead.p_value or 1.0) < 0.05 and lead.value > 0
    assert 0.77 <= found / 2000 <= 0.83


def test_true_zero_noise_03_and_margin_05_need_about_8_replicates_to_be_equivalent() -> None:
    assert _plan(5, 0.3)["headlines"].equal_replicates == 8


def test_a_larger_family_sees_only_larger_differences() -> None:
    alone = _plan(5, 0.3)["headlines"]
    claims = {"ahead": {**AHEAD, "rung": "each", "primary": True}}
    together = _plan(5, 0.3, claims=claims)
    assert (alone.level, together["headlines"].level) == (0.05, pytest.approx(0.05 / 4))
    assert together["headlines"].smallest > alone.smallest
    assert together["headlines"].equal < alone.equal
    assert together["ahead"].num_comparisons == 3


def test_a_difference_of_differences_needs_more_than_a_difference() -> None:
    regimes = {"full": {"images": "all"}, "small": {"images": 60}}
    powers = _plan(5, 0.3, regimes=regimes)
    assert (powers["headlines"].num_comparisons, powers["headlines"].num_groups) == (2, 2)
    assert powers["zoph_2020/labels"].num_groups == 4
    assert powers["zoph_2020/labels"].smallest > powers["he_2018/slow-start"].smallest
    assert powers["he_2018/catch-up"].one_sided
    assert "li_2021/direct" not in powers  # no such arm


def test_the_plan_prints_each_comparison_once() -> None:
    study = build_study()
    lines = list(power_lines(plan_power(study, build_facts(study), 0.3), 0.3, study))
    assert lines[0].startswith("with noise 0.3 AP between replicates and 3 replicates an arm")
    assert sum(line.startswith("headlines: ") for line in lines) == 1
    assert sum("not behind" in line for line in lines) == 2  # catch-up, same and best


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_must_be_a_number_above_zero(noise: float) -> None:
    with pytest.raises(SpecError, match=r"plan --noise: must be a number above zero"):
        _plan(3, noise)


def test_two_replicates_give_no_interval_and_so_no_power() -> None:
    with pytest.raises(SpecError, match=r"budget\.replicates: must be at least 3 .*, but got 2"):
        _plan(2, 0.3)


def test_a_study_measures_its_own_noise_whatever_its_arms_differ_by() -> None:
    scores = {
        ("scratch", 2.0): (9.0, 10.0, 11.0),  # sd 1
        ("pretrained", 2.0): (47.0, 50.0, 53.0),  # sd 3, 40 points above
    }
    budget = {"trials": 1, "keep": [1], "replicates": 3}
    study = build_study(schedule={**TREE["schedule"], "lengths": [2]}, budget=budget)
    planted = Planted(study, written(scores))
    noise = measure_noise(study, planted.facts, StudyState(planted.events()))
    assert noise == pytest.approx((1**2 + 3**2) ** 0.5 / 2**0.5)


def test_a_study_that_has_not_begun_has_shown_no_noise() -> None:
    study = build_study()
    with pytest.raises(SpecError, match="run the study for a while"):
        measure_noise(study, build_facts(study), StudyState([]))
