"""AP of each class under each arm, with intervals over replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.detected import precision_curves
from rethink_ray.analysis.read.kept_boxes import ArmBoxes
from rethink_ray.analysis.sections.section import Section, SectionInput, is_about_detections
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.judge.wording import mean_text

MOST_CLASS_ROWS = 100
"""Rows of the table: classes with the most objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrecision:
    """One class that some image of the report split holds."""

    name: str
    num_objects: int
    ap: Mapping[str, Estimate]
    """Arm -> COCO's AP of the class in points, over replicates."""


def _derive(given: SectionInput) -> tuple[ClassPrecision, ...]:
    """Classes with the most objects first; of equals in the data set's order."""
    kept = given.boxes
    if kept is None:
        return ()
    nums = {one.label: one.num_objects for one in kept.arms[0].by_label[0]}
    of_arms = {arm.arm: _by_label(arm) for arm in kept.arms}
    return tuple(
        ClassPrecision(
            name=kept.label_names[label - 1],
            num_objects=num,
            ap={arm: estimates[label] for arm, estimates in of_arms.items()},
        )
        for label, num in sorted(nums.items(), key=lambda one: (-one[1], one[0]))
    )


def _by_label(arm: ArmBoxes) -> dict[int, Estimate]:
    values: dict[int, list[float]] = {}
    for labels in arm.by_label:
        for one in labels:
            curves = precision_curves(one)
            if curves is not None:
                values.setdefault(one.label, []).append(100.0 * float(curves.mean()))
    return {label: mean for label, aps in values.items() if (mean := mean_of(aps)) is not None}


def _build(given: SectionInput, rows: Sequence[ClassPrecision]) -> Sheet:
    arms = list(rows[0].ap) if rows else []
    left = len(rows) - MOST_CLASS_ROWS
    more = f" {left} classes with fewer objects are left out." if left > 0 else ""
    return Sheet(
        title=CLASS_PRECISION.title,
        note=f"AP in points on {given.study.data.report_split}: mean over replicates, 95 % "
        f"interval. A class with few objects has a rough AP whatever its interval says.{more}",
        columns=("class", "objects", *arms),
        rows=tuple(
            (row.name, str(row.num_objects), *(mean_text(row.ap[arm]) for arm in arms))
            for row in rows[:MOST_CLASS_ROWS]
        ),
        numeric=frozenset(range(1, 2 + len(arms))),
    )


CLASS_PRECISION = Section(
    key="class_precision",
    title="AP by class",
    part="detections",
    derive_rows=_derive,
    build_sheet=_build,
    applies=is_about_detections,
)
