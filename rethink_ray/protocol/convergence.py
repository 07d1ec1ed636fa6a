"""At which length a cell stopped improving, where its ladder may end early (``converged``)."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from rethink_ray.protocol.halving import HalvingState, Ladder
from rethink_ray.records.state import StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """The length at which the rounds of a cell ended, of those that were proposed so far."""

    length: float
    """The longest length that a round ran."""
    improving: bool
    """At least one round still gained enough at the end of the ladder; else all converged."""

    @property
    def words(self) -> str:
        """``converged at 8x``, ``still improving at 12x``."""
        trend = "still improving" if self.improving else "converged"
        return f"{trend} at {self.length:g}x"


def derive_convergence(
    state: StudyState, ladder: Ladder, rounds: Collection[HalvingState]
) -> Convergence | None:
    """Where a cell ended; None while a round runs, and where the ladder may not end early.

    A round without a finite score at its end is left out; None if no round has one.
    """
    if ladder.converged is None or len(ladder.lengths) < 2:
        return None
    if not all(halving.is_decided for halving in rounds):
        return None
    scored = [halving for halving in rounds if _has_score_at_end(state, ladder, halving)]
    if not scored:
        return None
    return Convergence(
        length=max(ladder.lengths[len(halving.steps) - 1] for halving in scored),
        improving=not all(halving.converged for halving in scored),
    )


def _has_score_at_end(state: StudyState, ladder: Ladder, halving: HalvingState) -> bool:
    length = ladder.lengths[len(halving.steps) - 1]
    scores = [state.metric(m.trial_id, length, ladder.metric) for m in halving.steps[-1]]
    return any(score is not None and math.isfinite(score) for score in scores)
