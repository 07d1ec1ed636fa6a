"""What became of each trial, told from the records alone.

A trial is *stopped* only once halving has decided so: while a round-mate still runs, it is waiting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rethink_ray.protocol.audit import audited
from rethink_ray.protocol.halving import HalvingState, ladder_of, replay_halving
from rethink_ray.protocol.incumbents import incumbents
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member, Purpose
from rethink_ray.spec.resolve import Cell, copied_cell, lengths_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study

StateName = Literal[
    "waiting", "done", "stopped", "diverged", "infeasible", "misconfigured", "refused"
]


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
    """A loser that ran the whole ladder all the same."""
    converged: float | None = None
    """Search trials: the length at which their round stopped improving (``schedule.converged``);
    None: it has not, or nobody asked."""


def trial_statuses(study: Study, state: StudyState, cell: Cell) -> list[TrialStatus]:
    """Every trial of a cell: search before replicates, rounds and positions in order."""
    best = incumbents(study, state, cell)
    ladder = lengths_of(study, cell)
    lengths_for: dict[str, list[float]] = {}
    for length, member in best.items():
        lengths_for.setdefault(member.trial_id, []).append(length)
    chosen = frozenset(audited(study, state, cell))
    halving_states = _standings(study, state, cell)
    stopped = _stopped(halving_states.values()) - chosen
    found = []
    purposes: tuple[Purpose, ...] = ("search", "replicate")
    for purpose in purposes:
        rounds = state.rounds.get((cell, purpose), {})
        for number in sorted(rounds):
            converged = _converged(halving_states, number, ladder) if purpose == "search" else None
            for index, member in enumerate(rounds[number].members):
                done = state.lengths_done(member.trial_id, ladder)
                if purpose == "search" and copied_cell(study, cell) is None:
                    goal = float(member.params.get(LENGTH_PATH) or converged or ladder[-1])
                else:
                    repeated = member.trial_id if purpose == "search" else member.of
                    goal = max(lengths_for.get(repeated or "", []), default=0.0)
                fate = TrialStatus(
                    cell=cell,
                    purpose=purpose,
                    round=number,
                    index=index,
                    member=member,
                    state=_state(state, member, done, goal, member.trial_id in stopped),
                    longest=max(done, default=None),
                    incumbent_for=tuple(lengths_for.get(member.trial_id, [])),
                    audit=member.trial_id in chosen,
                    converged=converged,
                )
                found.append(fate)
    return found


def _state(
    state: StudyState, member: Member, done: tuple[float, ...], goal: float, stopped: bool
) -> StateName:
    ended = state.ended.get(member.trial_id)
    if ended is not None:
        return ended.outcome
    if done and done[-1] >= goal:
        return "done"
    nobody_asks = goal == 0.0  # repeats an incumbent that more trials have dethroned
    return "stopped" if stopped or nobody_asks else "waiting"


def _standings(study: Study, state: StudyState, cell: Cell) -> dict[int, HalvingState]:
    """How the halving of each search round stands; empty for an arm that copies its values."""
    if copied_cell(study, cell) is not None:
        return {}
    ladder = ladder_of(study, cell)
    rounds = state.rounds.get((cell, "search"), {})
    return {
        n: replay_halving(study, state, ladder, proposed.members) for n, proposed in rounds.items()
    }


def _converged(
    halving_states: Mapping[int, HalvingState], number: int, lengths: tuple[float, ...]
) -> float | None:
    standing = halving_states.get(number)
    if standing is None or not standing.converged:
        return None
    return lengths[len(standing.steps) - 1]


def _stopped(halving_states: Iterable[HalvingState]) -> frozenset[str]:
    """Search trials that halving left behind, in every round of a cell."""
    losers: set[str] = set()
    for standing in halving_states:
        if len(standing.steps) > 1:
            survivors = {m.trial_id for m in standing.steps[-1]}
            losers |= {m.trial_id for m in standing.steps[0]} - survivors
    return frozenset(losers)
