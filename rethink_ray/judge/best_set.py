"""Which of several arms may be the best, from a handful of replicates of each.

Of five equal arms one leads by luck, so "which is the best?" is answered by a set: the arms that
are not shown to be worse than another arm. The true best is in it in at least 95 studies of 100,
and in as many no arm is further behind the best than ``behind`` says (one statement, not two).

This is Hsu's multiple comparisons with the best (Hsu 1984, Annals of Statistics 12, 1136), whose
set is Gupta's subset (Gupta 1965, Technometrics 7, 225). Arms scatter differently, so two arms are
compared by Welch's t. All comparisons with one arm share its replicates: their common level follows
from the normal distribution with the correlations of the observed spreads (as Dunnett's test has
them), by integration. ``scripts/benchmark_answer.py`` measures the coverage.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

from rethink_ray.judge.power import Floats
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.statistics import Estimate, mean_of, t_quantile

NODES = np.linspace(-7.0, 7.0, 281)
"""Where the integral over the shared arm's deviation is taken, in standard deviations."""
WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
CAUTION = 0.75
"""Share of the error that the tests are given. Welch's test errs more often than it says where few
replicates spread unequally: with six arms, the best of which spreads a quarter as much as the
others, 6.4 sets of 100 missed it at three replicates and 6.0 at five (8,000 studies, 5 asked)."""
BISECTIONS = 20
"""They leave the limit exact to 6 digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSet:
    """The arms that may be the best, and how far behind the best each arm may be."""

    arms: tuple[str, ...]
    """Not shown to be worse than another arm; the highest mean first."""
    behind: Mapping[str, float]
    """Arm -> it is at most so many points behind the best, in 95 studies of 100 for all arms at
    once; 0 for an arm that is shown to be the best. Arms outside the set are there too."""


def find_best_set(
    groups: Mapping[str, Sequence[float]],
    error: float = ALPHA,
    is_shown_ahead: Callable[[str, str], bool] | None = None,
) -> BestSet:
    """The arms that are not shown to be worse than another one.

    Args:
        groups: arm -> scores of its replicates, three or more; one arm or more.
        error: the chance that the true best is left out.
        is_shown_ahead: whether a first arm is shown to be ahead of a second one by all other
            findings of the study; an arm is left out only if it is. None: always.
    """
    means = {arm: _mean(values) for arm, values in groups.items()}
    halves = {arm: _half_widths(arm, means, error) for arm in means}

    def is_worse(arm: str, than: str) -> bool:
        lead = means[than].value - means[arm].value
        return lead > halves[arm][than] and (is_shown_ahead is None or is_shown_ahead(than, arm))

    kept = [arm for arm in means if not any(is_worse(arm, o) for o in means if o != arm)]
    kept.sort(key=lambda arm: -means[arm].value)
    behind = {
        arm: max(
            (_most_behind(arm, other, means, halves) for other in kept if other != arm), default=0.0
        )
        for arm in means
    }
    return BestSet(arms=tuple(kept), behind=behind)


def _most_behind(
    arm: str, best: str, means: Mapping[str, Estimate], halves: Mapping[str, Mapping[str, float]]
) -> float:
    """How far an arm may be behind, if ``best`` is the best."""
    return max(0.0, means[best].value - means[arm].value + halves[best][arm])


def _mean(values: Sequence[float]) -> Estimate:
    mean = mean_of(values)
    assert mean is not None, "an arm has replicates"
    assert mean.se is not None, "an arm has three replicates or more"
    return mean


def _half_widths(control: str, means: Mapping[str, Estimate], error: float) -> dict[str, float]:
    """Other arm -> half width of the one-sided interval of its difference with ``control``.

    All of them hold together, but for ``error``.
    """
    others = [arm for arm in means if arm != control]
    if not others:
        return {}
    variances = [(means[arm].se or 0.0) ** 2 for arm in (control, *others)]
    level = find_common_level(variances[0], variances[1:], CAUTION * error)
    return {arm: _half_width(means[control], means[arm], level) for arm in others}


def _half_width(one: Estimate, other: Estimate, level: float) -> float:
    """Welch's: the quantile of t, times the standard error of the difference."""
    parts = [((mean.se or 0.0) ** 2, mean.df or 1.0) for mean in (one, other)]
    total = math.fsum(variance for variance, _ in parts)
    if total == 0.0:
        return 0.0
    df = 1.0 / math.fsum((variance / total) ** 2 / df for variance, df in parts)
    return t_quantile(1.0 - 2.0 * level, df) * math.sqrt(total)


def find_common_level(control: float, others: Sequence[float], error: float) -> float:
    """The one-sided error of each comparison with one arm, so that all together err ``error``.

    It lies between ``error / number`` (Bonferroni) and ``error``.

    Args:
        control: variance of the mean of the arm that all others are compared with.
        others: variances of the means of the others.
        error: of all comparisons together.
    """
    totals = [control + variance for variance in others]
    shared = np.sqrt([control / total if total else 0.0 for total in totals])
    return _common_level(tuple(sorted(shared.round(6))), error)


@cache
def _common_level(shared: tuple[float, ...], error: float) -> float:
    """``shared``: square roots of the control's share in the variance of each difference."""
    low, high = (float(ndtri(1.0 - e)) for e in (error, error / len(shared)))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        if 1.0 - _chance_of_none_above(middle, np.asarray(shared)) > error:
            low = middle
        else:
            high = middle
    return float(ndtr(-high))


def _chance_of_none_above(limit: float, shared: Floats) -> float:
    """The chance that none of several normal variables, which share one part, exceeds a limit."""
    rest = np.sqrt(np.maximum(1.0 - shared**2, 1e-12))
    below = ndtr((limit + NODES[:, None] * shared) / rest)
    return float(WEIGHTS @ below.prod(axis=1))


def interval_of_chosen(
    mean: Estimate, num_arms: int, *, before_last_look: bool = False
) -> tuple[float, float] | None:
    """The 95 % interval of an arm that was chosen among several because it scored well.

    The plain interval of the best of five equal arms holds in 88 studies of 100 only, because the
    luckiest is chosen. So the lower end allows for the number of arms (Bonferroni). The upper end
    need not: an arm is not chosen for scoring too low.

    An arm that looks stopped early was lucky, or scattered little by luck. Both ends then have half
    of the error: with all of it the interval of such an arm held in 90.8 studies of 100 only (two
    arms, the best one four times as wide and ahead by one of its standard deviations), now in 95.5.

    Args:
        mean: over the arm's replicates.
        num_arms: how many arms could have been chosen.
        before_last_look: the study stops when it has decided, and the arm has fewer replicates than
            its last look would have.

    Returns:
        None below three replicates.
    """
    if mean.se is None or mean.df is None:
        return None
    error = ALPHA / 2.0 / mean.looks / (2.0 if before_last_look else 1.0)
    down, up = (t_quantile(1.0 - 2.0 * e, mean.df) * mean.se for e in (error / num_arms, error))
    return (mean.value - down, mean.value + up)
