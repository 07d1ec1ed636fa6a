"""Ranks of scores and how well two rankings agree: what halving rests on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """1 for the smallest value; equal values share their mean rank."""
    given = np.asarray(values, dtype=np.float64)
    _, place, counts = np.unique(given, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: NDArray[np.float64] = (last - (counts - 1) / 2.0)[place]
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's coefficient; None for fewer than three pairs or a side without differences."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    a, b = ranks(first), ranks(second)
    return float(np.corrcoef(a, b)[0, 1])
