"""Scrambled Sobol points, digit for digit those of ``scipy.stats.qmc.Sobol``.

Importing ``scipy.stats`` takes longer than all else that a plan does. So numpy draws as many
dimensions as a study searches, and scipy draws only the rare study that searches more.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 30
"""Binary digits of a coordinate."""
DIRECTIONS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)),
    (171, (1, 1, 5, 11, 19, 41, 61)),
    (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)),
    (193, (1, 3, 7, 5, 13, 19, 59)),
    (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)),
    (213, (1, 3, 7, 3, 13, 59, 17)),
    (229, (1, 3, 1, 3, 5, 53, 69)),
    (239, (1, 1, 5, 5, 23, 33, 13)),
    (241, (1, 1, 7, 7, 1, 61, 123)),
    (247, (1, 1, 7, 9, 13, 61, 49)),
    (253, (1, 3, 3, 5, 3, 55, 33)),
    (285, (1, 3, 1, 15, 31, 13, 49, 245)),
    (299, (1, 3, 5, 15, 31, 59, 63, 97)),
    (301, (1, 3, 1, 11, 11, 11, 77, 249)),
)
"""Of each dimension after the first: the coefficients of a primitive polynomial over GF(2) as
binary digits, and the odd numbers that its recurrence begins with (Joe and Kuo 2008)."""
MOST_DIMENSIONS = 1 + len(DIRECTIONS)


def draw_sobol(num_dimensions: int, seed: int, power: int) -> NDArray[np.float64]:
    """The first ``2 ** power`` points of a scrambled sequence: [points, num_dimensions] in [0, 1).

    A random lower triangular matrix multiplies the binary digits of each coordinate, and random
    digits are added (Matousek 1998).
    """
    if num_dimensions > MOST_DIMENSIONS:
        return _draw_with_scipy(num_dimensions, seed, power)
    [rng] = np.random.default_rng(seed).spawn(1)  # as scipy does
    shape = (num_dimensions, BITS)
    place_values = 2 ** np.arange(BITS, dtype=np.uint32)
    shift = rng.integers(2, size=shape, dtype=np.uint32) @ place_values
    matrices = np.tril(rng.integers(2, size=(*shape, BITS), dtype=np.uint32))
    matrices |= np.eye(BITS, dtype=np.uint32)
    highest_first = place_values[::-1]
    directions = np.array([_directions(i) for i in range(num_dimensions)], dtype=np.uint32)
    digits = (directions[..., None] & highest_first) > 0
    scrambled = (digits @ matrices.transpose(0, 2, 1)) % 2 @ highest_first
    points = shift[None]
    for k in range(power):  # in the order of the Gray code: the same again, backwards, one digit on
        points = np.concatenate([points, points[::-1] ^ scrambled[:, k]])
    return points.astype(np.float64) * 2.0**-BITS


def _directions(dimension: int) -> list[int]:
    """The direction number of each binary digit."""
    if dimension == 0:
        return [1 << (BITS - 1 - k) for k in range(BITS)]
    polynomial, first = DIRECTIONS[dimension - 1]
    degree, odd = len(first), list(first)
    for k in range(degree, BITS):
        number = odd[k - degree]
        for back in range(1, degree + 1):
            if polynomial >> (degree - back) & 1:
                number ^= odd[k - back] << back
        odd.append(number)
    return [number << (BITS - 1 - k) for k, number in enumerate(odd)]


def _draw_with_scipy(num_dimensions: int, seed: int, power: int) -> NDArray[np.float64]:
    from scipy.stats import qmc

    points: NDArray[np.float64] = qmc.Sobol(num_dimensions, rng=seed).random_base2(power)
    return points
