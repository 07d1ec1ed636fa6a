"""The audit: randomly chosen losers of a cell's first round that run the whole ladder all the same,
or as much of it as the round does where it has converged.

They measure what halving threw away. The choice is a hash of seed, cell and trial id, so it is the
same everywhere; a loser that has already run on stays chosen when the ladder grows.
"""

from rethink_ray.protocol.halving import HalvingState, Ladder, ladder_of, replay_halving
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.hashing import sha256_of
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


def audited(study: Study, state: StudyState, cell: Cell) -> tuple[str, ...]:
    """Trial ids of a cell's audit; empty until its first round is decided."""
    first = state.rounds.get((cell, "search"), {}).get(0)
    if first is None or not study.budget.audit:
        return ()
    ladder = ladder_of(study, cell)
    standing = replay_halving(study, state, ladder, first.members)
    return tuple(m.trial_id for m in chosen_losers(study, state, cell, ladder, standing))


def chosen_losers(
    study: Study, state: StudyState, cell: Cell, ladder: Ladder, standing: HalvingState
) -> tuple[Member, ...]:
    """The audit among the members of a decided first round, in the order of the round.

    A loser finished the first length and was stopped before the last; who ended by its own failure
    is none.
    """
    if not standing.is_decided or ladder.searched or len(ladder.lengths) < 2:
        return ()
    losers = [m for m in standing.steps[0] if _lost(state, ladder, standing, m)]
    order = sorted(losers, key=lambda m: _draw(study, state, cell, ladder, standing, m))
    going_on = {m.trial_id for m in order[: study.budget.audit]}
    return tuple(m for m in losers if m.trial_id in going_on)


def _lost(state: StudyState, ladder: Ladder, standing: HalvingState, member: Member) -> bool:
    """Finished everything that halving granted, and that was not all that the round runs."""
    granted = standing.granted(member.trial_id)
    last = (member.trial_id, ladder.lengths[granted - 1])
    return granted < len(standing.lengths(ladder)) and last in state.rungs


def _draw(
    study: Study,
    state: StudyState,
    cell: Cell,
    ladder: Ladder,
    standing: HalvingState,
    member: Member,
) -> tuple[bool, str]:
    """Who has run past what halving granted first, the rest in the order of a hash."""
    text = f"{study.seed}|{cell.name}|audit|{member.trial_id}"
    return (
        not _ran_on(state, ladder, standing, member),
        sha256_of(text),
    )


def _ran_on(state: StudyState, ladder: Ladder, standing: HalvingState, member: Member) -> bool:
    """The records show this loser past what halving granted: its audit has begun."""
    granted = standing.granted(member.trial_id)
    further = ladder.lengths[granted:]
    return member.trial_id in state.ended or bool(state.lengths_done(member.trial_id, further))
