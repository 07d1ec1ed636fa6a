"""Who of a round runs which length, as the records say: synchronous halving on decayed rungs.

A step is decided when everybody who ran it has finished or ended; ranks compare members of one
round at one length and nothing else, so no clock and no order of arrival can change them. Whether a
round has converged (``schedule.converged``) is decided in the same way, from the round alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.protocol.incumbents import rank_key, selection_metric
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.resolve import Cell, keep_of, lengths_of, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The lengths of a cell, and how many of a round go on to each of them."""

    lengths: tuple[float, ...]
    keep: tuple[int, ...]
    searched: bool = False
    """The length is a parameter: every member has one rung of its own, nobody is promoted."""
    converged: float | None = None
    """Points that the best of a round must gain from length to length to go on; None: none."""

    def of(self, member: Member) -> tuple[float, ...]:
        """The lengths this member would run if it were promoted all the way."""
        if self.searched:
            return (float(member.params[LENGTH_PATH] or 0.0),)
        return self.lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingState:
    """How far the halving of one round has come."""

    steps: tuple[tuple[Member, ...], ...]
    """Who runs the first length, the second, ...: as far as it is decided."""
    waiting: tuple[Member, ...]
    """Who of the last step has neither finished nor ended."""
    converged: bool = False
    """The last step gained too little over the one before it: nobody runs on, on any ladder."""

    @property
    def is_decided(self) -> bool:
        """Nothing of this round is left to run."""
        return not self.waiting

    def granted(self, trial_id: str) -> int:
        """How many lengths halving granted this member."""
        return sum(any(m.trial_id == trial_id for m in step) for step in self.steps)

    def lengths(self, ladder: Ladder) -> tuple[float, ...]:
        """The lengths that this round may run, as far as it is decided."""
        return ladder.lengths[: len(self.steps)] if self.converged else ladder.lengths


def ladder_of(study: Study, cell: Cell) -> Ladder:
    """The ladder that halving climbs in a cell."""
    return Ladder(
        lengths=lengths_of(study, cell),
        keep=keep_of(study, cell),
        searched=LENGTH_PATH in space_of(study, cell),
        converged=study.schedule.converged,
    )


def replay_halving(
    study: Study,
    state: StudyState,
    ladder: Ladder,
    members: Sequence[Member],
    before: HalvingState | None = None,
) -> HalvingState:
    """The halving of one round, replayed from the records.

    A smaller last round keeps ``min(keep[i], size)``; whoever has no finite value at a length
    (diverged, infeasible, ...) ranks last there and is never promoted.

    Args:
        study: the study.
        state: its records.
        ladder: the cell's ladder.
        members: the round.
        before: how it stood when the same state held fewer records; only saves time.
    """
    if before is not None:
        if before.is_decided:
            return before
        index = len(before.steps) - 1
        waiting = tuple(m for m in before.waiting if not _over(state, m, ladder.of(m)[index]))
        if waiting:
            return HalvingState(steps=before.steps, waiting=waiting)
    steps = [tuple(members)]
    for index in range(len(ladder.keep)):
        waiting = tuple(m for m in steps[-1] if not _over(state, m, ladder.of(m)[index]))
        converged = not waiting and _has_converged(study, state, ladder, steps)
        if waiting or converged or index + 1 == len(ladder.keep):
            return HalvingState(steps=tuple(steps), waiting=waiting, converged=converged)
        steps.append(_best(study, state, ladder, steps[-1], index))
    raise AssertionError("keep has at least one entry")


def _over(state: StudyState, member: Member, length: float) -> bool:
    return (member.trial_id, length) in state.rungs or member.trial_id in state.ended


def _has_converged(
    study: Study, state: StudyState, ladder: Ladder, steps: Sequence[tuple[Member, ...]]
) -> bool:
    """The best of the last step gains less than asked over the best of the step before."""
    if ladder.converged is None or len(steps) < 2:
        return False
    before, now = (
        _best_score(study, state, steps[i], ladder.lengths[i])
        for i in (len(steps) - 2, len(steps) - 1)
    )
    if before is None or now is None:
        return False
    return round(now - before, 9) < ladder.converged


def _best_score(
    study: Study, state: StudyState, runners: Sequence[Member], length: float
) -> float | None:
    metric = selection_metric(study)
    values = [state.metric(m.trial_id, length, metric) for m in runners]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return max(finite, default=None)


def _best(
    study: Study, state: StudyState, ladder: Ladder, runners: Sequence[Member], index: int
) -> tuple[Member, ...]:
    """The best ``keep[index + 1]`` at length ``index``, in the order of the round."""
    metric = selection_metric(study)
    ranked = []
    for member in runners:
        value = state.metric(member.trial_id, ladder.of(member)[index], metric)
        if value is not None and math.isfinite(value):
            ranked.append(rank_key(study, value, member.trial_id))
    going_on = {trial_id for _, trial_id in sorted(ranked)[: ladder.keep[index + 1]]}
    return tuple(m for m in runners if m.trial_id in going_on)
