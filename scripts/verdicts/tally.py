"""Counts right, false and open verdicts of every policy, and says how sure the counts are.

Verdicts on one surface hang together, so surfaces are what intervals resample, never verdicts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rethink_ray.judge.verdicts import Verdict
from verdicts.answers import Answer
from verdicts.one_rule import (
    DECIDED,
    LONGEST_QUESTIONS,
    claim_from_means,
    is_true,
    judge_answer,
    lead_of_winners,
)
from verdicts.surfaces import QUESTIONS, Question, Surface

Floats = NDArray[np.float64]
Kind = tuple[str, str]
"""Family and noise of surfaces."""
Point = tuple[str, str]
"""Policy and budget."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of one answer's verdicts, as shares of the questions."""

    right: float
    false: float
    any_false: float
    """1 if any verdict is false, else 0."""
    false_of_winners: float
    """False even of the two configurations that were compared, whatever their arms could reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One answer on one surface."""

    by_rule: Counts
    """All questions: this program's by its findings, rivals' by the one rule."""
    longest: Counts
    """Those at 6x alone, in the same way."""
    from_means: Counts
    """All questions, without abstaining."""
    by_lead: Mapping[str, tuple[int, int, int]]
    """Size of the true lead (``LEADS``) -> how many verdicts are right, false, and asked."""
    regret: float
    updates: float
    updates_longest: float
    updates_search: float


LEADS: Mapping[str, tuple[float, float]] = {
    "0": (0.0, 0.0),
    "below 0.5": (0.0, 0.5),
    "0.5 to 1": (0.5, 1.0),
    "1 to 2": (1.0, 2.0),
    "above 2": (2.0, math.inf),
}
"""Sizes of a true lead in AP, each from above its first number up to its second."""


def size_of(lead: float) -> str:
    """The name of the size of a true lead."""
    return next(name for name, (_, most) in LEADS.items() if round(abs(lead), 9) <= most)


def score_answer(answer: Answer, surface: Surface) -> Score:
    """Holds an answer against the truth of its surface."""

    def count(verdicts: Mapping[Question, Verdict]) -> Counts:
        decided = {q: v for q, v in verdicts.items() if v in DECIDED}
        right = sum(is_true(v, surface.truth(q)) for q, v in decided.items())
        of_winners = sum(
            is_true(v, lead_of_winners(answer, surface, q)) for q, v in decided.items()
        )
        return Counts(
            right=right / len(verdicts),
            false=(len(decided) - right) / len(verdicts),
            any_false=float(len(decided) > right),
            false_of_winners=(len(decided) - of_winners) / len(verdicts),
        )

    every = answer.verdicts or judge_answer(answer, surface.sds, QUESTIONS)
    return Score(
        by_rule=count(every),
        longest=count(
            answer.verdicts_longest or judge_answer(answer, surface.sds, LONGEST_QUESTIONS)
        ),
        from_means=count(claim_from_means(answer)),
        by_lead=count_by_lead(every, surface),
        regret=answer.regret(surface),
        updates=answer.updates,
        updates_longest=answer.updates_longest,
        updates_search=answer.updates_search,
    )


def count_by_lead(
    verdicts: Mapping[Question, Verdict], surface: Surface
) -> dict[str, tuple[int, int, int]]:
    """Size of the true lead -> how many verdicts are right, false, and asked."""
    counts = dict.fromkeys(LEADS, (0, 0, 0))
    for question, verdict in verdicts.items():
        lead = surface.truth(question)
        right, false, asked = counts[size_of(lead)]
        is_right = verdict in DECIDED and is_true(verdict, lead)
        is_false = verdict in DECIDED and not is_right
        counts[size_of(lead)] = (right + is_right, false + is_false, asked + 1)
    return counts


def score_answers(answers: Iterable[Answer], surface: Surface) -> list[tuple[Point, Score]]:
    """Policy and budget of each answer, and its score."""
    return [((one.policy, one.budget), score_answer(one, surface)) for one in answers]


@dataclass(frozen=True, slots=True)
class Tally:
    """Scores of every policy and budget, kind by kind; surfaces in one order everywhere."""

    scores: dict[Kind, dict[Point, list[Score]]] = field(default_factory=dict)

    def add(self, surface: Surface, scores: Iterable[tuple[Point, Score]]) -> None:
        """Adds the scores of all answers to one surface."""
        points = self.scores.setdefault((surface.family, surface.noise), {})
        for point, score in scores:
            points.setdefault(point, []).append(score)

    @property
    def points(self) -> list[Point]:
        """Every policy and budget, in the order in which they answered."""
        return list(next(iter(self.scores.values())))

    def values(
        self, point: Point, read: Callable[[Score], float], kinds: Sequence[Kind] | None = None
    ) -> Floats:
        """One number of every score of a point, over these kinds, or over all."""
        chosen = list(self.scores) if kinds is None else kinds
        return np.array([read(s) for kind in chosen for s in self.scores[kind][point]])


