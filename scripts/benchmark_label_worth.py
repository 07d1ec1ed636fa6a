"""How far "worth so many labelled images" can be trusted: planted learning curves of known truth.

    python scripts/benchmark_label_worth.py [--studies 200]

For each curve, number of regimes and number of replicates: how often the range holds the true
number of images, how often it has both ends, one, or none, and the same for a law of the images
and for ends that are interpolated between regimes. Ends with 1 if a line covers less than was asked
for.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from rethink_ray.judge.label_worth import (
    GRID,
    ImagesNeeded,
    SizeCurve,
    SizePoint,
    find_images_needed,
    invert_laws,
    subtract,
)
from rethink_ray.judge.size_laws import fit_size_laws

Curve = Callable[[float], float]
"""Number of images -> AP."""
SIZES = {3: (60, 160, 400), 4: (60, 120, 240, 480), 5: (50, 100, 200, 400, 800)}
ASKED = 0.95
FACTOR = 2.2
"""The arm scores what the reference would with so many times its images."""


@dataclass(frozen=True)
class Planted:
    """A pair of curves, and the noise of their replicates."""

    reference: Curve
    arm: Curve
    sds: tuple[float, float] = (2.0, 1.0)
    """Standard deviation at the smallest regime and at the largest, in AP."""
    arm_sd: float = 0.5
    """The arm's, as a share of the reference's."""
    draw_sd: float = 0.0
    """Of a draw of images, which both arms and all regimes share; above 0 each replicate has its
    own draw."""


def ahead(reference: Curve) -> Curve:
    """An arm that does with n images what the reference does with more."""
    return lambda images: reference(FACTOR * images)


def power_law(images: float) -> float:
    return 45.0 - 38.0 / math.sqrt(images / 50.0)


def saturating(images: float) -> float:
    return 36.0 * (1.0 - math.exp(-images / 110.0))


def late(images: float) -> float:
    """Nothing is learned from fewer than 150 images."""
    return 2.0 + 12.0 * max(0.0, math.log2(images / 150.0))


def plateau(images: float) -> float:
    """It stands still from 90 images to 260."""
    steps = math.log2(min(images, 90.0) / 50.0) + max(0.0, math.log2(images / 260.0))
    return 12.0 + 8.0 * steps


def logarithmic(images: float) -> float:
    return 10.0 + 6.0 * math.log2(images / 50.0)


def flat_arm(images: float) -> float:
    """It is ahead with few images and behind with many."""
    return 22.0 + 2.0 * math.log2(images / 60.0)


CURVES: Mapping[str, Planted] = {
    "power law": Planted(power_law, ahead(power_law)),
    "saturating": Planted(saturating, ahead(saturating)),
    "late start": Planted(late, ahead(late)),
    "plateau": Planted(plateau, ahead(plateau)),
    "logarithmic": Planted(logarithmic, ahead(logarithmic)),
    "crossing": Planted(logarithmic, flat_arm),
    "equal arms": Planted(power_law, power_law),
    "little noise": Planted(saturating, ahead(saturating), sds=(0.5, 0.2)),
    "unequal noise": Planted(power_law, ahead(power_law), sds=(4.0, 0.5), arm_sd=2.0),
    "own draws": Planted(power_law, ahead(power_law), draw_sd=3.0),
}


@dataclass(frozen=True, kw_only=True)
class WorthRates:
    """What became of the ranges of many planted studies."""

    covered: float
    kinds: Mapping[str, float]
    """Kind of a range -> its share."""
    by_law: float | None
    """Share of the ranges by a law that hold the truth; None: no law was stated."""
    law_stated: float
    """Share of the studies in which a law was stated."""
    interpolated: float
    """Share of ranges with interpolated ends that hold the truth."""


def draw_curves(
    planted: Planted, sizes: Sequence[int], num: int, rng: Generator
) -> tuple[SizeCurve, SizeCurve]:
    """(arm, reference) with so many replicates in each regime."""
    is_redrawn = planted.draw_sd > 0.0
    draws = rng.normal(0.0, 1.0, num) * planted.draw_sd
    curves = []
    for name, curve, share in (
        ("pretrained", planted.arm, planted.arm_sd),
        ("scratch", planted.reference, 1.0),
    ):
        points = []
        for rank, images in enumerate(sizes):
            low, high = planted.sds
            sd = share * low * (high / low) ** (rank / (len(sizes) - 1))
            values = curve(images) + rng.normal(0.0, sd, num) + draws
            points.append(
                SizePoint(
                    regime=str(images),
                    images=images,
                    length=4.0,
                    values={i: float(v) for i, v in enumerate(values)},
                    is_redrawn=is_redrawn,
                )
            )
        curves.append(SizeCurve(arm=name, points=tuple(points)))
    return curves[0], curves[1]


def find_true_need(reference: Curve, score: float) -> float:
    """The fewest images with which the reference has a score."""
    low, high = 1.0, 1e7
    if reference(high) < score:
        return math.inf
    while high / low > 1.0 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reference(middle) >= score else (middle, high)
    return high


def holds(needed: ImagesNeeded, true: float) -> bool:
    """Whether a range holds a number of images. One that fits no number holds none."""
    slack = 1.0 + 1e-6
    is_above = needed.low is None or true > needed.low / slack
    return is_above and (needed.high is None or true < needed.high * slack)


def interpolate(score: SizePoint, reference: SizeCurve) -> ImagesNeeded:
    """The range if the reference were linear in the logarithm of images between two regimes."""
    points = reference.points
    first, last = points[0].images, points[-1].images
    grid = [first * (last / first) ** (i / (GRID - 1)) for i in range(GRID)]
    ends = []
    for images in grid:
        index = next((i for i, p in enumerate(points[1:]) if images <= p.images), len(points) - 2)
        below, above = points[index], points[index + 1]
        share = math.log(images / below.images) / math.log(above.images / below.images)
        terms = [(1.0, score), (share - 1.0, below), (-share, above)]
        estimate = subtract(terms)
        ends.append(estimate.interval() if estimate else None)
    low = high = None
    for images, interval in zip(grid, ends, strict=True):
        if interval is None or interval[0] <= 0.0:
            break
        low = images
    for images, interval in zip(reversed(grid), reversed(ends), strict=True):
        if interval is None or interval[1] >= 0.0:
            break
        high = images
    return ImagesNeeded(estimate=None, low=low, high=high)


def rate_worth(
    planted: Planted, num_regimes: int, num: int, studies: int, rng: Generator, *, more: bool = True
) -> WorthRates:
    """Simulates studies and looks at the arm's worth in every regime of each.

    Args:
        planted: the truth.
        num_regimes: 3, 4 or 5.
        num: replicates of each arm in each regime.
        studies: how many to simulate.
        rng: source of all chance.
        more: also invert laws and interpolated ends, in the second regime of each study.
    """
    sizes, kinds = SIZES[num_regimes], Counter[str]()
    covered, laws, chords = 0, [], []
    for _ in range(studies):
        arm, reference = draw_curves(planted, sizes, num, rng)
        for point in arm.points:
            needed = find_images_needed(point, reference)
            kinds[needed.kind] += 1
            true = find_true_need(planted.reference, planted.arm(point.images))
            covered += holds(needed, true)
        if more:
            point = arm.points[1]
            true = find_true_need(planted.reference, planted.arm(point.images))
            chords.append(holds(interpolate(point, reference), true))
            groups = [[*p.values.values()] for p in reference.points]
            by_law = invert_laws(point, reference, fit_size_laws(sizes, groups))
            if by_law is not None:
                laws.append(holds(by_law, true))
    total = studies * num_regimes
    return WorthRates(
        covered=covered / total,
        kinds={kind: count / total for kind, count in kinds.items()},
        by_law=sum(laws) / len(laws) if laws else None,
        law_stated=len(laws) / studies,
        interpolated=sum(chords) / len(chords) if chords else math.nan,
    )


def table_lines(studies: int) -> Iterator[tuple[str, bool]]:
    """(row of the table, whether it covers what was asked for, within the simulation's error)."""
    yield (
        "| curve | regimes | replicates | holds the truth | both ends | one end | open | none fits "
        "| law: stated, holds | interpolated ends hold |",
        True,
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|", True
    for rank, (name, planted) in enumerate(CURVES.items()):
        for num_regimes in (3, 4):
            for num in (3, 5, 9):
                rng = np.random.default_rng([rank, num_regimes, num])
                rates = rate_worth(planted, num_regimes, num, studies, rng)
                slack = 3.0 * math.sqrt(ASKED * (1.0 - ASKED) / studies)
                head = f"| {name} | {num_regimes} | {num} |"
                yield f"{head} {_cells_of(rates)} |", rates.covered >= ASKED - slack


def _cells_of(rates: WorthRates) -> str:
    """The last columns of a row."""
    kinds = Counter(rates.kinds)
    one = kinds["at least"] + kinds["at most"]
    law = "-" if rates.by_law is None else f"{rates.law_stated:.0%}, {rates.by_law:.0%}"
    return (
        f"{rates.covered:.1%} | {kinds['interval']:.0%} | {one:.0%} | {kinds['open']:.0%} "
        f"| {kinds['none']:.1%} | {law} | {rates.interpolated:.0%}"
    )


def main() -> int:
    """Prints the table; 1 if a line misses what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="simulated studies a line [200]")
    lines = table_lines(parser.parse_args().studies)
    missed = 0
    for line, is_met in lines:
        print(line, flush=True)
        missed += not is_met
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
