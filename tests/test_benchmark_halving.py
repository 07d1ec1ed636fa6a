"""The halving benchmark: its first schedule is the program's default, and tops are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benchmark_halving import (  # noqa: E402
    FORMER,
    NONE,
    SCHEDULES,
    Setting,
    choose_trials,
    count_updates,
    find_regret,
    in_one_round,
    in_rounds,
)
from halving_surfaces import FAMILIES, PlantedSurface  # noqa: E402

from rethink_ray.spec.resolve import halve  # noqa: E402


def test_the_first_schedule_is_halving_in_one_round_as_it_was() -> None:
    assert SCHEDULES[FORMER].keep(24, 4) == halve(24, 4) == (24, 12, 6, 3)
    assert SCHEDULES[FORMER].keep(8, 4) == halve(8, 4) == (8, 4, 2, 2)


def test_schedules_by_pencil() -> None:
    assert in_one_round(3, 2)(24, 4) == (24, 8, 2, 2)
    assert in_one_round(2, 1)(8, 4) == (8, 4, 2, 1)
    assert in_rounds(8, 4, 2)(24, 4) == (8, 4, 2, 2)
    assert in_rounds(8, 4, 2)(3, 4) == (3, 3, 2, 2)
    assert SCHEDULES[NONE].keep(12, 3) == (4, 4, 4)


def test_updates_by_pencil() -> None:
    """1x is 900 updates. After 2x the trunk stands at 1.333x, and after 4x at 3.333x, so 4x costs
    2.667x more and 8x another 4.667x."""
    ladder = (2.0, 4.0, 8.0)
    costs = (8 * 1800, 4 * 2400, 2 * 4200)
    assert count_updates(SCHEDULES[FORMER], ladder, 8) == pytest.approx(sum(costs), abs=10)
    every = count_updates(SCHEDULES[NONE], ladder, 4)
    assert every == pytest.approx(4 * (1800 + 2400 + 4200), abs=10)
    assert choose_trials(SCHEDULES[NONE], ladder, every + 100) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_no_configuration_beats_the_top_of_its_surface(family: str) -> None:
    for seed in range(8):
        surface = FAMILIES[family](seed)
        aps = [ap for length in (2.0, 12.0) for ap in lead_over_top(surface, length, seed)]
        assert max(aps) < 1e-6
        assert min(aps) < -0.1


def lead_over_top(surface: PlantedSurface, length: float, seed: int) -> list[float]:
    """True AP of ten random configurations, less the top of the surface."""
    rng = np.random.default_rng(seed)
    leads = []
    for _ in range(10):
        params = {}
        for path, parameter in surface.searched.items():
            low, high = parameter.bounds
            share = float(rng.random())
            is_log = parameter.kind == "log_uniform"
            params[path] = low * (high / low) ** share if is_log else low + share * (high - low)
        leads.append(surface.true_ap(params, length) - surface.best_ap(length))
    return leads


def test_a_search_has_a_regret_and_spends_the_former_defaults_updates() -> None:
    regret, updates = find_regret(Setting(schedule=FORMER, family="rate alone, drifts", seed=0))
    assert regret >= 0.0
    assert updates == pytest.approx(1.0)
