"""What a start is worth in labelled images: numbers from a pencil, and sentences."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from rethink_ray.judge.label_worth import (
    SizeCurve,
    SizePoint,
    find_images_needed,
    measure_gains,
    measure_label_worth,
    subtract,
)
from rethink_ray.judge.label_worth_words import describe_gain, describe_label_worth, round_images
from rethink_ray.judge.size_laws import fit_size_laws
from tests.golden_words import assert_says

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmark_label_worth import CURVES, power_law, rate_worth

SIZES = (100, 200, 400)


def build_point(images: int, mean: float, *, sd: float = 0.1, **more: object) -> SizePoint:
    """Three values around a mean, with this standard deviation."""
    return SizePoint(
        regime=f"r{images}",
        images=images,
        length=4.0,
        values={0: mean - sd, 1: mean, 2: mean + sd},
        **more,  # type: ignore[arg-type]
    )


def build_curve(
    arm: str, *means: float, sizes: tuple[int, ...] = SIZES, sd: float = 0.1
) -> SizeCurve:
    points = (build_point(n, mean, sd=sd) for n, mean in zip(sizes, means, strict=True))
    return SizeCurve(arm=arm, points=tuple(points))


SCRATCH = build_curve("scratch", 10.0, 20.0, 30.0)


def test_half_way_between_two_regimes_lies_their_geometric_mean() -> None:
    needed = find_images_needed(build_point(100, 15.0), SCRATCH)
    assert (needed.low, needed.high) == (100.0, 200.0)
    assert needed.estimate == pytest.approx(100.0 * math.sqrt(2.0))
    worth = measure_label_worth(build_curve("pretrained", 25.0, 25.0, 25.0), SCRATCH)[0]
    assert (worth.more_images.low, worth.more_images.high) == (100.0, 300.0)
    assert worth.more_images.estimate == pytest.approx(200.0 * math.sqrt(2.0) - 100.0)


@pytest.mark.parametrize(
    ("score", "low", "high", "kind"),
    [
        (15.0, 100.0, 200.0, "interval"),
        (20.0, 100.0, 400.0, "interval"),  # level with 200 images: neither below nor above them
        (10.0, None, 200.0, "at most"),
        (5.0, None, 100.0, "at most"),
        (30.0, 200.0, None, "at least"),
        (35.0, 400.0, None, "at least"),
    ],
)
def test_ends_are_regimes_that_are_shown_below_and_above_the_score(
    score: float, low: float | None, high: float | None, kind: str
) -> None:
    needed = find_images_needed(build_point(100, score), SCRATCH)
    assert (needed.low, needed.high, needed.kind) == (low, high, kind)


def test_beyond_the_regimes_that_ran_there_is_no_estimate() -> None:
    for score in (5.0, 35.0):
        assert find_images_needed(build_point(100, score), SCRATCH).estimate is None


def test_scores_that_spread_widely_leave_it_open() -> None:
    wide = SizeCurve(
        arm="scratch",
        points=tuple(
            build_point(n, m, sd=30.0) for n, m in zip(SIZES, (10.0, 20.0, 30.0), strict=True)
        ),
    )
    needed = find_images_needed(build_point(100, 20.0, sd=30.0), wide)
    assert (needed.low, needed.high, needed.kind) == (None, None, "open")


def test_a_reference_that_loses_by_more_images_fits_no_number() -> None:
    falling = build_curve("scratch", 20.0, 30.0, 10.0)
    assert find_images_needed(build_point(100, 15.0), falling).kind == "none"
    dip = build_curve("scratch", 10.0, 30.0, 20.0, 30.0, sizes=(*SIZES, 800))
    assert find_images_needed(build_point(100, 25.0), dip).kind == "none"
    assert find_images_needed(build_point(100, 15.0), dip).kind == "interval"


def test_a_step_that_is_not_shown_ends_the_walk_whatever_comes_behind_it() -> None:
    thin = SizePoint(regime="r200", images=200, length=4.0, values={0: 10.0, 1: 30.0, 2: 20.0})
    curve = SizeCurve(arm="scratch", points=(SCRATCH.points[0], thin, build_point(400, 15.0)))
    assert find_images_needed(build_point(100, 25.0), curve).low == 100.0


def test_each_look_widens_the_range() -> None:
    # 15 against 10 with sd 1 each: t = 5 / sqrt(2 / 3) = 6.1 on 4 degrees, p = 0.0036
    reference = SizeCurve(
        arm="scratch",
        points=tuple(
            build_point(n, m, sd=1.0) for n, m in zip(SIZES, (10.0, 20.0, 30.0), strict=True)
        ),
    )
    once = find_images_needed(build_point(100, 15.0, sd=1.0), reference)
    often = find_images_needed(build_point(100, 15.0, sd=1.0, looks=20), reference)
    assert once.low == 100.0
    assert often.low is None


def test_draws_of_images_are_subtracted_draw_by_draw() -> None:
    draws = {0: -9.0, 1: 0.0, 2: 9.0}
    many = SizePoint(
        regime="a",
        images=200,
        length=4.0,
        values={key: 20.0 + draw + 0.1 * key for key, draw in draws.items()},
        is_redrawn=True,
    )
    few = SizePoint(
        regime="b",
        images=100,
        length=4.0,
        values={key: 15.0 + draw for key, draw in draws.items()},
        is_redrawn=True,
    )
    paired = subtract([(1.0, many), (-1.0, few)])
    assert paired is not None
    assert paired.value == pytest.approx(5.1)
    assert paired.se == pytest.approx(0.1 / math.sqrt(3.0))
    assert paired.nums == (3,)


def test_two_regimes_are_no_scale_and_two_values_no_range() -> None:
    assert measure_label_worth(SCRATCH, build_curve("x", 1.0, 2.0, sizes=(100, 200))) == ()
    lone = SizePoint(regime="r", images=100, length=4.0, values={0: 15.0, 1: 16.0})
    (worth,) = measure_label_worth(SizeCurve(arm="pretrained", points=(lone,)), SCRATCH)
    assert (worth.kind, worth.more_images.kind) == ("not tested", "open")


def test_the_step_to_the_next_regime_is_all_that_is_said_of_more_images() -> None:
    first, second = measure_gains(SCRATCH)
    assert (first.more_images, first.next_regime) == (100, "r200")
    assert (first.effect.value, second.effect.value) == (10.0, 10.0)
    assert second.more_images == 200


def test_a_power_law_without_noise_is_found_and_weighs_the_means() -> None:
    sizes = (50, 100, 200, 400)
    groups = [[power_law(n) - 0.1, power_law(n), power_law(n) + 0.1] for n in sizes]
    (law,) = [law for law in fit_size_laws(sizes, groups) if law.shape == "power law"]
    assert (law.top, law.rate) == pytest.approx((45.0, 0.5), rel=1e-3)
    weights = law.weights_at(150.0)
    assert sum(weights) == pytest.approx(1.0)
    means = [power_law(n) for n in sizes]
    value = sum(w * m for w, m in zip(weights, means, strict=True))
    assert value == pytest.approx(power_law(150.0), abs=1e-3)
    assert law.images_for(power_law(150.0)) == pytest.approx(150.0, rel=1e-3)
    assert law.images_for(46.0) is None


def test_a_plateau_and_a_straight_line_follow_no_law() -> None:
    sizes = (50, 100, 200, 400)
    for means in ((10.0, 10.0, 10.0, 30.0), (10.0, 20.0, 30.0, 40.0)):
        groups = [[mean - 0.1, mean, mean + 0.1] for mean in means]
        assert fit_size_laws(sizes, groups) == ()
    assert fit_size_laws(sizes[:3], [[1.0, 2.0, 3.0]] * 3) == ()


def test_an_exponential_approach_is_told_from_a_power_law() -> None:
    sizes = (50, 100, 200, 400)
    means = [36.0 - 30.0 * math.exp(-0.6 * (n / 50 - 1.0)) for n in sizes]
    (law,) = fit_size_laws(sizes, [[mean - 0.1, mean, mean + 0.1] for mean in means])
    assert law.shape == "exponential"
    assert (law.top, law.rate) == pytest.approx((36.0, 0.6), rel=1e-3)
    assert law.images_for(means[2]) == pytest.approx(200.0, rel=1e-3)


def test_four_regimes_that_follow_a_power_law_narrow_the_range() -> None:
    sizes = (50, 100, 200, 400)
    reference = build_curve("scratch", *(power_law(n) for n in sizes), sizes=sizes)
    arm = build_curve("pretrained", *(power_law(3.0 * n) for n in sizes), sizes=sizes)
    worth = measure_label_worth(arm, reference)[0]
    assert (worth.more_images.low, worth.more_images.high) == (50.0, 150.0)
    law = worth.by_law
    assert law is not None
    assert law.low is not None
    assert law.high is not None
    assert 50.0 < law.low < 100.0 < law.high < 150.0
    assert law.estimate == pytest.approx(100.0, rel=1e-2)


def test_every_kind_of_range_is_a_sentence() -> None:
    arms = {
        "interval": (15.0, 25.0, 25.0),
        "fewer": (5.0, 5.0, 15.0),
        "level": (10.0, 20.0, 30.0),
        "beyond": (35.0, 35.0, 35.0),
    }
    falling = build_curve("scratch", 20.0, 30.0, 10.0)
    for worth in measure_label_worth(build_curve("pretrained", 15.0, sizes=(100,)), falling):
        assert_says("judge", "worth: none", describe_label_worth(worth, "AP"))
    for name, means in arms.items():
        for worth in measure_label_worth(build_curve("pretrained", *means), SCRATCH):
            key = f"worth: {name} on {worth.images}"
            assert_says("judge", key, describe_label_worth(worth, "AP"))
    gain = next(iter(measure_gains(SCRATCH)))
    assert_says("judge", "worth: more images", describe_gain(gain, "AP"))


@pytest.mark.parametrize(
    ("images", "text"), [(163.2, "160"), (-163.2, "-160"), (0.4, "0"), (12.3, "12"), (9.6, "10")]
)
def test_an_estimate_has_two_digits(images: float, text: str) -> None:
    assert round_images(images) == text


@pytest.mark.parametrize("name", ["plateau", "unequal noise"])
def test_the_true_number_is_inside_95_times_in_100(name: str) -> None:
    rates = rate_worth(CURVES[name], 3, 3, 100, np.random.default_rng(1), more=False)
    assert rates.covered >= 0.95 - 2.0 * (0.05 * 0.95 / 100) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("num", [3, 5, 9])
@pytest.mark.parametrize("num_regimes", [3, 4, 5])
@pytest.mark.parametrize("name", CURVES)
def test_whatever_the_curve_the_true_number_is_inside_95_times_in_100(
    name: str, num_regimes: int, num: int
) -> None:
    rng = np.random.default_rng([2, num_regimes, num])
    rates = rate_worth(CURVES[name], num_regimes, num, 600, rng, more=False)
    print(f"{name}: {rates.covered:.1%}, {dict(rates.kinds)}")
    assert rates.covered >= 0.95 - 2.0 * (0.05 * 0.95 / 600) ** 0.5
