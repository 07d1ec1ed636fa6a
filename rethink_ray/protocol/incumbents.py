"""A cell's best configuration for a length, judged on the split that search may look at.

Ranking compares only finished, fully decayed rungs of one length in one cell; ties go to the
smaller trial id, so that no clock and no order of arrival decides.
"""

import math

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.resolve import Cell, copied_cell, lengths_of, space_of
from rethink_ray.spec.settings import LENGTH_PATH
from rethink_ray.spec.study import Study


def selection_metric(study: Study) -> str:
    """``<split>/<metric>`` that search, halving and incumbents look at."""
    return f"{study.data.select_split}/{study.objective.metric}"


def report_metric(study: Study) -> str:
    """``<split>/<metric>`` that replicates and findings look at."""
    return f"{study.data.report_on}/{study.objective.metric}"


def worst_score(study: Study) -> float:
    """What a replicate scores that the method ended: it is never dropped."""
    return 0.0


def rank_key(study: Study, value: float | None, trial_id: str) -> tuple[float, str]:
    """Sorts best first; what has no finite value (diverged, infeasible, ...) comes last."""
    if value is None or not math.isfinite(value):
        return (math.inf, trial_id)
    return (-value, trial_id)


def rung_lengths(study: Study, cell: Cell, member: Member) -> tuple[float, ...]:
    """The lengths this member may run: the cell's ladder, or the one length sampled for it."""
    if LENGTH_PATH in space_of(study, cell):
        return (float(member.params[LENGTH_PATH] or 0.0),)
    return lengths_of(study, cell)


def incumbent(study: Study, state: StudyState, cell: Cell, length: float) -> Member | None:
    """The best search trial of ``cell`` at ``length`` so far; None if no trial finished there.

    Each search of a cell has its own. An arm that copies its values (``tuning: {copy_from: ...}``)
    has no choice: its incumbent is the trial that carries the values of the source's incumbent.
    """
    copied = copied_cell(study, cell)
    if copied is not None:
        source = incumbent(study, state, copied, length)
        if source is None:
            return None
        of_source = [m for _, m in state.members(cell, "search") if m.of == source.trial_id]
        return of_source[0] if of_source else None
    metric = selection_metric(study)
    ranked = []
    for _, member in state.members(cell, "search"):
        value = state.metric(member.trial_id, length, metric)
        if value is not None and math.isfinite(value):
            ranked.append((rank_key(study, value, member.trial_id), member))
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def incumbents(study: Study, state: StudyState, cell: Cell) -> dict[float, Member]:
    """Length -> incumbent, for every length of the cell that some search trial finished."""
    found = {length: incumbent(study, state, cell, length) for length in lengths_of(study, cell)}
    return {length: member for length, member in found.items() if member is not None}


def is_repeated(state: StudyState, leader: Member) -> bool:
    """Whether an incumbent gets replicates: not if the method ended it, unless it diverged.

    Copied values may not be able to run in their cell at all; a re-run would say the same.
    """
    ended = state.ended.get(leader.trial_id)
    return ended is None or ended.outcome == "diverged"
