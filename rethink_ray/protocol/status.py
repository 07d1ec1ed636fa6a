"""What became of each trial, by the records alone.

A trial is *stopped* once halving has decided so. While another trial of its round still runs, it is
*waiting*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rethink_ray.protocol.halving import HalvingState, Ladder
from rethink_ray.protocol.incumbents import distinct_members
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Purpose
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.settings import LENGTH_PATH

StateName = Literal[
    "waiting", "done", "stopped", "diverged", "infeasible", "misconfigured", "refused"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome:
    """What the search of one cell has decided so far."""

    ladder: Ladder
    halving: Mapping[int, HalvingState]
    """Round -> its halving; empty where the cell copies values, because copies do not compete."""
    audited: frozenset[str]
    """Ids of the trials that the audit trains to the end."""
    incumbents: Mapping[float, Member]
    """Length -> incumbent."""
    is_copy: bool
    """The cell runs another cell's values."""

    @property
    def targets(self) -> dict[str, float]:
        """Incumbent -> the longest length that it is incumbent for.

        Its replicates run up to there; in a cell that copies values the incumbent itself does too.
        """
        return {self.incumbents[x].trial_id: x for x in sorted(self.incumbents)}

    def goal_of(self, member: Member, purpose: Purpose, number: int) -> float:
        """The length at which a trial is done; 0 if what it repeats or copies is no incumbent now.

        Args:
            member: the trial.
            purpose: the purpose of its round.
            number: the number of its round.
        """
        if purpose == "replicate":
            return self.targets.get(member.of or "", 0.0)
        if self.is_copy:
            return self.targets.get(member.trial_id, 0.0)
        converged = self.halving[number].converged_at(self.ladder)
        return float(member.params.get(LENGTH_PATH) or converged or self.ladder.lengths[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStatus:
    """One trial in one cell, and how far it came."""

    cell: Cell
    purpose: Purpose
    round: int
    index: int
    """Position in its round."""
    member: Member
    state: StateName
    longest: float | None
    """The longest length it finished."""
    incumbent_for: tuple[float, ...]
    audit: bool
    """The audit trains this trial to the end, though halving stopped it."""
    converged: float | None = None
    """Search trials: the length at which their round stopped improving (``schedule.converged``);
    None: it did not, or the study has no such rule."""


def derive_statuses(
    state: StudyState, cell: Cell, outcome: SearchOutcome
) -> tuple[TrialStatus, ...]:
    """The status of every trial: search before replicates, rounds and positions in order."""
    incumbent_for = _lengths_by_incumbent(outcome.incumbents)
    losers = frozenset[str]().union(*(halving.losers for halving in outcome.halving.values()))
    stopped = losers - outcome.audited
    statuses: list[TrialStatus] = []
    purposes: tuple[Purpose, ...] = ("search", "replicate")
    for purpose in purposes:
        rounds = state.rounds.get((cell, purpose), {})
        for number in sorted(rounds):
            halving = outcome.halving.get(number) if purpose == "search" else None
            for index, member in enumerate(rounds[number].members):
                done = state.lengths_done(member.trial_id, outcome.ladder.lengths)
                goal = outcome.goal_of(member, purpose, number)
                status = TrialStatus(
                    cell=cell,
                    purpose=purpose,
                    round=number,
                    index=index,
                    member=member,
                    state=_state_of(state, member, done, goal, stopped),
                    longest=max(done, default=None),
                    incumbent_for=incumbent_for.get(member.trial_id, ()),
                    audit=member.trial_id in outcome.audited,
                    converged=halving.converged_at(outcome.ladder) if halving else None,
                )
                statuses.append(status)
    return tuple(statuses)


def _lengths_by_incumbent(incumbents: Mapping[float, Member]) -> dict[str, tuple[float, ...]]:
    return {
        best.trial_id: tuple(x for x, m in incumbents.items() if m.trial_id == best.trial_id)
        for best in distinct_members(incumbents)
    }


def _state_of(
    state: StudyState,
    member: Member,
    done: Sequence[float],
    goal: float,
    stopped: frozenset[str],
) -> StateName:
    """The state of a trial.

    ``done``: the lengths that it finished. ``stopped``: ids of the trials that halving stopped.
    """
    ended = state.ended.get(member.trial_id)
    if ended is not None:
        return ended.outcome
    if done and done[-1] >= goal:
        return "done"
    is_dethroned = goal == 0.0  # another trial has become the incumbent that it repeats
    return "stopped" if is_dethroned or member.trial_id in stopped else "waiting"
