"""A power law of the number of images: score = top - drop x images^-exponent.

It is fitted by least squares over the means. Around the fit it is linear in the means, so its value
at any number of images is a weighted sum of them, with Welch's standard error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rethink_ray.judge.statistics import contrast

Matrix = NDArray[np.float64]

FEWEST_SIZES = 4
"""Three numbers are fitted; the fourth size says whether they fit."""
EXPONENTS = (0.1, 3.0)
"""Bounds of the exponent. A fit that ends at one of them has another shape than a power law."""
MISFIT = 0.1
"""A law is dropped if the deviations from it have a smaller p value than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """A law, and how much each mean weighs in its value."""

    sizes: tuple[int, ...]
    top: float
    drop: float
    """Points below the top at the smallest size."""
    exponent: float
    solver: tuple[tuple[float, ...], ...]
    """Three rows: how top, drop and exponent move with each mean."""

    def weights_at(self, images: float) -> tuple[float, ...]:
        """The weight of each mean in the law's value at a number of images."""
        gradient = _gradient([images / self.sizes[0]], self.drop, self.exponent)[0]
        weights = gradient @ np.array(self.solver)
        return tuple(float(weight) for weight in weights)

    def images_for(self, score: float) -> float | None:
        """The number of images at which the law reaches a score; None: at none."""
        left = self.top - score
        if left <= 0.0:
            return None
        exponent = math.log(self.drop / left) / self.exponent
        return self.sizes[0] * math.exp(exponent) if exponent < 50.0 else None


def fit_power_law(sizes: Sequence[int], groups: Sequence[Sequence[float]]) -> PowerLaw | None:
    """The law of these scores; None with fewer than four sizes, or if none fits.

    Args:
        sizes: numbers of images, rising.
        groups: the scores at each size.
    """
    if len(sizes) < FEWEST_SIZES:
        return None
    from scipy.optimize import minimize_scalar  # takes a quarter of a second

    ratios = [size / sizes[0] for size in sizes]
    means = np.array([fmean(group) for group in groups])
    weights = np.array([float(len(group)) for group in groups])
    bounds = (math.log(EXPONENTS[0]), math.log(EXPONENTS[1]))
    best = minimize_scalar(
        lambda log: _solve(ratios, means, weights, math.exp(log))[2],
        bounds=bounds,
        method="bounded",
    )
    if not bounds[0] + 0.01 < best.x < bounds[1] - 0.01:
        return None
    exponent = math.exp(best.x)
    top, drop, _ = _solve(ratios, means, weights, exponent)
    if drop <= 0.0:
        return None
    gradients = _gradient(ratios, drop, exponent)
    if not _fits(gradients, groups):
        return None
    weighted = gradients.T * weights
    solver = np.linalg.solve(weighted @ gradients, weighted)
    return PowerLaw(
        sizes=tuple(sizes),
        top=top,
        drop=drop,
        exponent=exponent,
        solver=tuple(tuple(float(x) for x in row) for row in solver),
    )


def _solve(
    ratios: Sequence[float], means: Matrix, weights: Matrix, exponent: float
) -> tuple[float, float, float]:
    """(top, drop, weighted sum of squares) of the best law with this exponent."""
    shape = np.array([[1.0, -(ratio**-exponent)] for ratio in ratios])
    root = np.sqrt(weights)
    solved = np.linalg.lstsq(shape * root[:, None], means * root, rcond=None)[0]
    left = (means - shape @ solved) * root
    return float(solved[0]), float(solved[1]), float(left @ left)


def _gradient(ratios: Sequence[float], drop: float, exponent: float) -> Matrix:
    """One row for each size: how the law's value moves with top, drop and exponent."""
    rows = [[1.0, -(r**-exponent), drop * r**-exponent * math.log(r)] for r in ratios]
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
