"""What a verdict costs: planted surfaces, the rivals' rules, and one rule of verdicts for all."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from verdicts.surfaces import (  # noqa: E402
    ARMS,
    FAMILIES,
    LENGTHS,
    NOISE_SDS,
    QUESTIONS,
    ArmSurface,
    Question,
    draw_surface,
    draw_surfaces,
)

from rethink_ray.analysis.read.published_tables import load_published  # noqa: E402

RANDOM = ArmSurface(level=41.3, patience=1.0, best_rate=-2.0, drift=0.3, steepness=4.0, sd=0.2)


def published_aps(table: str, **labels: str) -> dict[str, float]:
    """Schedule -> AP of the rows that carry these labels."""
    rows = load_published(f"published:{table}").rows
    labels = {"metric": "ap"} | labels
    chosen = [row for row in rows if all(row.labels[k] == v for k, v in labels.items())]
    return {row.labels["schedule"]: row.value for row in chosen}


def test_surfaces_have_the_published_numbers_at_their_lengths() -> None:
    surface = draw_surface("he_2018", "quiet", 3)
    for arm, init in (("reference", "random"), ("second", "imagenet")):
        published = published_aps("he_2018", backbone="resnet50", init=init, regime="coco_full")
        assert len(published) == 5
        for schedule, ap in published.items():
            length = float(schedule.removesuffix("x"))
            assert surface.arms["full", arm].best_ap(length) == pytest.approx(ap, abs=0.02)
    for regime, levels in (("coco_3.5k", (9.3, 16.0)), ("coco_1k", (5.4, 9.9))):
        index = ("coco_3.5k", "coco_1k").index(regime)
        assert FAMILIES["he_2018_small"].levels is not None
        assert FAMILIES["he_2018_small"].levels[index][:2] == levels


def test_best_rates_fall_with_length_and_too_high_a_rate_costs_twice_as_much() -> None:
    assert RANDOM.true_ap(0.01, 2.0) == pytest.approx(36.79, abs=0.01)
    assert RANDOM.true_ap(0.001, 2.0) == pytest.approx(36.79 - 4.0, abs=0.01)
    assert RANDOM.true_ap(0.01 * 10**0.5, 2.0) == pytest.approx(36.79 - 2 * 4.0 / 4, abs=0.01)
    assert RANDOM.true_ap(0.01 * 10**0.85, 2.0) == 0.0  # diverges
    assert RANDOM.true_ap(0.01 * 10**-0.3, 6.0) == pytest.approx(41.3)


def test_a_run_that_is_looked_at_before_its_drop_lies_six_points_lower() -> None:
    best = 10 ** (-2.0 - 0.3)
    lower = RANDOM.true_ap(best, 6.0) - RANDOM.ap_before_drop(best, 6.0)
    assert lower == pytest.approx(6.5, abs=0.05)
    high = RANDOM.true_ap(0.01, 6.0) - RANDOM.ap_before_drop(0.01, 6.0)
    assert high > lower + 2.0


def test_truths_are_differences_of_arms_at_their_own_best_rates() -> None:
    surface = draw_surface("he_2018", "noisy", 0)
    leads = {length: surface.truth(Question(regime="full", arm="second", length=length))
             for length in LENGTHS}  # fmt: skip
    assert leads[2.0] == pytest.approx(3.5, abs=0.02)
    assert leads[6.0] == pytest.approx(-0.2)
    assert not any(draw_surface("equal", "quiet", 1).truth(question) for question in QUESTIONS)
    assert len(QUESTIONS) == 12


def test_surfaces_repeat_with_their_number_and_noise_with_its_run() -> None:
    surface = draw_surface("drawn", "quiet", 5)
    assert surface == draw_surface("drawn", "quiet", 5)
    assert surface.arms != draw_surface("drawn", "quiet", 6).arms
    cell = ("full", ARMS[0])
    assert surface.measure(cell, 0.02, "a", 6.0) == surface.measure(cell, 0.02, "a", 6.0)
    assert surface.measure(cell, 0.02, "a", 6.0) != surface.measure(cell, 0.02, "b", 6.0)
    errors = [
        surface.measure(cell, 0.02, run, 6.0) - surface.arms[cell].true_ap(0.02, 6.0)
        for run in range(400)
    ]
    spread = (sum(error**2 for error in errors) / 400) ** 0.5
    assert spread == pytest.approx(NOISE_SDS["quiet"][0], rel=0.15)
    assert len(list(draw_surfaces(2))) == 2 * 2 * len(FAMILIES)
