"""Synchronous halving: which trials of a round run which schedule length.

A round is a set of trials proposed together. All of them train for the first length of the ladder;
when the last one has finished or ended, the best ``keep[1]`` are promoted to the second length, and
so on. A trial *finishes* a length when it is trained and scored there. It *ends* for good if it
diverges or cannot run; its round does not wait for it then.

Trials are compared only inside their round and at one length, so the outcome depends on neither the
clock nor the order in which trials finish. A round may also *converge* (``schedule.converged``): if
its best score gains too little from one length to the next, no trial of it is promoted further.

Nothing is stored: ``replay_halving`` derives the state of a round from the records each time.
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
    """The schedule lengths of a cell, and how many trials of a round run each of them.

    Example: lengths (1, 2, 4) and keep (8, 4, 2) train 8 trials for 1x, the best 4 of them for 2x,
    and the best 2 of those for 4x.
    """

    lengths: tuple[float, ...]
    """In units of 1x, rising."""
    keep: tuple[int, ...]
    """``keep[i]``: how many trials of a round run length i; no entry is larger than the one before.
    One entry for each length, or a single one if the length is searched."""
    metric: str
    """``<split>/<metric>`` that trials are ranked by; higher is better."""
    searched: bool = False
    """The length is a searched parameter: each trial runs only its own, and none is promoted."""
    converged: float | None = None
    """If a round's best score gains fewer points than this from one length to the next, the round
    has converged. None: rounds never converge."""

    def lengths_of(self, member: Member) -> tuple[float, ...]:
        """The lengths this trial runs if it is promoted every time."""
        if self.searched:
            return (float(member.params[LENGTH_PATH] or 0.0),)
        return self.lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingState:
    """How far the halving of one round has come."""

    steps: tuple[tuple[Member, ...], ...]
    """``steps[i]``: the members promoted to length i. The last step is the one that runs now, or
    the one at which the round was decided."""
    waiting: tuple[Member, ...]
    """Members of the last step that have neither finished its length nor ended."""
    converged: bool = False
    """The best score gained too little at the last step, so no member is promoted further."""

    @property
    def is_decided(self) -> bool:
        """Whether halving is over for this round: nothing runs, and nothing will be promoted."""
        return not self.waiting

    def count_steps(self, trial_id: str) -> int:
        """The number of lengths that this member was promoted to, the first one included."""
        return sum(any(m.trial_id == trial_id for m in step) for step in self.steps)

    def lengths(self, ladder: Ladder) -> tuple[float, ...]:
        """The lengths up to the one at which the round converged; all of them if it has not."""
        return ladder.lengths[: len(self.steps)] if self.converged else ladder.lengths

    def converged_at(self, ladder: Ladder) -> float | None:
        """The length at which the round converged; None if it has not."""
        return self.lengths(ladder)[-1] if self.converged else None

    @property
    def losers(self) -> frozenset[str]:
        """Ids of the members that are not in the last step, because others were promoted."""
        survivors = {m.trial_id for m in self.steps[-1]}
        return frozenset(m.trial_id for m in self.steps[0] if m.trial_id not in survivors)


def ladder_of(study: Study, cell: Cell) -> Ladder:
    """The ladder of a cell, as its study file declares it."""
    return Ladder(
        lengths=lengths_of(study, cell),
        keep=keep_of(study, cell),
        metric=selection_metric(study),
        searched=LENGTH_PATH in space_of(study, cell),
        converged=study.schedule.converged,
    )


def replay_halving(
    state: StudyState,
    ladder: Ladder,
    members: Sequence[Member],
    before: HalvingState | None = None,
) -> HalvingState:
    """The halving of one round, as far as the records decide it.

    A round smaller than ``keep[0]`` promotes ``min(keep[i], size)``. A trial without a finite score
    at a length (diverged, infeasible, ...) is never promoted.

    Args:
        state: the records.
        ladder: the ladder of the round's cell.
        members: all trials of the round, in the order in which they were proposed.
        before: the answer of an earlier call for this round, from the same records before they
            grew. It saves time and changes nothing.
    """
    if before is not None:
        if before.is_decided:
            return before
        index = len(before.steps) - 1
        waiting = _unfinished(state, ladder, before.waiting, index)
        if waiting:
            return HalvingState(steps=before.steps, waiting=waiting)
    steps = [tuple(members)]
    for index in range(len(ladder.keep)):
        waiting = _unfinished(state, ladder, steps[-1], index)
        converged = not waiting and _has_converged(state, ladder, steps)
        if waiting or converged or index + 1 == len(ladder.keep):
            return HalvingState(steps=tuple(steps), waiting=waiting, converged=converged)
        steps.append(_best(state, ladder, steps[-1], index))
    raise AssertionError("keep has at least one entry")


def _unfinished(
    state: StudyState, ladder: Ladder, members: Sequence[Member], index: int
) -> tuple[Member, ...]:
    """The members that have neither finished length ``index`` nor ended."""
    return tuple(
        m
        for m in members
        if (m.trial_id, ladder.lengths_of(m)[index]) not in state.rungs
        and m.trial_id not in state.ended
    )


def _has_converged(state: StudyState, ladder: Ladder, steps: Sequence[tuple[Member, ...]]) -> bool:
    """Whether the best score gained less than ``ladder.converged`` points at the last step."""
    if ladder.converged is None or len(steps) < 2:
        return False
    last = len(steps) - 1
    before = _best_score(state, ladder, steps[last - 1], last - 1)
    now = _best_score(state, ladder, steps[last], last)
    if before is None or now is None:
        return False
    return round(now - before, 9) < ladder.converged


def _best_score(
    state: StudyState, ladder: Ladder, members: Sequence[Member], index: int
) -> float | None:
    """The highest finite score at length ``index``; None if there is none."""
    scores = [state.metric(m.trial_id, ladder.lengths[index], ladder.metric) for m in members]
    return max((s for s in scores if s is not None and math.isfinite(s)), default=None)


def _best(
    state: StudyState, ladder: Ladder, members: Sequence[Member], index: int
) -> tuple[Member, ...]:
    """The best ``keep[index + 1]`` members at length ``index``, in the order of the round."""
    ranked = []
    for member in members:
        score = state.metric(member.trial_id, ladder.lengths_of(member)[index], ladder.metric)
        if score is not None and math.isfinite(score):
            ranked.append(rank_key(score, member.trial_id))
    promoted = {trial_id for _, trial_id in sorted(ranked)[: ladder.keep[index + 1]]}
    return tuple(m for m in members if m.trial_id in promoted)
