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
    """At most ``num`` losers of a round, in its order, as far as the records decide who they are.

    A loser is a trial that finished the last length that it was promoted to, while the round ran a
    longer one. A loser whose audit has begun stays chosen when the ladder grows.

    The audit does not wait for the end of its round, because nothing that is still to come can
    change the choice: trials are taken in the order of their draw, up to the first one that may
    still win or lose. Where rounds may converge, the audit waits until the round is decided.

    Args:
        state: the records.
        ladder: the cell's.
        halving: the halving of its first round.
        num: how many to audit.
        draw: text that is hashed with each trial id; another text chooses other trials.
    """
    if not num or ladder.searched or len(ladder.lengths) < 2:
        return ()
    if not halving.is_decided and ladder.converged is not None:
        return ()

    def order(member: Member) -> tuple[bool, str]:
        digest = sha256_of(f"{draw}|{member.trial_id}")
        return (not _has_gone_on(state, ladder, halving, member), digest)

    chosen: set[str] = set()
    for member in sorted(halving.steps[0], key=order):
        if len(chosen) == num or _may_still_lose(state, ladder, halving, member):
            break
        if _is_loser(state, ladder, halving, member):
            chosen.add(member.trial_id)
    return tuple(m for m in halving.steps[0] if m.trial_id in chosen)


def _may_still_lose(
    state: StudyState, ladder: Ladder, halving: HalvingState, member: Member
) -> bool:
    """Whether a later promotion of the round may leave out this trial."""
    is_last_step = halving.is_decided or len(halving.steps) == len(ladder.keep)
    return not is_last_step and member in halving.steps[-1] and member.trial_id not in state.ended


def _is_loser(state: StudyState, ladder: Ladder, halving: HalvingState, member: Member) -> bool:
    num_steps = halving.count_steps(member.trial_id)
    last = (member.trial_id, ladder.lengths[num_steps - 1])
    return num_steps < len(halving.lengths(ladder)) and last in state.rungs


def _has_gone_on(state: StudyState, ladder: Ladder, halving: HalvingState, member: Member) -> bool:
    """The trial ended or finished a length after halving had stopped it: its audit has begun."""
    longer = ladder.lengths[halving.count_steps(member.trial_id) :]
    return member.trial_id in state.ended or bool(state.lengths_done(member.trial_id, longer))
