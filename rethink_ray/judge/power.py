"""How many replicates a decision needs, by the same rule that the verdict uses.

After a study, ``count_replicates_needed`` says how many replicates would have decided. Before it,
``Simulation`` draws studies at random, because Welch's degrees of freedom vary from study to study:
at three replicates that costs a tenth of the power that a formula with fixed degrees promises.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from rethink_ray.judge.rules import DecisionRule
from rethink_ray.judge.statistics import MIN_REPLICATES

Floats = NDArray[np.float64]

POWER = 0.8
"""The chance of a decision that "about n replicates would decide" promises."""
MOST_NEEDED = 100
SIMULATED_STUDIES = 20_000
MOST_PLANNED = 30


def count_replicates_needed(
    difference: float, sds: tuple[float, float], rule: DecisionRule, more_than: int
) -> int | None:
    """Replicates per side that would decide, four times in five, if the difference is as observed.

    For a true zero, margin 0.5 and sd 0.3, "ends above" needs 8 and "catches up" needs 7.

    Args:
        difference: as observed, positive where the claim's first side is better.
        sds: standard deviation over replicates of each side; ``(sd, 0.0)`` if differences are taken
            seed by seed.
        rule: how the claim is decided.
        more_than: how many replicates there are already.

    Returns:
        The smallest number above ``more_than``; None if it is above 100.
    """
    nums = np.arange(max(more_than + 1, MIN_REPLICATES), MOST_NEEDED + 1)
    total = sds[0] ** 2 + sds[1] ** 2
    if total == 0.0:
        return int(nums[0]) if nums.size else None
    shares = (sds[0] ** 2 / total, sds[1] ** 2 / total)
    se, df = np.sqrt(total / nums), (nums - 1) / (shares[0] ** 2 + shares[1] ** 2)
    enough = nums[chance_to_decide(difference, se, df, rule) >= POWER]
    return int(enough[0]) if enough.size else None


def chance_to_decide(difference: float, se: Floats, df: Floats, rule: DecisionRule) -> Floats:
    """The chance of a decision, for the likelier of those that the rule allows.

    It is computed by shifting the quantiles of Student's t.

    Args:
        difference: the true difference.
        se: standard errors of the estimate, one for each number of replicates.
        df: their degrees of freedom (Satterthwaite).
        rule: how the claim is decided.
    """

    def chance(distance: float, error: float) -> Floats:
        """The chance that a one-sided test shows a true ``distance`` to be above zero."""
        shown: Floats = stdtr(df, distance / se - stdtrit(df, 1.0 - error))
        return shown

    not_below = chance(rule.margin + difference, rule.margin_error)
    not_above = chance(rule.margin - difference, rule.margin_error)
    match rule.expects:
        case "above":
            apart = chance(abs(difference), rule.apart / 2.0)
            return np.maximum(apart, not_below + not_above - 1.0)
        case "equal":
            beyond = chance(abs(difference) - rule.margin, rule.apart / 2.0)
            return np.maximum(beyond, not_below + not_above - 1.0)
    return np.maximum(chance(abs(difference), rule.apart / 2.0), not_below)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPower:
    """What simulated studies of one design showed."""

    smallest: float
    """The smallest true difference that four studies in five detect."""
    equal: float
    """If two arms are equal: the share of studies that show it, or show that one is not behind."""
    equal_replicates: int | None
    """How many replicates bring that share to four in five; None: more than thirty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Draws studies with normal noise. Comparisons with as many groups get the same draws."""

    noise: float
    """Standard deviation between replicates, in points."""
    seed: int

    def power(self, groups: int, num: int, rule: DecisionRule) -> SimulatedPower:
        """The power of a comparison of ``groups`` groups with ``num`` replicates each."""
        enough = (
            more
            for more in range(MIN_REPLICATES, MOST_PLANNED + 1)
            if self._share_equal(groups, more, rule) >= POWER
        )
        return SimulatedPower(
            smallest=self.find_smallest(groups, num, rule),
            equal=self._share_equal(groups, num, rule),
            equal_replicates=next(enough, None),
        )

    def find_smallest(self, groups: int, num: int, rule: DecisionRule) -> float:
        """The smallest true difference that four studies in five detect."""
        error, se, df = self._draw(groups, num)
        threshold = stdtrit(df, 1.0 - rule.apart / 2.0) * se - error
        return float(np.quantile(threshold, POWER))

    def _share_equal(self, groups: int, num: int, rule: DecisionRule) -> float:
        """The share of studies of equal arms that show them equal, or one not behind."""
        error, se, df = self._draw(groups, num)
        half = stdtrit(df, 1.0 - rule.margin_error) * se
        inside = error - half > -rule.margin
        if rule.expects in ("above", "equal"):
            inside &= error + half < rule.margin
        return float(np.mean(inside))

    def _draw(self, groups: int, num: int) -> tuple[Floats, Floats, Floats]:
        """Errors of the estimate, its standard errors and degrees of freedom, one per study."""
        rng = np.random.default_rng([self.seed, groups, num])
        error = rng.normal(0.0, self.noise * math.sqrt(groups / num), SIMULATED_STUDIES)
        chi = rng.chisquare(num - 1, (SIMULATED_STUDIES, groups))
        parts = self.noise**2 * chi / (num - 1) / num
        total = parts.sum(axis=1)
        df = total**2 / (parts**2 / (num - 1)).sum(axis=1)
        return error, np.sqrt(total), df
