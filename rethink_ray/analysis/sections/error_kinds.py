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

MEANINGS: dict[ErrorKind, str] = {
    "classification": "on an object of another class",
    "localisation": "right class, IoU 0.1 to 0.5",
    "both": "wrong class, and IoU 0.1 to 0.5",
    "duplicate": "second box on an object",
    "background": "on no object",
    "missed": "object that none of these boxes is about",
}


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
    """Kinds down, arms across."""
    arms = list(dict.fromkeys(row.arm for row in rows))
    costs = {(row.kind, row.arm): row for row in rows}
    return Sheet(
        title=ERROR_COSTS.title,
        note=(
            "Points of AP at IoU 0.5 that mending all errors of one kind would bring, mean over "
            "replicates with 95 % interval (how many errors a replicate has); gains do not add up. "
            "Rules: Bolya et al. 2020."
        ),
        columns=("error", "means", *arms),
        rows=tuple(
            (kind, MEANINGS[kind], *(_cost_text(costs[kind, arm]) for arm in arms))
            for kind in ERROR_KINDS
        ),
        numeric=frozenset(range(2, 2 + len(arms))),
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
