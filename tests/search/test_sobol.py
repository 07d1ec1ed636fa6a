"""Sobol points drawn with numpy are those of scipy, digit for digit."""

import numpy as np
import pytest
from scipy.stats import qmc

from rethink_ray.search.sobol import MOST_DIMENSIONS, draw_sobol


@pytest.mark.parametrize("num_dimensions", [1, 2, 7, MOST_DIMENSIONS, MOST_DIMENSIONS + 1])
@pytest.mark.parametrize("power", [0, 5, 12])
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_every_digit_is_that_of_scipy(num_dimensions: int, power: int, seed: int) -> None:
    points = draw_sobol(num_dimensions, seed, power)
    expected = qmc.Sobol(num_dimensions, scramble=True, rng=seed).random_base2(power)
    assert points.dtype == expected.dtype == np.float64
    assert np.array_equal(points, expected)
