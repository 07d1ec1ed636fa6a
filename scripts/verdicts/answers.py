"""What a policy hands in: scores for each question, a recommendation, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.verdicts import Verdict
from verdicts.surfaces import ARMS, LENGTHS, REGIMES, Cell, Question, Surface

Place = tuple[str, str, float]
"""(regime, arm, length)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The configuration that a policy would use for one arm, regime and length."""

    rate: float
    scores: tuple[float, ...]
    """Of the runs that the policy compares arms by."""

    @property
    def mean(self) -> float:
        """Mean of its scores."""
        return sum(self.scores) / len(self.scores)

    def first(self, num: int) -> "Winner":
        """The same with its first scores only."""
        return replace(self, scores=self.scores[:num])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of one policy at one budget."""

    policy: str
    budget: str
    winners: Mapping[Place, Winner]
    """A place without a finished run is left out."""
    updates: float
    """What all runs cost, in units of 1x."""
    updates_longest: float
    """What the answer at the longest length alone costs with this policy."""
    updates_search: float = 0.0
    """What those runs cost that chose configurations and are not compared themselves."""
    verdicts: Mapping[Question, Verdict] | None = None
    """Verdicts that the policy took while it ran; None: judged at the end."""
    verdicts_longest: Mapping[Question, Verdict] | None = None
    """The same of a study that asks about the longest length alone."""

    def scores(self, cell: Cell, length: float) -> tuple[float, ...]:
        """The scores of an arm in a regime at a length; empty if it has none."""
        winner = self.winners.get((*cell, length))
        return winner.scores if winner else ()

    def regret(self, surface: Surface) -> float:
        """True AP that the recommended runs lack to the best ones, mean of the regimes.

        A policy recommends the arm, length and rate with the highest mean score.
        """
        return sum(self._regret_in(surface, regime) for regime in REGIMES) / len(REGIMES)

    def recommend(self, regime: str) -> Place | None:
        """Arm and length with the highest mean score; None without any."""
        places: Sequence[Place] = [
            (regime, arm, length)
            for arm in ARMS
            for length in LENGTHS
            if (regime, arm, length) in self.winners
        ]
        return max(places, key=lambda place: self.winners[place].mean, default=None)

    def _regret_in(self, surface: Surface, regime: str) -> float:
        best = self.recommend(regime)
        if best is None:
            return surface.best_ap(regime)
        _, arm, length = best
        true = surface.arms[regime, arm].true_ap(self.winners[best].rate, length)
        return surface.best_ap(regime) - true
