"""The learning rate of every update of one run.

Up to the branch point all lengths have the same schedule, so the trunk needs none of its own.
"""

import math
from dataclasses import dataclass
from typing import Literal

from rethink_ray.spec.recipe import ScheduleSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSchedule:
    """The schedule of one length, everything counted in updates."""

    kind: Literal["step", "constant", "cosine", "one_minus_sqrt"]
    warmup_steps: int
    before_end: tuple[int, ...]
    """Where the rate drops, counted from the end, longest first."""
    factor: float
    branch_at: int
    """The update at which this length leaves the trunk."""
    total_steps: int


def schedule_of(spec: ScheduleSpec, length: float) -> RungSchedule:
    """The schedule of one length (in units of 1x)."""
    return RungSchedule(
        kind=spec.decay.kind,
        warmup_steps=spec.warmup,
        before_end=spec.points(length),
        factor=spec.decay.factor,
        branch_at=spec.branch_at(length),
        total_steps=spec.steps(length),
    )


def lr_at(schedule: RungSchedule, peak: float, step: int) -> float:
    """Learning rate for the update numbered ``step``, counting from zero.

    Decay is counted in steps from the *end* of the run and is the same for every length
    (He et al. 2018, sec. 3): that is what lets all lengths share one trunk. ``cosine`` falls from
    the end of the warm-up to zero over the whole length (Loshchilov & Hutter 2017, without
    restarts), so it shares nothing. ``one_minus_sqrt`` leaves the constant rate where the branch
    begins and ends near zero; Hägele et al. 2024 (arXiv 2405.18392) find runs of all lengths on one
    such trunk as good as a cosine for each, which supports ours.
    """
    if step < schedule.warmup_steps:
        return peak * (step + 1) / schedule.warmup_steps
    if schedule.kind == "cosine":
        done = (step - schedule.warmup_steps) / (schedule.total_steps - schedule.warmup_steps)
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    steps_left = schedule.total_steps - step
    if schedule.kind == "one_minus_sqrt":
        num_decaying = schedule.total_steps - schedule.branch_at
        return peak * (1.0 - math.sqrt(max(num_decaying - steps_left, 0) / max(num_decaying, 1)))
    return peak * float(schedule.factor ** sum(steps_left <= b for b in schedule.before_end))
