"""Means, differences and their intervals, for a handful of replicates.

Every function takes plain floats and knows nothing of arms or studies. Below three values there is
no interval: with two, the 95 % quantile of t is 12.7 and says nothing anyone would act on.

Who adds replicates after having seen results tests again: every level is divided by the number of
such looks (Bonferroni), in intervals and, the same thing, in p values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr, stdtrit

MIN_REPLICATES = 3
LEVEL = 0.95
EQUIVALENCE_LEVEL = 0.90
"""Two one-sided tests at 5 % are one 90 % interval."""
POWER = 0.8
"""The chance of a decision that "about n replicates needed" promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean or a difference of means, and how well it is known."""

    value: float
    se: float | None
    """Standard error; None where there are too few values to say."""
    df: float | None
    nums: tuple[int, ...]
    """How many values went in, per side."""
    looks: int = 1
    """How often it has been looked at while replicates were added."""

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The two-sided t interval, its error divided by the looks; None below three replicates."""
        if self.se is None or self.df is None:
            return None
        half = t_quantile(1.0 - (1.0 - level) / self.looks, self.df) * self.se
        return (self.value - half, self.value + half)

    @property
    def p_value(self) -> float | None:
        """Two-sided, against zero, times the looks; None below three replicates."""
        if self.se is None or self.df is None:
            return None
        if self.se == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return min(1.0, float(self.looks * 2.0 * stdtr(self.df, -abs(self.value) / self.se)))


def t_quantile(level: float, df: float) -> float:
    """Half width of a two-sided interval of this level, in standard errors."""
    return float(stdtrit(df, 0.5 + level / 2.0))


