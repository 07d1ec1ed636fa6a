"""Intervals and an estimate of a difference that was looked at while replicates were added.

A comparison that stops early was lucky more often than not, so its plain interval covers too seldom
and its plain difference is too large. Three numbers replace them:

- the *repeated interval* holds at all looks together with 95 % (Jennison & Turnbull 1989);
- the *family-adjusted interval* does so for all primary comparisons together (Bonferroni);
- the *median-unbiased estimate* is too high in half of all studies, and too low in half. Stops for
  futility are left out of account; with them it is rather too low.

The estimate holds over all studies of a truth, whenever they stop. Of those that stop early it is
too high all the same: to stop early takes luck. An estimate that is right given when a study stops
errs more: at truth 1 and sd 1 by 0.72 in place of 0.26 at the last look (root mean square).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, chdtri, ndtr

from rethink_ray.judge.power import Floats
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.spending import LookPlan, nominal_levels
from rethink_ray.judge.statistics import Estimate, t_quantile

Interval = tuple[float, float]
NUM_SUMS_FOLLOWED = 96
FOLLOWED_SDS = 10.0
"""Standard deviations from its expected value beyond which we follow no walk."""
CERTAIN = 1e-9
"""A look decides for certain where it fails to with this chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEstimates:
    """What is known of a difference at the look that ended its comparison."""

    repeated: Interval
    family: Interval
    median_unbiased: float


def estimate_stage(
    plan: LookPlan, effects: Sequence[Estimate], num_compared: int, *, error: float = ALPHA
) -> StageEstimates | None:
    """The intervals and the estimate at the last of the given looks; None without an interval.

    Args:
        plan: the looks and the spending function.
        effects: the difference at each look so far, first look first.
        num_compared: how many primary comparisons are corrected together.
        error: overall, of the family.
    """
    repeated = find_repeated_interval(plan, effects, error)
    family = find_repeated_interval(plan, effects, error / max(1, num_compared))
    if repeated is None or family is None:
        return None
    unbiased = estimate_median(plan, effects, error / max(1, num_compared))
    return StageEstimates(repeated=repeated, family=family, median_unbiased=unbiased)


def find_repeated_interval(
    plan: LookPlan, effects: Sequence[Estimate], error: float
) -> Interval | None:
    """The interval at the last given look of a series that covers at all looks together."""
    level = nominal_levels(plan, error)[len(effects) - 1]
    return effects[-1].interval(1.0 - level)


def estimate_median(plan: LookPlan, effects: Sequence[Estimate], error: float) -> float:
    """The true difference under which a study shows this much, or more, in half of all cases.

    "More" is a decision for the same side at an earlier look, or a larger difference at this look
    (stagewise ordering; Tsiatis, Rosner & Mehta 1984). The noise is that of this look; earlier
    looks decide by their t tests, whose standard errors vary. The plain difference if there was no
    earlier look, or no noise.

    Args:
        plan: the looks and the spending function.
        effects: the difference at each look so far, first look first.
        error: the overall error at which the comparison was tested.
    """
    last = effects[-1]
    num_looks = len(effects)
    if num_looks == 1 or not last.se:
        return last.value
    nums = np.asarray(plan.looks[:num_looks], dtype=np.float64)
    noise = last.se * float(np.sqrt(nums[-1]))
    levels = nominal_levels(plan, error)
    tests = tuple(
        _EarlierTest(
            num=float(num), t=t_quantile(1.0 - level, effect.df or 1.0), df=effect.df or 1.0
        )
        for num, level, effect in zip(nums[:-1], levels, effects, strict=False)
    )
    observed = abs(last.value) / noise
    path = _Path(nums=nums, tests=tests, observed=observed)
    low, high = observed - 6.0 / float(np.sqrt(nums[0])), observed + 6.0 / float(np.sqrt(nums[0]))
    steps = path.follow()
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (low, middle) if path.share_above(middle, steps) > 0.5 else (middle, high)
    return float(np.copysign((low + high) / 2.0 * noise, last.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class _EarlierTest:
    """The t test of one look, of a sum of differences in units of their noise.

    Its standard error is measured: squared, it is chi-squared and independent of the sum.
    """

    num: float
    """Replicates."""
    t: float
    """The look decides beyond it."""
    df: float

    @property
    def certain(self) -> float:
        """Sum that decides with any standard error."""
        return float(self.t * np.sqrt(self.num * chdtri(self.df, CERTAIN) / self.df))

    def chance_to_go_on(self, sums: Floats) -> Floats:
        """The chance that a study with such a sum is not decided at this look."""
        chance: Floats = chdtrc(self.df, self.df / self.num * (sums / self.t) ** 2)
        return chance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The walks at one look but the last, by their sums."""

    sums: Floats
    decided: Floats
    """Share of the walks that this look decides for the upper side."""
    going_on: Floats
    """Share of the walks that go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """Sums of differences in units of their noise: a random walk that ends once a look decides."""

    nums: Floats
    """Replicates at each look."""
    tests: tuple[_EarlierTest, ...]
    """Of each look but the last."""
    observed: float
    """Mean at the last look; the walk is followed with this drift, and weighted for others."""

    def follow(self) -> list[_Step]:
        """The walks at each look but the last."""
        points, weights = np.polynomial.legendre.leggauss(NUM_SUMS_FOLLOWED)
        steps: list[_Step] = []
        before, mass, num_before = np.zeros(1), np.ones(1), 0.0
        for test in self.tests:
            num, edge, gap = test.num, test.certain, test.num - num_before
            expected = num * self.observed
            low = max(-edge, expected - FOLLOWED_SDS * np.sqrt(num))
            half = max(0.0, min(edge, expected + FOLLOWED_SDS * np.sqrt(num)) - low) / 2.0
            sums = low + half * (1.0 + points)
            moves = sums[:, None] - before - gap * self.observed
            heights = np.exp(-(moves**2) / (2.0 * gap)) / np.sqrt(2.0 * np.pi * gap)
            arriving, goes_on = half * weights * (heights @ mass), test.chance_to_go_on(sums)
            decided = np.where(sums > 0.0, arriving * (1.0 - goes_on), 0.0)
            before, mass, num_before = sums, arriving * goes_on, num
            steps.append(_Step(sums=sums, decided=decided, going_on=mass))
        return steps

    def share_above(self, drift: float, steps: Sequence[_Step]) -> float:
        """The share of the walks with a drift that show as much as was observed, or more."""
        ends = [*(test.certain for test in self.tests), self.observed * float(self.nums[-1])]
        share = float(ndtr((self.nums[0] * drift - ends[0]) / np.sqrt(self.nums[0])))
        more = drift - self.observed
        for index, step in enumerate(steps):
            num, gap = self.nums[index], self.nums[index + 1] - self.nums[index]
            likelier = np.exp(more * step.sums - num * (drift**2 - self.observed**2) / 2.0)
            beyond = ndtr((step.sums + gap * drift - ends[index + 1]) / np.sqrt(gap))
            share += float(np.sum(likelier * (step.decided + step.going_on * beyond)))
        return share