def share_open(right: Floats, false: Floats) -> Floats:
    """What is neither right nor false, without rounding errors below zero."""
    rest: Floats = np.maximum(0.0, np.round(1.0 - right - false, 9)) + 0.0
    return rest


def ratio_with_interval(part: Floats, whole: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Sum over sum, and the 95 % interval of it (percentiles of resampled surfaces)."""
    rows = _resample(len(part), seed)
    with np.errstate(invalid="ignore"):
        ratios = part[rows].sum(axis=1) / whole[rows].sum(axis=1)
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    return float(part.sum() / whole.sum()), float(low), float(high)


def mean_with_interval(values: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean, and the 95 % interval of it (percentiles of resampled surfaces)."""
    means = values[_resample(len(values), seed)].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def _resample(num: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(num, size=(RESAMPLES, num))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Goal:
    """How many of the best rival's updates this program takes for as many right verdicts."""

    rival: Point
    """The cheapest point within ``TOLERANCE`` of the highest share of right verdicts."""
    rival_right: Floats
    """Share of right verdicts of each surface."""
    ratio: float
    """Infinite where the program does not reach that share."""
    low: float
    high: float
    """The 95 % interval of the ratio."""
    false: Floats
    """Share of false verdicts of the program there, surface by surface."""
    any_false: Floats
    """1 for each surface with a false verdict there."""

    @property
    def is_met(self) -> bool:
        """At most 0.45 of the updates, and at most 5 % of the verdicts false."""
        return self.ratio <= MOST_UPDATES and float(self.false.mean()) <= MOST_FALSE


TOLERANCE = 0.02
"""Share of right verdicts by which a cheaper rival may be worse than the best one. Without it a
rival that stopped gaining long ago would be held against us at its dearest budget."""
MOST_UPDATES = 0.45
MOST_FALSE = 0.05


def rate_against_rivals(
    tally: Tally, kinds: Sequence[Kind], policy: str, rivals: Sequence[str]
) -> Goal:
    """The goal for one of this program's policies, over these kinds of surfaces."""
    our_points = [point for point in tally.points if point[0] == policy]
    others = [point for point in tally.points if point[0] in rivals]
    table = {
        point: (
            tally.values(point, lambda s: s.by_rule.right, kinds),
            tally.values(point, lambda s: s.updates, kinds),
        )
        for point in (*our_points, *others)
    }
    num = len(table[our_points[0]][0])
    everything = np.arange(num)[None, :]
    rival, share, ratio = _ratio(table, our_points, others, everything[0])
    drawn = [_ratio(table, our_points, others, row)[2] for row in _resample(num, 1)[:500]]
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    reached = [p for p in our_points if table[p][0].mean() >= share - TOLERANCE] or our_points[-1:]
    cheapest = min(reached, key=lambda p: float(table[p][1].mean()))
    return Goal(
        rival=rival,
        rival_right=table[rival][0],
        ratio=ratio,
        low=float(low),
        high=float(high),
        false=tally.values(cheapest, lambda s: s.by_rule.false, kinds),
        any_false=tally.values(cheapest, lambda s: s.by_rule.any_false, kinds),
    )


def _ratio(
    table: Mapping[Point, tuple[Floats, Floats]],
    our_points: Sequence[Point],
    others: Sequence[Point],
    rows: NDArray[np.int64],
) -> tuple[Point, float, float]:
    """(best rival, its share, ratio of updates at that share) over some of the surfaces."""
    shares = {p: float(right[rows].mean()) for p, (right, _) in table.items()}
    costs = {p: float(updates[rows].mean()) for p, (_, updates) in table.items()}
    target = max(shares[p] for p in others) - TOLERANCE
    rival = min((p for p in others if shares[p] >= target), key=lambda p: costs[p])
    cost = _cost_of(target, [(costs[p], shares[p]) for p in our_points])
    return rival, target + TOLERANCE, cost / costs[rival]


def _cost_of(target: float, points: Sequence[tuple[float, float]]) -> float:
    """Updates at which a share is reached, between budgets in the logarithm of the updates."""
    before: tuple[float, float] | None = None
    for cost, share in sorted(points):
        if share >= target:
            if before is None or share == before[1]:
                return cost
            part = (target - before[1]) / (share - before[1])
            return float(np.exp(np.log(before[0]) + part * np.log(cost / before[0])))
        if before is None or share > before[1]:
            before = (cost, share)
    return float("inf")
