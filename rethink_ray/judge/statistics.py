"""Means, differences and their intervals, for a handful of replicates.

Every function takes plain floats and knows nothing of arms or studies. Below three values there is
no interval: with two, the 95 % quantile of t is 12.7, which is too wide to act on.

Adding replicates, or an arm, after a look at the results is a second test. So every level of error
is divided by the number of looks (Bonferroni); a p value is multiplied by it, which is the same.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr, stdtrit

MIN_REPLICATES = 3
LEVEL = 0.95
EQUIVALENCE_LEVEL = 0.90
"""Two one-sided tests at 5 % are one 90 % interval."""


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
    """How often the results were read while replicates were added."""
    errors: tuple[tuple[float, float], ...] = ()
    """(level, error) of intervals at a planned look: they hold whichever look stops the study.
    Empty: the number of replicates was fixed."""

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The two-sided t interval, its error divided by the looks; None below three replicates."""
        if self.se is None or self.df is None:
            return None
        error = dict(self.errors).get(level, 1.0 - level)
        half = t_quantile(1.0 - error / self.looks, self.df) * self.se
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


def pool_sds(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation inside groups, pooled over them; None without a group of two.

    It knows nothing of the groups' means, so a look at it is no look at any difference.
    """
    squares = [(len(values) - 1, sample_sd(values) ** 2) for values in groups if len(values) > 1]
    degrees = sum(num for num, _ in squares)
    return (
        math.sqrt(math.fsum(num * square for num, square in squares) / degrees) if degrees else None
    )


def mean_of(values: Sequence[float], looks: int = 1) -> Estimate | None:
    """Student's t for one mean; None without values."""
    if not values:
        return None
    num, mean = len(values), math.fsum(values) / len(values)
    if num < MIN_REPLICATES:
        return Estimate(value=mean, se=None, df=None, nums=(num,), looks=looks)
    se = sample_sd(values) / math.sqrt(num)
    return Estimate(value=mean, se=se, df=num - 1.0, nums=(num,), looks=looks)


def contrast(terms: Sequence[tuple[float, Sequence[float]]], looks: int = 1) -> Estimate | None:
    """A weighted sum of means of independent groups; None if a group is empty.

    Two groups with weights 1 and -1 are Welch's t; one group of differences is the paired t.
    Spreads are not assumed to be equal (degrees of freedom by Satterthwaite).

    Args:
        terms: (weight, values) per group.
        looks: how often the results were read while the groups grew.
    """
    if not terms or not all(values for _, values in terms):
        return None
    nums = tuple(len(values) for _, values in terms)
    value = math.fsum(w * math.fsum(values) / len(values) for w, values in terms)
    if min(nums) < MIN_REPLICATES:
        return Estimate(value=value, se=None, df=None, nums=nums, looks=looks)
    parts = [(w * sample_sd(values)) ** 2 / len(values) for w, values in terms]
    total = math.fsum(parts)
    df = float(sum(nums) - len(nums))
    if total > 0.0:
        df = 1.0 / math.fsum((p / total) ** 2 / (n - 1) for p, n in zip(parts, nums, strict=True))
    return Estimate(value=value, se=math.sqrt(total), df=df, nums=nums, looks=looks)


def p_not_below(estimate: Estimate, margin: float) -> float | None:
    """One-sided p of "not below by the margin or more", times the looks; None below three."""
    if estimate.se is None or estimate.df is None:
        return None
    above = estimate.value + margin
    if estimate.se == 0.0:
        return 0.0 if above > 0.0 else 1.0
    return min(1.0, float(estimate.looks * stdtr(estimate.df, -above / estimate.se)))


def p_not_above(estimate: Estimate, margin: float) -> float | None:
    """One-sided p of "not above by the margin or more", times the looks; None below three."""
    return p_not_below(replace(estimate, value=-estimate.value), margin)


def p_beyond(estimate: Estimate, margin: float) -> float | None:
    """Two-sided p of "apart by less than the margin", times the looks; None below three."""
    if estimate.se is None or estimate.df is None:
        return None
    beyond = abs(estimate.value) - margin
    if estimate.se == 0.0:
        return 0.0 if beyond > 0.0 else 1.0
    return min(1.0, float(estimate.looks * 2.0 * stdtr(estimate.df, -beyond / estimate.se)))
