"""Looks at a study while it runs: the levels at which each look may decide, and sequential p.

A study that is looked at after 3, 5, 7 and 9 replicates has four chances to err. A spending
function says how much of the error is spent by each look; the levels of the looks follow from it.
Those of the usual plans are calibrated on Welch's t and stand in ``look_levels``.

The *sequential p value* of a null hypothesis is the smallest overall error at which one of the
looks so far rejects it (Liu & Anderson 2008). It may replace a p value in Holm's correction
(Maurer & Bretz 2013; Ye et al. 2013).

    plan = LookPlan(looks=(3, 5, 7, 9))
    nominal_levels(plan, 0.05)              # p of the t test that decides at each look
    sequential_p(plan, (0.2, 0.003))        # p values at 3 and at 5 replicates
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import assert_never

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from rethink_ray.judge.look_levels import ALPHAS, find_levels
from rethink_ray.judge.power import Floats
from rethink_ray.judge.rules import ALPHA, DecisionRule
from rethink_ray.judge.statistics import MIN_REPLICATES, Estimate
from rethink_ray.spec.sequential import Spending

SMALLEST_P = ALPHAS[0]
"""No sequential p is smaller: levels for smaller errors are not calibrated."""
SHARE_SPENT, SMALL_ERRORS = 0.75, 0.12
"""What a plan without calibrated levels spends of an error of 5 % or more; of smaller ones a share
that falls with this power. Its levels are exact for a known standard deviation, and Welch's t errs
more often: at a ratio of 4 up to 1.3 times at 5 %, and 1.6 times at 1 %
(``scripts/calibrate_looks.py --check``)."""
NUM_SUMS = 96
"""Points at which the density between two looks is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPlan:
    """When a study is looked at, and how its error is spread over the looks."""

    looks: tuple[int, ...]
    """Replicates of every arm at each look, rising; the last is the most that the study runs."""
    spending: Spending = "obrien_fleming"

    def __post_init__(self) -> None:
        assert self.looks[0] >= MIN_REPLICATES, self.looks
        assert all(first < second for first, second in pairwise(self.looks)), self.looks


def spend(plan: LookPlan, alpha: Floats) -> Floats:
    """The error spent up to each look, ``[..., looks]``, of two-sided overall errors ``[...]``.

    Lan & DeMets (1983) for O'Brien and Fleming's boundary; Hwang, Shih & DeCani (1990). Information
    is counted in replicates.
    """
    share = np.asarray(plan.looks, dtype=np.float64) / plan.looks[-1]
    error = alpha[..., None]
    match plan.spending:
        case "obrien_fleming":
            spent: Floats = 2.0 * ndtr(ndtri(error / 2.0) / np.sqrt(share))
        case "hwang_shih_decani_4":
            spent = error * np.expm1(4.0 * share) / np.expm1(4.0)
        case "hwang_shih_decani_2":
            spent = error * np.expm1(2.0 * share) / np.expm1(2.0)
        case _:
            assert_never(plan.spending)
    return spent


def nominal_levels(plan: LookPlan, alpha: float) -> tuple[float, ...]:
    """The p value of a two-sided t test that decides at each look, with overall error ``alpha``.

    A test on one side with error ``alpha`` decides at half the levels of ``2 * alpha``.
    """
    return tuple(float(level) for level in interpolate_levels(plan, np.asarray(alpha)))


def interpolate_levels(plan: LookPlan, alpha: Floats) -> Floats:
    """``nominal_levels`` of many overall errors: ``[...] -> [..., looks]``."""
    error, levels = _scaled_levels(plan)
    scaled = _scale(np.maximum(alpha, SMALLEST_P))
    columns = [np.interp(scaled, error, levels[:, look]) for look in range(len(plan.looks))]
    interpolated: Floats = 2.0 * ndtr(np.stack(columns, axis=-1))
    return interpolated


def invert_level(plan: LookPlan, look: int, p_values: Floats) -> Floats:
    """The smallest overall error at which a look rejects, for p values of two-sided t tests.

    Args:
        plan: the looks and the spending function.
        look: number of the look, counting from zero.
        p_values: of the tests at that look, of any shape.
    """
    error, levels = _scaled_levels(plan)
    inverted: Floats = 2.0 * ndtr(np.interp(_scale(p_values), levels[:, look], error))
    return inverted


def sequential_p(plan: LookPlan, p_values: Sequence[float]) -> float:
    """The smallest overall error at which one of the looks so far rejects.

    Args:
        plan: the looks and the spending function.
        p_values: two-sided p at each look so far, first look first.
    """
    return min(float(invert_level(plan, look, np.asarray(p))) for look, p in enumerate(p_values))