def sample_sd(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 below; 0.0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def mean_of(values: Sequence[float], looks: int = 1) -> Estimate | None:
    """Student's t for one mean; None without values."""
    if not values:
        return None
    num, mean = len(values), math.fsum(values) / len(values)
    if num < MIN_REPLICATES:
        return Estimate(value=mean, se=None, df=None, nums=(num,), looks=looks)
    se = sample_sd(values) / math.sqrt(num)
    return Estimate(value=mean, se=se, df=num - 1.0, nums=(num,), looks=looks)


def welch(values: Sequence[float], minus: Sequence[float], looks: int = 1) -> Estimate | None:
    """Difference of two means, spreads not assumed equal; None if one side is empty."""
    if not values or not minus:
        return None
    nums = (len(values), len(minus))
    value = math.fsum(values) / nums[0] - math.fsum(minus) / nums[1]
    if min(nums) < MIN_REPLICATES:
        return Estimate(value=value, se=None, df=None, nums=nums, looks=looks)
    a, b = sample_sd(values) ** 2 / nums[0], sample_sd(minus) ** 2 / nums[1]
    se, df = math.sqrt(a + b), _welch_df(a, b, nums)
    return Estimate(value=value, se=se, df=df, nums=nums, looks=looks)


def _welch_df(a: float, b: float, nums: tuple[int, int]) -> float:
    """Welch-Satterthwaite, from the two squared standard errors."""
    if a + b == 0.0:
        return float(sum(nums) - 2)
    share = a / (a + b)
    return 1.0 / (share**2 / (nums[0] - 1) + (1.0 - share) ** 2 / (nums[1] - 1))


def contrast(terms: Sequence[tuple[float, Sequence[float]]], looks: int = 1) -> Estimate | None:
    """A weighted sum of means of independent groups; None if one group is empty.

    Welch's t for any number of groups: spreads not assumed equal, Satterthwaite's degrees.

    Args:
        terms: (weight, values) per group; ``((1, a), (-1, b))`` is ``welch(a, b)``.
        looks: at the data while they grew.
    """
    if not terms or not all(values for _, values in terms):
        return None
    nums = tuple(len(values) for _, values in terms)
    value = math.fsum(w * math.fsum(values) / len(values) for w, values in terms)
    if min(nums) < MIN_REPLICATES:
        return Estimate(value=value, se=None, df=None, nums=nums, looks=looks)
    parts = [(w * sample_sd(values)) ** 2 / len(values) for w, values in terms]
    total = math.fsum(parts)
    if total == 0.0:
        df = float(sum(nums) - len(nums))
        return Estimate(value=value, se=0.0, df=df, nums=nums, looks=looks)
    df = 1.0 / math.fsum((p / total) ** 2 / (n - 1) for p, n in zip(parts, nums, strict=True))
    return Estimate(value=value, se=math.sqrt(total), df=df, nums=nums, looks=looks)


def paired(values: Sequence[float], minus: Sequence[float], looks: int = 1) -> Estimate | None:
    """Mean of the differences, position by position (the same seed on both sides)."""
    return mean_of([a - b for a, b in zip(values, minus, strict=True)], looks)


def lies_within(estimate: Estimate, margin: float) -> bool:
    """Equivalence: the 90 % interval lies inside plus or minus ``margin``."""
    found = estimate.interval(EQUIVALENCE_LEVEL)
    return found is not None and -margin < found[0] and found[1] < margin


def p_not_below(estimate: Estimate, margin: float) -> float | None:
    """One-sided p of "not below by the margin or more", times the looks; None below three."""
    if estimate.se is None or estimate.df is None:
        return None
    above = estimate.value + margin
    if estimate.se == 0.0:
        return 0.0 if above > 0.0 else 1.0
    return min(1.0, float(estimate.looks * stdtr(estimate.df, -above / estimate.se)))


def p_within(estimate: Estimate, margin: float) -> float | None:
    """p of equivalence: the larger of two one-sided tests; None below three replicates."""
    above = p_not_below(estimate, margin)
    below = p_not_below(replace(estimate, value=-estimate.value), margin)
    return None if above is None or below is None else max(above, below)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def replicates_needed(
    difference: float,
    sds: tuple[float, float],
    margin: float,
    *,
    more_than: int,
    level: float = LEVEL,
    not_behind: float | None = None,
    cap: int = 100,
) -> int | None:
    """Replicates per side that would decide, four times in five, were the difference as observed.

    Decided means: the interval of ``level`` leaves zero out, or the 90 % interval lies inside
    ``margin``. Power by shifted t quantiles; for a true zero, margin 0.5 and sd 0.3 that is 8.

    Args:
        difference: as observed.
        sds: spread over replicates, per side.
        margin: what counts as equal.
        more_than: replicates there are.
        level: of the interval that must leave zero out.
        not_behind: for "the difference is below the margin", however far below: the level of the
            interval whose upper end must be; instead of the 90 % interval's two ends.
        cap: where to give up.

    Returns:
        The smallest number above ``more_than``; None if it is above ``cap``.
    """
    for num in range(max(more_than + 1, MIN_REPLICATES), cap + 1):
        a, b = sds[0] ** 2 / num, sds[1] ** 2 / num
        se, df = math.sqrt(a + b), _welch_df(a, b, (num, num))
        if se == 0.0 or _sign_power(difference, se, df, level) >= POWER:
            return num
        if not_behind is None and _margin_power(difference, se, df, margin) >= POWER:
            return num
        if not_behind is not None and _below_power(difference, se, df, margin, not_behind) >= POWER:
            return num
    return None


def _sign_power(difference: float, se: float, df: float, level: float) -> float:
    return float(stdtr(df, abs(difference) / se - t_quantile(level, df)))


def _below_power(difference: float, se: float, df: float, margin: float, level: float) -> float:
    return float(stdtr(df, (margin - difference) / se - t_quantile(level, df)))


def _margin_power(difference: float, se: float, df: float, margin: float) -> float:
    edge = t_quantile(EQUIVALENCE_LEVEL, df)
    above = stdtr(df, (margin - difference) / se - edge)
    below = stdtr(df, (margin + difference) / se - edge)
    return float(above + below - 1.0)
