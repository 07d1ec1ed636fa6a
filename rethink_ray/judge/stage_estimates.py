"""Intervals and an estimate of a difference that was looked at while replicates were added.

A comparison that stops early was lucky more often than not, so its plain interval covers too seldom
and its plain difference is too large. Three numbers replace them:

- the *repeated interval* holds at all looks together with 95 % (Jennison & Turnbull 1989);
- the *family-adjusted interval* does so for all primary comparisons together (Bonferroni);
- the *median-unbiased estimate* is too high in half of all studies, and too low in half. Stops for
  futility are left out of account; with them it is rather too low.

The estimate holds over all studies of a truth, whenever they stop. Of those that stop early it is
too high all the same: to stop early takes luck. An estimate that is right given an early stop errs
more in the others: with the noise known and a truth of 1 at sd 1 by 0.72 in place of 0.36 at the
last look (root mean square).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from rethink_ray.judge.power import Floats
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.spending import LookPlan, nominal_levels
from rethink_ray.judge.statistics import Estimate, t_quantile

Interval = tuple[float, float]
NUM_SUMS_FOLLOWED = 96
FOLLOWED_SDS = 10.0
"""Standard deviations from its expected value beyond which we follow no walk."""


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
    (stagewise ordering; Tsiatis, Rosner & Mehta 1984). Standard errors are taken as they were
    measured. The plain difference if there was no earlier look, or no noise.

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
    edges = np.asarray(
        [
            t_quantile(1.0 - level, effect.df or 1.0) * (effect.se or 0.0)
            for level, effect in zip(levels, effects[:-1], strict=False)
        ]
    )
    observed = abs(last.value) / noise
    path = _Path(nums=nums, edges=edges / noise * nums[:-1], observed=observed)
    low, high = observed - 6.0 / float(np.sqrt(nums[0])), observed + 6.0 / float(np.sqrt(nums[0]))
    steps = path.follow()
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (low, middle) if path.share_above(middle, steps) > 0.5 else (middle, high)
    return float(np.copysign((low + high) / 2.0 * noise, last.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """Sums of differences in units of their noise: a random walk that ends at the first edge."""

    nums: Floats
    """Replicates at each look."""
    edges: Floats
    """Sum that ends the walk, at each look but the last."""
    observed: float
    """Mean at the last look; the walk is followed with this drift, and weighted for others."""

    def follow(self) -> list[tuple[Floats, Floats]]:
        """(sums, share of the walks) at each look but the last, of the walks that go on."""
        points, weights = np.polynomial.legendre.leggauss(NUM_SUMS_FOLLOWED)
        steps: list[tuple[Floats, Floats]] = []
        before, mass, num_before = np.zeros(1), np.ones(1), 0.0
        for num, edge in zip(self.nums, self.edges, strict=False):
            gap, expected = num - num_before, num * self.observed
            low = max(-edge, expected - FOLLOWED_SDS * np.sqrt(num))
            half = max(0.0, min(edge, expected + FOLLOWED_SDS * np.sqrt(num)) - low) / 2.0
            sums = low + half * (1.0 + points)
            moves = sums[:, None] - before - gap * self.observed
            heights = np.exp(-(moves**2) / (2.0 * gap)) / np.sqrt(2.0 * np.pi * gap)
            before, mass, num_before = sums, half * weights * (heights @ mass), float(num)
            steps.append((before, mass))
        return steps

    def share_above(self, drift: float, steps: Sequence[tuple[Floats, Floats]]) -> float:
        """The share of the walks with a drift that show as much as was observed, or more."""
        ends = np.append(self.edges, self.observed * self.nums[-1])
        share = float(ndtr((self.nums[0] * drift - ends[0]) / np.sqrt(self.nums[0])))
        more = drift - self.observed
        for index, (sums, mass) in enumerate(steps):
            num, gap = self.nums[index], self.nums[index + 1] - self.nums[index]
            likelier = np.exp(more * sums - num * (drift**2 - self.observed**2) / 2.0)
            crossed = ndtr((sums + gap * drift - ends[index + 1]) / np.sqrt(gap))
            share += float(np.sum(mass * likelier * crossed))
        return share
