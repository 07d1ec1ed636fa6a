"""The two contrasts that tests check by hand: Welch's t, and the paired t."""

from collections.abc import Sequence

from rethink_ray.judge.statistics import Estimate, contrast


def welch(values: Sequence[float], minus: Sequence[float], looks: int = 1) -> Estimate | None:
    """Difference of two means, spreads not assumed equal."""
    return contrast(((1.0, values), (-1.0, minus)), looks)


def paired(values: Sequence[float], minus: Sequence[float]) -> Estimate | None:
    """Mean of the differences, position by position."""
    return contrast(((1.0, [a - b for a, b in zip(values, minus, strict=True)]),))
