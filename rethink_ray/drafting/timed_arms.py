"""The pace of each arm: timed on this machine, or read from a file."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.drafting.machine import Machine
from rethink_ray.search.paces import ANY_ARM, MeasuredPaces, Pace, read_paces
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell, CellResolver, base_values
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedArms:
    """The pace of each arm, and whether it is that of a quiet machine."""

    measured: MeasuredPaces
    waiting: float = 1.0
    """Seconds that passed for each second of work: above 1 other programs took their part."""


def time_arms(study: Study, facts: DataFacts, machine: Machine) -> TimedArms:
    """The paces of every arm of a study on this machine, with all of its slots at work.

    Raises:
        SpecError: the machine is not here.
    """
    if not machine.is_here:
        must = "must come with paces of that machine, which has GPUs and this one has none"
        remedy = (
            "Give --pace FILE: `rethink-ray new` there writes one beside its study, and "
            "`rethink-ray status DIR --write-pace FILE` writes one of a study that ran there."
        )
        raise SpecError(explain("--gpus", must, "none", remedy))
    from rethink_ray.training.timing import time_runs  # imports torch

    regime = next(iter(study.regimes))
    cells = [Cell(regime, arm) for arm in study.arms]
    configs = [
        CellResolver(study, cell, facts).resolve(base_values(study, cell), seed=0) for cell in cells
    ]
    times = time_runs(configs, machine.slots)
    paces = {
        cell.arm: Pace(
            seconds_per_update=one.update,
            seconds_per_scored_image=one.scored_image,
            seconds_to_start=one.start,
        )
        for cell, one in zip(cells, times, strict=True)
    }
    return TimedArms(
        measured=MeasuredPaces(
            machine=f"{platform.node()}, {machine.in_words}", slots=machine.slots, arms=paces
        ),
        waiting=max(one.waiting for one in times),
    )


def read_arm_paces(path: Path, arms: Sequence[str]) -> TimedArms:
    """The paces of a file, which must know every arm.

    Raises:
        SpecError: there is no such file, or it does not know an arm.
    """
    measured = read_paces(path)
    unknown = [arm for arm in arms if arm not in measured.arms and ANY_ARM not in measured.arms]
    if unknown:
        must = f"must hold a pace of every arm ({', '.join(arms)})"
        known = ", ".join(measured.arms) or "none"
        remedy = f'Add {unknown[0]}, or "" for every other arm; or choose --arms.'
        raise SpecError(explain(f"--pace {path}", must, f"those of {known}", remedy))
    return TimedArms(measured=measured)