def sequential_p_one_sided(plan: LookPlan, p_values: Sequence[float]) -> float:
    """As ``sequential_p`` for tests on one side: of two margins, or of "not behind"."""
    return sequential_p(plan, [min(1.0, 2.0 * p) for p in p_values]) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Differences as one look measured them; arrays of one shape."""

    value: Floats
    se: Floats
    df: Floats


def chance_to_decide_later(
    plan: LookPlan, look: int, effect: Estimate, rule: DecisionRule
) -> tuple[float, ...]:
    """The chance that each later look decides a comparison that is still open.

    Its replicates so far are kept, and the next ones are expected to differ by as much as those
    (conditional power under the current trend).

    Args:
        plan: the looks and the spending function.
        look: number of the look that measured ``effect``, counting from zero.
        effect: the difference at that look.
        rule: what decides it; its errors are overall ones, divided by the comparisons that share.
    """
    if effect.se is None or effect.df is None:
        return tuple(1.0 for _ in plan.looks[look + 1 :])
    measured = Effects(
        value=np.asarray(effect.value), se=np.asarray(effect.se), df=np.asarray(effect.df)
    )
    errors = (np.asarray(rule.apart), np.asarray(rule.margin_error))
    chances = chances_later(plan, look, measured, rule, errors)
    return tuple(float(chance) for chance in chances)


def chances_later(
    plan: LookPlan,
    look: int,
    effects: Effects,
    rule: DecisionRule,
    errors: tuple[Floats, Floats],
) -> Floats:
    """``chance_to_decide_later`` of many comparisons: ``[..., later looks]``.

    Args:
        plan: the looks and the spending function.
        look: number of the look that measured them.
        effects: the differences, ``[...]``.
        rule: what decides them; for the errors see the next argument.
        errors: of "the difference is zero" (two-sided) and of "the margin or more" (one side), for
            each comparison.
    """
    value, df = effects.value[..., None], effects.df[..., None]
    num, later = plan.looks[look], np.asarray(plan.looks[look + 1 :], dtype=np.float64)
    se_now = np.maximum(effects.se[..., None], 1e-12)
    se = se_now * np.sqrt(num / later)
    spread = se_now * np.sqrt(num * (later - num)) / later
    df_later = df * (later - 1.0) / (num - 1.0)

    def half_width(error: Floats) -> Floats:
        level = interpolate_levels(plan, np.minimum(1.0, error))[..., look + 1 :]
        width: Floats = stdtrit(df_later, 1.0 - level / 2.0) * se
        return width

    def chance_above(distance: Floats) -> Floats:
        above: Floats = stdtr(df, distance / spread)
        return above

    room = rule.margin - half_width(2.0 * errors[1])
    if rule.expects in ("above", "equal"):
        inside = chance_above(room - value) + chance_above(room + value) - 1.0
    else:
        inside = chance_above(room + value)
    needed = rule.margin if rule.expects == "equal" else 0.0
    apart = chance_above(np.abs(value) - needed - half_width(errors[0]))
    return np.minimum(1.0, apart + np.maximum(0.0, inside))


@lru_cache(maxsize=64)
def tabulate_levels(plan: LookPlan) -> Floats:
    """Nominal levels ``[errors, looks]`` for the overall errors ``ALPHAS``.

    Calibrated ones if ``look_levels`` has them, else those of a known standard deviation for
    smaller errors (``SHARE_SPENT``).
    """
    calibrated = find_levels(plan.looks, plan.spending)
    if calibrated is not None:
        return np.asarray(calibrated, dtype=np.float64)
    below = np.minimum(1.0, np.asarray(ALPHAS) / ALPHA)
    return levels_of_normal(plan, SHARE_SPENT * below**SMALL_ERRORS)


def levels_of_normal(plan: LookPlan, share_spent: Floats | float = 1.0) -> Floats:
    """Nominal levels ``[errors, looks]`` if the standard deviation were known.

    By the recursion of Armitage, McPherson & Rowe (1969): it carries the density of the sum of all
    values so far, among the studies that are still undecided, from look to look.
    """
    spent = spend(plan, np.asarray(ALPHAS)) * np.reshape(share_spent, (-1, 1))
    nums = np.asarray(plan.looks, dtype=np.float64)
    points, weights = np.polynomial.legendre.leggauss(NUM_SUMS)
    bounds = -ndtri(spent / 2.0)
    edges = bounds[:, :1] * np.sqrt(nums[0])
    sums = edges * points
    mass = edges * weights * _bell(sums / np.sqrt(nums[0])) / np.sqrt(nums[0])
    for look in range(1, len(nums)):
        step = float(np.sqrt(nums[look] - nums[look - 1]))
        increase = spent[:, look] - spent[:, look - 1]
        edges = _solve_edges(sums, mass, step, increase)[:, None]
        bounds[:, look] = edges[:, 0] / np.sqrt(nums[look])
        reached = edges * points
        moves = _bell((reached[:, :, None] - sums[:, None, :]) / step) / step
        sums, mass = reached, edges * weights * (moves * mass[:, None, :]).sum(axis=2)
    levels: Floats = 2.0 * ndtr(-bounds)
    return levels


def _solve_edges(sums: Floats, mass: Floats, step: float, increase: Floats) -> Floats:
    """The edges that a given share of the studies crosses first at this look, by bisection."""
    low, high = np.zeros_like(increase), np.full_like(increase, 1000.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        crossed = 2.0 * (mass * ndtr((sums - middle[:, None]) / step)).sum(axis=1)
        too_many = crossed > increase
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    return high


@lru_cache(maxsize=64)
def _scaled_levels(plan: LookPlan) -> tuple[Floats, Floats]:
    """Overall errors and their nominal levels on the scale on which we interpolate.

    Levels must grow with the error, or a smaller error would reject what a larger one does not.
    So each is at most the next, which errs on the safe side. An error of 1 has level 1.
    """
    levels = tabulate_levels(plan)
    monotone = np.minimum.accumulate(levels[::-1], axis=0)[::-1]
    error = np.append(_scale(np.asarray(ALPHAS)), 0.0)
    return error, np.vstack([_scale(monotone), np.zeros((1, monotone.shape[1]))])


def _scale(p_values: Floats) -> Floats:
    """Quantiles of the normal distribution, on which levels grow almost linearly with the error."""
    scaled: Floats = ndtri(np.clip(p_values, 1e-300, 1.0) / 2.0)
    return scaled


def _bell(values: Floats) -> Floats:
    """Density of the normal distribution."""
    height: Floats = np.exp(-(values**2) / 2.0) / np.sqrt(2.0 * np.pi)
    return height
