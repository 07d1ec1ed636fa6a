"""How far a cell has climbed where its ladder may end early (``schedule.converged``).

A copied arm runs as far as the arm whose values it has, and says nothing of its own.
"""

import math
from dataclasses import dataclass

from rethink_ray.protocol.halving import HalvingState, Ladder, ladder_of, replay_halving
from rethink_ray.protocol.incumbents import selection_metric
from rethink_ray.records.state import StudyState
from rethink_ray.spec.resolve import Cell, copied_cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """Where a cell's rounds, those that are proposed so far, ended."""

    length: float
    """The longest that a round ran."""
    improving: bool
    """Some round still gained enough at the end of the ladder; else all of them converged."""

    @property
    def words(self) -> str:
        """``converged at 8x``, ``still improving at 12x``."""
        what = "still improving" if self.improving else "converged"
        return f"{what} at {self.length:g}x"


def convergence_of(study: Study, state: StudyState, cell: Cell) -> Convergence | None:
    """Where a cell ended; None while a round runs, where nothing was finished, or without a rule.

    A round whose members all ended by their own failure says nothing.
    """
    ladder = ladder_of(study, cell)
    rounds = state.rounds.get((cell, "search"), {})
    copies = copied_cell(study, cell) is not None
    if ladder.converged is None or copies or len(ladder.lengths) < 2:
        return None
    halving_states = [
        replay_halving(study, state, ladder, rounds[number].members) for number in sorted(rounds)
    ]
    if not all(standing.is_decided for standing in halving_states):
        return None
    ends = [end for s in halving_states if (end := _end_of(study, state, ladder, s)) is not None]
    if not ends:
        return None
    return Convergence(
        length=max(length for length, _ in ends), improving=any(more for _, more in ends)
    )


def _end_of(
    study: Study, state: StudyState, ladder: Ladder, standing: HalvingState
) -> tuple[float, bool] | None:
    """The last length of a decided round, and whether it was still improving there."""
    length = ladder.lengths[len(standing.steps) - 1]
    metric = selection_metric(study)
    values = [state.metric(m.trial_id, length, metric) for m in standing.steps[-1]]
    if not any(v is not None and math.isfinite(v) for v in values):
        return None
    return length, not standing.converged
