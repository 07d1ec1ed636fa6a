"""A cell's incumbent at a length: its best search trial there, by the selection split.

Trials are ranked by rungs of one length that finished with their full decay. Ties go to the smaller
trial id, so that neither the clock nor the order in which trials finish decides.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.study import Study

WORST_SCORE = 0.0
"""AP points of a replicate that diverged or could not run: it is counted, never dropped."""


def selection_metric(study: Study) -> str:
    """The ``<split>/<metric>`` that search, halving and incumbents are ranked by."""
    return f"{study.data.select_split}/{study.objective.metric}"


def report_metric(study: Study) -> str:
    """The ``<split>/<metric>`` that findings compare replicates by."""
    return f"{study.data.report_split}/{study.objective.metric}"


def rank_key(score: float | None, trial_id: str) -> tuple[float, str]:
    """Sorts the best trial first; trials without a finite score come last."""
    if score is None or not math.isfinite(score):
        return (math.inf, trial_id)
    return (-score, trial_id)


def rank_incumbents(
    state: StudyState, members: Sequence[Member], lengths: Iterable[float], metric: str
) -> dict[float, Member]:
    """Length -> best member there, for every length that a member finished with a finite score.

    Args:
        state: the records.
        members: the search trials of a cell.
        lengths: the lengths of the cell's ladder.
        metric: ``<split>/<metric>``; higher is better.
    """
    incumbents: dict[float, Member] = {}
    for length in lengths:
        ranked = []
        for member in members:
            score = state.metric(member.trial_id, length, metric)
            if score is not None and math.isfinite(score):
                ranked.append((rank_key(score, member.trial_id), member))
        if ranked:
            incumbents[length] = min(ranked, key=lambda pair: pair[0])[1]
    return incumbents


def match_copies(
    source: Mapping[float, Member], copies: Sequence[Member], lengths: Iterable[float]
) -> dict[float, Member]:
    """Length -> the copy of the source's incumbent there, for an arm that copies values.

    Such an arm does not choose: its incumbent is the trial that has the values of the source's.

    Args:
        source: length -> incumbent of the cell that is copied.
        copies: the trials with its values.
        lengths: the lengths of the copying cell's ladder.
    """
    by_original: dict[str | None, Member] = {}
    for member in copies:
        by_original.setdefault(member.of, member)
    return {
        length: by_original[source[length].trial_id]
        for length in lengths
        if length in source and source[length].trial_id in by_original
    }


def distinct_members(by_length: Mapping[float, Member]) -> tuple[Member, ...]:
    """The different incumbents, ordered by the first length that each is incumbent for."""
    ordered = (by_length[length] for length in sorted(by_length))
    return tuple({member.trial_id: member for member in ordered}.values())


def is_repeated(state: StudyState, incumbent: Member) -> bool:
    """Whether an incumbent gets replicates: if it finished, or diverged.

    Copied values may be unable to run in their cell at all; a replicate would fail as well.
    """
    ended = state.ended.get(incumbent.trial_id)
    return ended is None or ended.outcome == "diverged"
