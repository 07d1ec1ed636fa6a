"""Precision at some recalls, per arm: how many of the boxes are right if so many objects are found.

A replicate's curve falls to 0 at the recall that it never reaches.
"""

from collections.abc import Sequence

from rethink_ray.analysis.read.precision_recall import PrecisionCurve, measure_precision_curves
from rethink_ray.analysis.sections.section import Section, SectionInput, is_about_detections
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import percent

RECALLS_SHOWN = (0.1, 0.3, 0.5, 0.7, 0.9)


def _derive(given: SectionInput) -> tuple[PrecisionCurve, ...]:
    return measure_precision_curves(given.boxes) if given.boxes else ()


def _build(given: SectionInput, rows: Sequence[PrecisionCurve]) -> Sheet:
    return Sheet(
        title=PRECISION_RECALL.title,
        note="Of the boxes that are needed to find so many of the objects (recall), the share that "
        "is right; mean over classes and replicates. 0 %: so many are never found.",
        columns=("arm", "IoU", *(f"recall {percent(recall)}" for recall in RECALLS_SHOWN)),
        rows=tuple(
            (row.arm, f"{row.iou:g}", *(percent(row.at(recall)) for recall in RECALLS_SHOWN))
            for row in rows
        ),
        numeric=frozenset(range(1, 2 + len(RECALLS_SHOWN))),
    )


PRECISION_RECALL = Section(
    key="precision_recall",
    title="Precision and recall",
    part="detections",
    derive_rows=_derive,
    build_sheet=_build,
    applies=is_about_detections,
)
