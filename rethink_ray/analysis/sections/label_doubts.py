"""Likely label errors: where all replicates of the recommended arm contradict a label."""

from collections.abc import Sequence

from rethink_ray.analysis.read.label_doubts import (
    MIN_REPLICATES_TO_AGREE,
    LabelDoubt,
    find_label_doubts,
)
from rethink_ray.analysis.sections.section import Section, SectionInput, is_about_annotations
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import percent

MOST_DOUBTS = 50
"""Rows of the table; ``label_errors.csv`` has all."""
KIND_WORDS = {
    "no label": "all see it, nothing is labelled",
    "another class": "all see another class",
    "another box": "all see it elsewhere",
    "not found": "labelled, none sees it",
}


def _derive(given: SectionInput) -> tuple[LabelDoubt, ...]:
    kept = given.boxes
    if kept is None or kept.images is None:
        return ()
    return find_label_doubts(kept.main_arm, kept.images)


def _build(given: SectionInput, rows: Sequence[LabelDoubt]) -> Sheet:
    kept = given.boxes
    if kept is None:
        return Sheet(title=LABEL_DOUBTS.title, note="", columns=(), rows=())
    arm, num = kept.main_arm, len(kept.main_arm.replicates)
    note = (
        f"Labels of {given.study.data.report_split} that all {num} replicates of {arm.arm} "
        f"({kept.choice_of_arm}) contradict: a list to look at, nothing is changed. The four "
        "kinds take turns, each with its likeliest errors first; label_errors.csv beside this page "
        "has all. Many may be errors of the detector: the mark falls with the share of such boxes, "
        "or labels, that it gets wrong. Labels of other pictures are not examined: a detector that "
        "learned from a wrong label repeats it, and boxes are kept of this split alone."
    )
    if num < MIN_REPLICATES_TO_AGREE:
        note = f"No list: agreement needs at least two replicates of {arm.arm}."
    return Sheet(
        title=LABEL_DOUBTS.title,
        note=note,
        columns=("image", "what", "label", "seen as", "box (x0, y0, x1, y1)", "mark"),
        rows=tuple(
            (
                row.file_name,
                KIND_WORDS[row.kind],
                row.label or "-",
                row.seen_as or "-",
                ", ".join(f"{side:.0f}" for side in row.box_xyxy),
                percent(row.doubt),
            )
            for row in rows[:MOST_DOUBTS]
        ),
        numeric=frozenset({5}),
    )


LABEL_DOUBTS = Section(
    key="label_errors",
    title="Likely label errors",
    part="detections",
    derive_rows=_derive,
    build_sheet=_build,
    applies=is_about_annotations,
)
