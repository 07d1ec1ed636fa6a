"""The audit: some trials that halving stopped in a cell's first round run the whole ladder anyway.

They measure what halving cost in accuracy. The choice is random but fixed: it follows a hash of
seed, cell and trial id, so every machine makes the same one.
"""

from rethink_ray.protocol.halving import HalvingState, Ladder
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.hashing import sha256_of


def choose_audited(
    state: StudyState, ladder: Ladder, halving: HalvingState, num: int, draw: str
) -> tuple[Member, ...]:
    """At most ``num`` losers of a round, in its order; none while the round is undecided.

    A loser is a trial that finished the last length that it was promoted to, while the round ran a
    longer one. A loser whose audit has begun stays chosen when the ladder grows.

    Args:
        state: the records.
        ladder: the cell's.
        halving: the halving of its first round.
        num: how many to audit.
        draw: text that is hashed with each trial id; another text chooses other trials.
    """
    if not num or not halving.is_decided or ladder.searched or len(ladder.lengths) < 2:
        return ()
    losers = [m for m in halving.steps[0] if _is_loser(state, ladder, halving, m)]

    def order(member: Member) -> tuple[bool, str]:
        digest = sha256_of(f"{draw}|{member.trial_id}")
        return (not _has_gone_on(state, ladder, halving, member), digest)

    chosen = {m.trial_id for m in sorted(losers, key=order)[:num]}
    return tuple(m for m in losers if m.trial_id in chosen)


def _is_loser(state: StudyState, ladder: Ladder, halving: HalvingState, member: Member) -> bool:
    num_steps = halving.count_steps(member.trial_id)
    last = (member.trial_id, ladder.lengths[num_steps - 1])
    return num_steps < len(halving.lengths(ladder)) and last in state.rungs


def _has_gone_on(state: StudyState, ladder: Ladder, halving: HalvingState, member: Member) -> bool:
    """The trial ended or finished a length after halving had stopped it: its audit has begun."""
    longer = ladder.lengths[halving.count_steps(member.trial_id) :]
    return member.trial_id in state.ended or bool(state.lengths_done(member.trial_id, longer))
