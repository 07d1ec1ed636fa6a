"""What a start is worth in labelled images: how many more the reference needs for the same score.

An arm scores s with n images, and the reference needs m images for s: the start is worth m - n. Of
the reference's curve only one thing is assumed, that its score does not fall as images are added.
So a regime where it is shown below s holds fewer than m images, and one where it is shown above s
holds at least m. Nothing is said beyond the regimes that ran.

Regimes are tested one after the other, from the fewest images up for the lower end and from the
most images down for the upper one, each only if the one before it was shown. So the first wrong
step is a single test, and both ends hold together in 95 of 100 studies without a correction for the
number of regimes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from rethink_ray.judge.size_laws import SizeLaw, fit_size_laws
from rethink_ray.judge.statistics import LEVEL, MIN_REPLICATES, Estimate, contrast

FEWEST_REGIMES = 3
"""A curve of two regimes is a straight line, whatever the truth."""
GRID = 101
"""Numbers of images, evenly spaced in their logarithm, at which a law is compared."""
WorthKind = Literal["interval", "at least", "at most", "open", "none", "not tested"]
"""``at least`` and ``at most`` have one end, ``open`` has neither. ``none``: no number of images
fits, because the reference's score does not grow with its images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePoint:
    """The scores of one arm in one regime."""

    regime: str
    images: int
    length: float
    """In units of 1x."""
    values: Mapping[int, float]
    """Seed, or draw of the images if they are drawn anew, or number of the search -> score."""
    is_redrawn: bool = False
    """Each value has a draw of images of its own. Equal keys of other points are parts of the same
    draw, and so they are subtracted before anything is averaged."""
    looks: int = 1
    """How often results were read while values were added."""

    @property
    def mean(self) -> float:
        """The mean score."""
        return fmean(self.values.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCurve:
    """The scores of one arm by its number of labelled images."""

    arm: str
    points: tuple[SizePoint, ...]
    """From the fewest images to the most, each number once; each point has values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesNeeded:
    """The numbers of images, counted from those of the arm, that the scores do not rule out."""

    estimate: float | None
    """From the mean scores; None: they do not meet between the regimes that ran."""
    low: float | None
    """It is more than this; None: no end below is shown."""
    high: float | None
    """It is at most this; None: no end above is shown."""
    is_empty: bool = False
    """The reference is shown above the score with fewer images and below it with more."""

    @property
    def kind(self) -> WorthKind:
        """Which ends it has."""
        if self.is_empty:
            return "none"
        if self.low is None:
            return "open" if self.high is None else "at most"
        return "at least" if self.high is None else "interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelWorth:
    """What an arm is worth in labelled images of the reference, in one regime."""

    arm: str
    reference: str
    regime: str
    images: int
    most_images: int
    """Of the reference's largest regime."""
    length: float
    score: float
    """Mean of the arm."""
    more_images: ImagesNeeded
    """How many more images the reference needs for that score; below zero: it needs fewer."""
    by_law: ImagesNeeded | None = None
    """The same if the reference's scores follow a law of ``size_laws``; where two fit, the range
    holds both. None with fewer than four regimes, or if none fits."""
    untested: str = ""
    """Why nothing is tested, as a clause."""

    @property
    def kind(self) -> WorthKind:
        """Which ends the range has."""
        return "not tested" if self.untested else self.more_images.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGain:
    """What the step to the next larger regime brings one arm."""

    arm: str
    regime: str
    images: int
    next_regime: str
    more_images: int
    effect: Estimate


def measure_label_worth(arm: SizeCurve, reference: SizeCurve) -> tuple[LabelWorth, ...]:
    """What an arm is worth in each of its regimes; empty below three regimes of the reference.

    Each range stands alone at 95 %.
    """
    if len(reference.points) < FEWEST_REGIMES:
        return ()
    laws = _fit_laws(reference)
    return tuple(_measure_point(arm.arm, point, reference, laws) for point in arm.points)


def _measure_point(
    arm: str, point: SizePoint, reference: SizeCurve, laws: Sequence[SizeLaw]
) -> LabelWorth:
    num = len(point.values)
    is_thin = num < MIN_REPLICATES
    by_law = None if is_thin else invert_laws(point, reference, laws)
    return LabelWorth(
        arm=arm,
        reference=reference.arm,
        regime=point.regime,
        images=point.images,
        most_images=reference.points[-1].images,
        length=point.length,
        score=point.mean,
        more_images=_count_from(point.images, find_images_needed(point, reference)),
        by_law=by_law and _count_from(point.images, by_law),
        untested=f"it has {num} of the {MIN_REPLICATES} values that an interval needs"
        if is_thin
        else "",
    )


def find_images_needed(score: SizePoint, reference: SizeCurve) -> ImagesNeeded:
    """How many images the reference needs for a score, if its own never falls with more images.

    Args:
        score: the point whose mean it must reach.
        reference: its curve.
    """
    steps = [(point.images, subtract([(1.0, score), (-1.0, point)])) for point in reference.points]
    tested = [(images, step) for images, step in steps if step and step.se is not None]
    if _falls(tested):
        return ImagesNeeded(estimate=None, low=None, high=None, is_empty=True)
    low = high = None
    for images, step in tested:
        if _side_of(step) <= 0:
            break
        low = float(images)
    for images, step in reversed(tested):
        if _side_of(step) >= 0:
            break
        high = float(images)
    return ImagesNeeded(
        estimate=_keep_inside(_meet(score, reference), low, high), low=low, high=high
    )


def _side_of(step: Estimate, level: float = LEVEL) -> int:
    """1: the score is shown above the reference; -1: below it; 0: neither."""
    interval = step.interval(level)
    if interval is None:
        return 0
    return 1 if interval[0] > 0.0 else -1 if interval[1] < 0.0 else 0


def _falls(tested: Sequence[tuple[int, Estimate]]) -> bool:
    """Whether the reference is shown above the score in one regime and below it in a larger one.

    Both are shown together, so the error is divided by the number of regimes.
    """
    level = 1.0 - (1.0 - LEVEL) / max(1, len(tested))
    sides = [_side_of(step, level) for _, step in tested]
    return -1 in sides and 1 in sides[sides.index(-1) :]


def _keep_inside(estimate: float | None, low: float | None, high: float | None) -> float | None:
    """The estimate, moved to the nearer end if it lies outside."""
    if estimate is not None:
        estimate = estimate if low is None else max(estimate, low)
        estimate = estimate if high is None else min(estimate, high)
    return estimate


def _meet(score: SizePoint, reference: SizeCurve) -> float | None:
    """Where the reference's means reach a score: linear in the logarithm of images between two.

    Means that fall are averaged first (isotonic regression). None outside the regimes.
    """
    from scipy.optimize import isotonic_regression  # takes a quarter of a second

    points, aim = reference.points, score.mean
    weights = [len(point.values) for point in points]
    means = isotonic_regression([p.mean for p in points], weights=weights).x.tolist()
    if not means[0] <= aim <= means[-1]:
        return None
    index = next(i for i, mean in enumerate(means) if mean >= aim)
    if index == 0:
        return float(points[0].images)
    below, above = means[index - 1], means[index]
    share = (aim - below) / (above - below)
    logs = [math.log(point.images) for point in points[index - 1 : index + 1]]
    return math.exp(logs[0] + share * (logs[1] - logs[0]))


def subtract(terms: Sequence[tuple[float, SizePoint]]) -> Estimate | None:
    """A weighted sum of points. Points of one draw of images are added draw by draw first.

    Points that are not drawn anew are independent groups (Welch). None if nothing is left.
    """
    redrawn = [(weight, point) for weight, point in terms if point.is_redrawn]
    groups = [(weight, [*point.values.values()]) for weight, point in terms if not point.is_redrawn]
    if redrawn:
        keys = set.intersection(*(set(point.values) for _, point in redrawn))
        sums = [math.fsum(w * point.values[key] for w, point in redrawn) for key in sorted(keys)]
        groups.append((1.0, sums))
    return contrast(groups, max(point.looks for _, point in terms))


def _fit_laws(reference: SizeCurve) -> tuple[SizeLaw, ...]:
    points = reference.points
    groups = [[*point.values.values()] for point in points]
    return fit_size_laws([point.images for point in points], groups)


def invert_laws(
    score: SizePoint, reference: SizeCurve, laws: Sequence[SizeLaw]
) -> ImagesNeeded | None:
    """The range that holds those of all laws, with the first one's estimate; None without laws."""
    ranges = [_invert_law(score, reference, law) for law in laws]
    if not ranges:
        return None
    lows, highs = [one.low for one in ranges], [one.high for one in ranges]
    return ImagesNeeded(
        estimate=ranges[0].estimate,
        low=None if None in lows else min(low for low in lows if low is not None),
        high=None if None in highs else max(high for high in highs if high is not None),
    )


def _invert_law(score: SizePoint, reference: SizeCurve, law: SizeLaw) -> ImagesNeeded:
    """The numbers of images at which the law and a score do not differ, between the regimes.

    The law's value is a weighted sum of the reference's means, so its difference from the score is
    a contrast like any other.
    """
    first, last = reference.points[0].images, reference.points[-1].images
    grid = [first * (last / first) ** (i / (GRID - 1)) for i in range(GRID)]
    ends = [_compare_with_law(score, reference, law, images) for images in grid]
    low = high = None
    for images, interval in zip(grid, ends, strict=True):
        if interval is None or interval[0] <= 0.0:
            break
        low = images
    for images, interval in zip(reversed(grid), reversed(ends), strict=True):
        if interval is None or interval[1] >= 0.0:
            break
        high = images
    meeting = law.images_for(score.mean)
    inside = meeting is not None and first <= meeting <= last
    return ImagesNeeded(estimate=meeting if inside else None, low=low, high=high)


def _compare_with_law(
    score: SizePoint, reference: SizeCurve, law: SizeLaw, images: float
) -> tuple[float, float] | None:
    """The interval of the score minus the law's value at a number of images."""
    weights = law.weights_at(images)
    terms = [(-w, point) for w, point in zip(weights, reference.points, strict=True)]
    difference = subtract([(1.0, score), *terms])
    return None if difference is None else difference.interval()


def _count_from(images: int, needed: ImagesNeeded) -> ImagesNeeded:
    """The range counted from a number of images that is there already."""
    ends = (None if x is None else x - images for x in (needed.estimate, needed.low, needed.high))
    estimate, low, high = ends
    return replace(needed, estimate=estimate, low=low, high=high)


def measure_gains(curve: SizeCurve) -> Iterable[ImageGain]:
    """What the step from each regime to the next larger one brings, in points."""
    for here, there in zip(curve.points, curve.points[1:], strict=False):
        effect = subtract([(1.0, there), (-1.0, here)])
        if effect is not None:
            yield ImageGain(
                arm=curve.arm,
                regime=here.regime,
                images=here.images,
                next_regime=there.regime,
                more_images=there.images - here.images,
                effect=effect,
            )
