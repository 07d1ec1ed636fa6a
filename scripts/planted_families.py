"""Planted families of comparisons, and what their verdicts err in with and without a correction.

``benchmark_sequential`` takes its families from here. ``benchmark_findings`` prints the two tables:
on the same draws, Holm's correction of the differences with an uncorrected 90 % interval for
equality, beside the one step-down that a study is judged by.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.special import betaincinv
from sequential_trials import (
    EQUIVALENT,
    MIX,
    SUPPORTED,
    Flags,
    Floats,
    Outcome,
    draw_scores,
    find_errors,
    run_fixed,
    run_fixed_family,
)

MARGIN = 0.5
SEED = 11
BOUND = 0.055
"""The most that the upper 97.5 % bound of an error may be where 5 % is asked for."""
REPLICATES = (3, 5, 9)
CELLS = tuple(product((2, 3, 6), (0.15, 0.3, 1.0), REPLICATES))
"""(arms, noise, replicates) of the table of powers."""
SHOWN_TRUTHS = MIX[1:4]
"""Truths at which the power of "supported" is shown."""


@dataclass(frozen=True)
class ErrorLine:
    """A share of studies that err."""

    what: str
    num: int
    of: int

    @property
    def bound(self) -> float:
        """Upper 97.5 % bound (Clopper & Pearson 1934)."""
        return (
            1.0
            if self.num == self.of
            else float(betaincinv(self.num + 1, self.of - self.num, 0.975))
        )

    @property
    def is_met(self) -> bool:
        return self.bound <= BOUND

    def __str__(self) -> str:
        share = 100.0 * self.num / self.of
        met = "yes" if self.is_met else "**no**"
        return f"| {self.what} | {share:.2f} % | {100 * self.bound:.2f} % | {met} |"


FAMILIES: Sequence[tuple[str, Sequence[float], Sequence[float]]] = (
    ("2 arms, equal, noise 0.3", (0.0,), (0.3, 0.3)),
    ("2 arms, equal, noise 1", (0.0,), (1.0, 1.0)),
    ("2 arms, equal, noise 1 and 0.25", (0.0,), (1.0, 0.25)),
    ("2 arms at the margin, noise 0.3", (0.5,), (0.3, 0.3)),
    ("2 arms at the margin, noise 0.3 and 0.075", (0.5,), (0.3, 0.075)),
    ("6 arms, equal, noise 0.3", (0.0,) * 5, (0.3,) * 6),
    ("6 arms, equal, noise 1", (0.0,) * 5, (1.0,) * 6),
    ("6 arms, equal, noise 0.3, reference 1.2", (0.0,) * 5, (1.2,) + (0.3,) * 5),
    ("6 arms, equal, noise 0.3, reference 0.075", (0.0,) * 5, (0.075,) + (0.3,) * 5),
    ("6 arms at the margin, noise 0.15", (0.5,) * 5, (0.15,) * 6),
    ("6 arms at the margin, noise 0.3", (0.5,) * 5, (0.3,) * 6),
    ("6 arms at the margin, noise 0.3, reference 0.075", (0.5,) * 5, (0.075,) + (0.3,) * 5),
    ("6 arms, 2 equal and 3 at the margin, noise 0.2", (0.0, 0.0, 0.5, 0.5, 0.5), (0.2,) * 6),
    ("6 arms, 2 equal and 3 at the margin, noise 0.3", (0.0, 0.0, 0.5, 0.5, 0.5), (0.3,) * 6),
    ("6 arms, truths 0, 0.5, 0.5, 1, 4, noise 0.3", (0.0, 0.5, 0.5, 1.0, 4.0), (0.3,) * 6),
    ("5 comparisons that share nothing, equal, noise 0.4", (0.0,) * 5, (1e-6,) + (0.4,) * 5),
    ("5 that share nothing, at the margin, noise 0.3", (0.5,) * 5, (1e-6,) + (0.3,) * 5),
    ("5 that share nothing, at the margin, noise 0.4", (0.5,) * 5, (1e-6,) + (0.4,) * 5),
    ("5 that share nothing, 2 equal, noise 0.4", (0.0, 0.0, 0.5, 0.5, 0.5), (1e-6,) + (0.4,) * 5),
)
"""(what, truths, standard deviations: of the reference, then of each arm). Where the reference has
no noise, comparisons share nothing."""


def plant_family(
    truths: Sequence[float], sds: Sequence[float], studies: int, num: int
) -> tuple[Floats, Floats]:
    """The truths of so many studies, and the scores of ``num`` replicates of each arm."""
    rng = np.random.default_rng([SEED, len(truths), *(round(1000 * sd) for sd in sds)])
    planted = np.tile(np.asarray(truths), (studies, 1))
    return planted, draw_scores(rng, planted, sds, num)


@dataclass(frozen=True)
class BothWays:
    """The same studies, judged with equality uncorrected and by the step-down."""

    uncorrected: Outcome
    judged: Outcome

    def shares(self, state: int, among: Flags) -> tuple[float, float]:
        """Per cent of these comparisons that have a verdict: (equality uncorrected, as judged)."""
        before, now = (
            100.0 * float(np.mean(outcome.state[among] == state))
            for outcome in (self.uncorrected, self.judged)
        )
        return before, now


def judge_both_ways(scores: Floats) -> BothWays:
    """A fixed design, with equality uncorrected and as a study is judged."""
    fixed, inside = run_fixed(scores, MARGIN)
    return BothWays(
        uncorrected=replace(fixed, state=np.where(inside, EQUIVALENT, fixed.state)),
        judged=run_fixed_family(scores, MARGIN),
    )


def compare_errors(studies: int) -> Iterator[tuple[ErrorLine, ErrorLine]]:
    """Of each family and number of replicates: errors with equality uncorrected, and as judged."""
    for (name, truths, sds), num in product(FAMILIES, REPLICATES):
        planted, scores = plant_family(truths, sds, studies, num)
        both = judge_both_ways(scores)
        before, now = (
            int(find_errors(outcome, planted, MARGIN).any(axis=1).sum())
            for outcome in (both.uncorrected, both.judged)
        )
        what = f"{name}, {num} replicates"
        yield ErrorLine(what, before, studies), ErrorLine(what, now, studies)


@dataclass(frozen=True)
class PowerLine:
    """The power of one cell both ways, in per cent: (equality uncorrected, as judged)."""

    arms: int
    noise: float
    num: int
    equivalent: tuple[float, float]
    """Of equal pairs, called equivalent."""
    supported: tuple[tuple[float, float], ...]
    """At each of the truths that are shown."""

    def __str__(self) -> str:
        shares = " | ".join(
            f"{before:.1f} | {now:.1f}" for before, now in (self.equivalent, *self.supported)
        )
        return f"| {self.arms} | {self.noise:g} | {self.num} | {shares} |"


def compare_power(studies: int) -> Iterator[PowerLine]:
    """The power of each cell both ways, over a mix of truths, on the same draws."""
    for arms, noise, num in CELLS:
        rng = np.random.default_rng([SEED, arms, round(100 * noise), num])
        truths = rng.choice(MIX, size=(studies, arms - 1))
        both = judge_both_ways(draw_scores(rng, truths, [noise] * arms, num))
        yield PowerLine(
            arms=arms,
            noise=noise,
            num=num,
            equivalent=both.shares(EQUIVALENT, truths == 0.0),
            supported=tuple(both.shares(SUPPORTED, truths == truth) for truth in SHOWN_TRUTHS),
        )
