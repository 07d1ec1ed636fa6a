"""What kind of error costs each arm how much: AP at IoU 0.5 that mending one kind would bring."""

from collections.abc import Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.box_errors import (
    ERROR_KINDS,
    ErrorKind,
    judge_boxes,
)
from rethink_ray.analysis.sections.section import Section, SectionInput, is_about_annotations
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.judge.wording import mean_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCost:
    """One kind of error of one arm."""

    arm: str
    kind: ErrorKind
    count: float
    """Boxes of a replicate with this error, or objects missed; mean over replicates."""
    gain: Estimate
    """AP at IoU 0.5, in points, that mending all of them would bring."""


def _derive(given: SectionInput) -> tuple[ErrorCost, ...]:
    kept = given.boxes
    if kept is None or kept.images is None:
        return ()
    rows: list[ErrorCost] = []
    for arm in kept.arms:
        judged = [judge_boxes(boxes, kept.images) for boxes in arm.replicates]
        gains = [one.list_gains() for one in judged]
        for kind in ERROR_KINDS:
            count = sum(one.count(kind) for one in judged) / len(judged)
            gain = mean_of([of_kind[kind] for of_kind in gains])
            assert gain is not None, "an arm with kept boxes has a replicate"
            rows.append(ErrorCost(arm=arm.arm, kind=kind, count=count, gain=gain))
    return tuple(rows)


def _build(given: SectionInput, rows: Sequence[ErrorCost]) -> Sheet:
    """Arms down, kinds across."""
    by_arm: dict[str, dict[ErrorKind, ErrorCost]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.kind] = row
    return Sheet(
        title=ERROR_COSTS.title,
        note=(
            "Points of AP at IoU 0.5 that mending all errors of one kind would bring, mean over "
            "replicates with 95 % interval (how many there are per replicate); gains do not add "
            "up. Classification: on an object, under another class. Localisation: the right "
            "class, IoU 0.1 to 0.5. Both: wrong in both. Duplicate: a second box on an object. "
            "Background: on nothing. Missed: an object that no such box could become. Kinds and "
            "rules: Bolya et al. 2020."
        ),
        columns=("arm", *ERROR_KINDS),
        rows=tuple(
            (arm, *(_cost_text(costs[kind]) for kind in ERROR_KINDS))
            for arm, costs in by_arm.items()
        ),
        numeric=frozenset(range(1, 1 + len(ERROR_KINDS))),
    )


def _cost_text(cost: ErrorCost) -> str:
    return f"{mean_text(cost.gain)} ({cost.count:.0f})"


ERROR_COSTS = Section(
    key="error_costs",
    title="Errors by kind",
    part="detections",
    derive_rows=_derive,
    build_sheet=_build,
    applies=is_about_annotations,
)
