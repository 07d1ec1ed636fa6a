"""Statistics of ranks: how well two rankings agree, and how much a parameter explains.

Ranks are used instead of scores, so that a diverged trial is last and no outlier.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rethink_ray.spec.space import Parameter

COPIES = 1000
"""How many shuffled copies of the scores a parameter is compared with."""
Columns = NDArray[np.float64]


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """1 for the smallest value; equal values share their mean rank."""
    _, index, counts = np.unique(
        np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    shared: NDArray[np.float64] = (last - (counts - 1) / 2.0)[index]
    return shared


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's coefficient; None for fewer than three pairs or a side without differences."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def explained_shares(
    columns: Sequence[Columns], scores: Sequence[float], rng: np.random.Generator
) -> list[tuple[float, float]]:
    """(share of the variance of ranks, largest share of a shuffled copy) per parameter.

    Args:
        columns: for each parameter [num_trials, k] float64, as ``regression_columns`` makes them.
        scores: one per trial, larger is better.
        rng: shuffles the scores.
    """
    rank = ranks(scores)
    centred = rank - rank.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return [(0.0, 0.0)] * len(columns)
    shuffled = rng.permuted(np.tile(centred, (COPIES, 1)), axis=1)
    shares = []
    for column in columns:
        basis = _basis(column)
        explained = float(np.sum((basis.T @ centred) ** 2)) / total
        by_chance = np.sum((shuffled @ basis) ** 2, axis=1) / total
        shares.append((explained, float(by_chance.max(initial=0.0))))
    return shares


def regression_columns(parameter: Parameter, values: Sequence[Any]) -> Columns:
    """The columns [num_trials, k] of a regression on one parameter.

    Args:
        parameter: of the search space.
        values: one per trial; None where the parameter did not exist for it.
    """
    exists = np.array([value is not None for value in values], dtype=np.float64)
    if parameter.choice is not None:
        options = list(dict.fromkeys(str(value) for value in values))
        one_hot = [[float(str(value) == option) for value in values] for option in options]
        return np.array(one_hot, dtype=np.float64).T
    log = parameter.kind == "log_uniform"
    known = [np.log(v) if log else float(v) for v in values if v is not None]
    middle, spread = (float(np.mean(known)), float(np.std(known)) or 1.0) if known else (0.0, 1.0)
    centred = np.zeros(len(values))
    centred[exists > 0] = (np.array(known) - middle) / spread
    return np.stack([exists, centred, centred**2], axis=1)


def _basis(columns: Columns) -> Columns:
    """An orthonormal basis of what the columns span beyond a constant."""
    centred = columns - columns.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept: Columns = left[:, size > 1e-9 * max(1.0, float(size.max(initial=0.0)))]
    return kept
