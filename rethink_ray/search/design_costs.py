"""Bounds the seconds that a design of a study takes, before there is a study to plan.

The cost is an upper bound: every length has a best configuration of its own, and slots wait as long
as they ever can. ``hours.py`` estimates the hours of the study that comes out of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rethink_ray.search.costs import new_steps
from rethink_ray.search.paces import Pace
from rethink_ray.spec.recipe import DecaySpec, ScheduleSpec

DESIGN_DECAY = DecaySpec(kind="step", before_end=(0.4, 0.13), factor=0.1)
"""The decay at the end of every length of a designed study, in units of 1x."""
STUDY_START_SECONDS = 30.0
"""Until the first jobs run: Ray starts, and each slot imports PyTorch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWork:
    """The effort of one cell: one search, and the replicates of its best configurations."""

    unit: int
    """Updates in 1x."""
    lengths: tuple[float, ...]
    keep: tuple[int, ...]
    num_select: int
    """Pictures that each rung is scored on."""
    num_report: int
    """Pictures that each rung of a replicate is scored on besides."""


@cache
def count_rung_steps(unit: int, lengths: tuple[float, ...]) -> tuple[int, ...]:
    """Updates of each rung of a ladder whose lengths share their trunk.

    With 1x of 10 updates, 2x takes 20; 4x goes on from update 16 and takes 24.
    """
    schedule = ScheduleSpec(unit=unit, lengths=lengths, warmup=0, decay=DESIGN_DECAY)
    return tuple(new_steps(schedule, length, lengths[:i]) for i, length in enumerate(lengths))


@cache
def count_search_seconds(work: CellWork, pace: Pace) -> float:
    """Slot seconds of one search: ``keep[i]`` trials train and are scored at length i."""
    steps = count_rung_steps(work.unit, work.lengths)
    rungs = (_rung_seconds(work, pace, num) for num in steps)
    return sum(
        num * (seconds + pace.seconds_to_start)
        for num, seconds in zip(work.keep, rungs, strict=True)
    )


@cache
def count_replicate_seconds(work: CellWork, pace: Pace) -> float:
    """Slot seconds of one replicate of every best configuration, if no two lengths share one."""
    num_best = min(work.keep[0], len(work.lengths))
    return sum(_ladder_seconds(work, pace)[-num_best:])


def count_chain_seconds(work: CellWork, pace: Pace) -> float:
    """Seconds of the longest chain of jobs that wait for each other: a trial, then a replicate."""
    replicate = _ladder_seconds(work, pace)[-1]
    return 2.0 * replicate + (len(work.lengths) - 1) * pace.seconds_to_start


def _ladder_seconds(work: CellWork, pace: Pace) -> Sequence[float]:
    """Seconds of a replicate that ends at each length; it is scored on both splits."""
    steps = count_rung_steps(work.unit, work.lengths)
    scoring = work.num_report * pace.seconds_per_scored_image
    total, ladder = pace.seconds_to_start, []
    for num in steps:
        total += _rung_seconds(work, pace, num) + scoring
        ladder.append(total)
    return ladder


def _rung_seconds(work: CellWork, pace: Pace, num_steps: int) -> float:
    scoring = work.num_select * pace.seconds_per_scored_image
    return num_steps * pace.seconds_per_update + scoring


def bound_makespan(work_seconds: float, chain_seconds: float, slots: int) -> float:
    """The longest time that slots which never idle needlessly take for so much work.

    Source: Graham 1966 (list scheduling): work / slots + (1 - 1 / slots) x the longest chain.
    """
    return work_seconds / slots + (1.0 - 1.0 / slots) * chain_seconds
