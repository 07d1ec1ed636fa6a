"""Laws of the number of images: a score that rises towards a top, fast at first.

Two shapes are tried, a power law (top - drop x ratio^-rate) and an exponential (top - drop x
exp(-rate x (ratio - 1))), with ``ratio`` the images as a multiple of the smallest regime's. They
are fitted by least squares over the means. Around the fit a law is linear in the means, so its
value at any number of images is a weighted sum of them, with Welch's standard error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rethink_ray.judge.statistics import contrast

Matrix = NDArray[np.float64]
LawShape = Literal["power law", "exponential"]

LAW_SHAPES: tuple[LawShape, ...] = ("power law", "exponential")
FEWEST_SIZES = 4
"""Three numbers are fitted; the fourth size says whether they fit."""
RATES = (0.1, 3.0)
"""Bounds of the rate. A fit that ends at one of them has another shape."""
MISFIT = 0.1
"""A law is dropped if the deviations from it have a smaller p value than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLaw:
    """A law, and how much each mean weighs in its value."""

    shape: LawShape
    sizes: tuple[int, ...]
    top: float
    drop: float
    """Points below the top at the smallest size."""
    rate: float
    solver: tuple[tuple[float, ...], ...]
    """Three rows: how top, drop and rate move with each mean."""

    def weights_at(self, images: float) -> tuple[float, ...]:
        """The weight of each mean in the law's value at a number of images."""
        ratio = images / self.sizes[0]
        gradient = _gradient(self.shape, [ratio], self.drop, self.rate)[0]
        return tuple(float(weight) for weight in gradient @ np.array(self.solver))

    def images_for(self, score: float) -> float | None:
        """The number of images at which the law reaches a score; None: at none."""
        left = self.top - score
        if left <= 0.0:
            return None
        steps = math.log(self.drop / left) / self.rate
        if self.shape == "exponential":
            return self.sizes[0] * (1.0 + steps)
        return self.sizes[0] * math.exp(steps) if steps < 50.0 else None


def fit_size_laws(sizes: Sequence[int], groups: Sequence[Sequence[float]]) -> tuple[SizeLaw, ...]:
    """The laws that these scores do not contradict; none with fewer than four sizes.

    Args:
        sizes: numbers of images, rising.
        groups: the scores at each size.
    """
    if len(sizes) < FEWEST_SIZES:
        return ()
    fitted = (_fit_shape(shape, sizes, groups) for shape in LAW_SHAPES)
    return tuple(law for law in fitted if law is not None)


def _fit_shape(
    shape: LawShape, sizes: Sequence[int], groups: Sequence[Sequence[float]]
) -> SizeLaw | None:
    from scipy.optimize import minimize_scalar  # takes a quarter of a second

    ratios = [size / sizes[0] for size in sizes]
    means = np.array([fmean(group) for group in groups])
    weights = np.array([float(len(group)) for group in groups])
    low, high = (math.log(bound) for bound in RATES)
    best = minimize_scalar(
        lambda log: _solve(shape, ratios, means, weights, math.exp(log))[2],
        bounds=(low, high),
        method="bounded",
    )
    rate = math.exp(best.x)
    top, drop, _ = _solve(shape, ratios, means, weights, rate)
    if not low + 0.01 < best.x < high - 0.01 or drop <= 0.0:
        return None
    gradients = _gradient(shape, ratios, drop, rate)
    if not _fits(gradients, groups):
        return None
    weighted = gradients.T * weights
    solver = np.linalg.solve(weighted @ gradients, weighted)
    return SizeLaw(
        shape=shape,
        sizes=tuple(sizes),
        top=top,
        drop=drop,
        rate=rate,
        solver=tuple(tuple(float(x) for x in row) for row in solver),
    )


def _left(shape: LawShape, ratio: float, rate: float) -> float:
    """The part of the drop that is left at a multiple of the smallest size."""
    return math.exp(-rate * (math.log(ratio) if shape == "power law" else ratio - 1.0))


def _solve(
    shape: LawShape, ratios: Sequence[float], means: Matrix, weights: Matrix, rate: float
) -> tuple[float, float, float]:
    """(top, drop, weighted sum of squares) of the best law with this rate."""
    columns = np.array([[1.0, -_left(shape, ratio, rate)] for ratio in ratios])
    root = np.sqrt(weights)
    solved = np.linalg.lstsq(columns * root[:, None], means * root, rcond=None)[0]
    deviations = (means - columns @ solved) * root
    return float(solved[0]), float(solved[1]), float(deviations @ deviations)


def _gradient(shape: LawShape, ratios: Sequence[float], drop: float, rate: float) -> Matrix:
    """One row for each size: how the law's value moves with top, drop and rate."""
    rows = []
    for ratio in ratios:
        left = _left(shape, ratio, rate)
        distance = math.log(ratio) if shape == "power law" else ratio - 1.0
        rows.append([1.0, -left, drop * left * distance])
    return np.array(rows)


def _fits(gradients: Matrix, groups: Sequence[Sequence[float]]) -> bool:
    """Whether no contrast of the means that a law leaves at zero is shown to differ from it."""
    directions = np.linalg.svd(gradients.T)[2][3:]
    deviations = [
        contrast([(float(w), group) for w, group in zip(row, groups, strict=True)])
        for row in directions
    ]
    p_values = [one.p_value for one in deviations if one is not None]
    return all(p is not None and p >= MISFIT / len(p_values) for p in p_values)
