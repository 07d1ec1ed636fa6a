"""The part of the report about single images: tables, curves, pictures, and doubtful labels."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings
from rethink_ray.analysis.read.kept_boxes import (
    KeptStudy,
    LoadImages,
    NothingKept,
    arm_note,
    list_kept_folders,
    read_kept_study,
)
from rethink_ray.analysis.read.label_doubts import LabelDoubt
from rethink_ray.analysis.read.picked_images import pick_images
from rethink_ray.analysis.read.precision_recall import IOU_ROWS, PrecisionCurve
from rethink_ray.analysis.sections.registry import (
    DETECTION_SECTIONS,
    LABEL_DOUBTS,
    PRECISION_RECALL,
)
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.as_json import json_text
from rethink_ray.analysis.show.figures import draw_each, legend_label, look_of, panel
from rethink_ray.analysis.show.optional_sheets import one_sheet
from rethink_ray.analysis.show.shown_images import (
    DrawnPicture,
    ImageRow,
    draw_doubts,
    draw_rows,
)
from rethink_ray.judge.wording import listed
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.whole_files import write_atomically

DETECTIONS, PICTURES, DOUBTFUL_PICTURES = "Detections", "Pictures", "Pictures of doubtful labels"
"""Parts of the page that can fail by themselves, as ``missing_sections`` names them."""
DOUBTS_STEM = "label_errors"
"""The list of doubtful labels is this file, as CSV and as JSON."""
DOUBT_COLUMNS = (
    *("rank", "image_id", "image", "kind", "label", "seen_as", "x0", "y0", "x1", "y1", "doubt"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionsPart:
    """The tables, curves and pictures that the page shows of the boxes that replicates kept."""

    sentences: tuple[str, ...] = ()
    """Sentences about all that is not shown."""
    note: str = ""
    smaller_note: str = ""
    """Names the images that stand under the arms of smaller regimes, too; empty without such."""
    sheets: Mapping[str, Sheet] = field(default_factory=dict)
    """Key of a section -> its table."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """File stem -> SVG in placeholder colours."""
    regime: str = ""
    rows: tuple[ImageRow, ...] = ()
    pictures_missing: str = ""
    doubts: tuple[DrawnPicture, ...] = ()
    doubts_missing: str = ""
    all_doubts: tuple[LabelDoubt, ...] | None = None
    """None: labels were not examined."""


def build_detections(
    findings: Findings,
    directory: StudyDirectory,
    load_images: LoadImages | None,
    kept: Containment,
) -> DetectionsPart:
    """Everything about detections; a section that fails leaves a sentence in its place.

    Args:
        findings: the study's findings.
        directory: holds the detections of its replicates, or fetches them.
        load_images: opens the images of the split that the study reports on.
        kept: takes note of sections that fail.
    """
    directory.fetch(*list_kept_folders(findings.results))
    facts = findings.facts
    answers = {one.regime: one.recommended for one in findings.answer.regimes}
    boxes = read_kept_study(
        findings.results,
        facts.regime_sizes,
        facts.categories,
        directory.root,
        load_images,
        {regime: chosen.arm for regime, chosen in answers.items() if chosen is not None},
    )
    if isinstance(boxes, NothingKept):
        return DetectionsPart(sentences=(boxes.why,))
    given = findings.section_input(directory.root, boxes)
    rows = {
        section.key: kept.attempt(section.title, partial(section.derive_rows, given), ())
        for section in DETECTION_SECTIONS
        if section.applies(given)
    }
    sheets = {
        section.key: one_sheet(
            kept, section.title, partial(section.build_sheet, given, rows[section.key])
        )
        for section in DETECTION_SECTIONS
        if section.key in rows
    }
    return _with_pictures(findings, boxes, rows, sheets, kept)


def _with_pictures(
    findings: Findings,
    boxes: KeptStudy,
    rows: Mapping[str, tuple[Any, ...]],
    sheets: Mapping[str, Sheet],
    kept: Containment,
) -> DetectionsPart:
    images, doubts = boxes.images, rows.get(LABEL_DOUBTS.key)
    shown: tuple[ImageRow, ...] = ()
    drawn: tuple[DrawnPicture, ...] = ()
    if images is not None:
        shown = kept.attempt(PICTURES, lambda: draw_rows(boxes, pick_images(boxes)), ())
        drawn = kept.attempt(DOUBTFUL_PICTURES, lambda: draw_doubts(doubts or (), images), ())
    is_examined = doubts is not None and not kept.sentence_of(LABEL_DOUBTS.title)
    curves = rows.get(PRECISION_RECALL.key, ())
    return DetectionsPart(
        sentences=tuple(one for one in (*boxes.lacking, boxes.images_missing) if one),
        note=arm_note(boxes),
        sheets=sheets,
        figures=_draw_curves(findings, boxes.regime, curves, kept),
        regime=boxes.regime,
        rows=shown,
        smaller_note=_note_smaller(boxes, shown),
        pictures_missing=kept.sentence_of(PICTURES),
        doubts=drawn,
        doubts_missing=kept.sentence_of(DOUBTFUL_PICTURES),
        all_doubts=doubts if is_examined else None,
    )


def _note_smaller(boxes: KeptStudy, rows: tuple[ImageRow, ...]) -> str:
    """The smaller regimes that are shown, and those that are left out."""
    shown = dict.fromkeys(one.regime for row in rows for one in row.smaller)
    left_out = [one.regime for one in boxes.smaller if one.regime not in shown]
    if not shown and not left_out:
        return ""
    num = sum(bool(row.smaller) for row in rows)
    images = "The same images" if num == len(rows) else f"{num} of these images"
    parts = [
        f"The images were chosen on {boxes.regime}.",
        f"{images} stand under the arms of {listed(list(shown))}, too." if shown else "",
        f"Not shown: {listed(left_out)}." if left_out else "",
    ]
    return " ".join(part for part in parts if part)


def _draw_curves(
    findings: Findings, regime: str, curves: tuple[PrecisionCurve, ...], kept: Containment
) -> dict[str, str]:
    """One figure of precision against recall for each IoU."""
    return draw_each(
        kept,
        {
            (regime, f"precision-{100 * iou:.0f}"): partial(
                _draw_precision, findings, regime, [c for c in curves if c.iou == iou], iou
            )
            for iou in IOU_ROWS
            if curves
        },
    )


def _draw_precision(
    findings: Findings, regime: str, curves: list[PrecisionCurve], iou: float
) -> str:
    arms = list(findings.study.arms)

    def paint(axes: Any) -> None:
        for curve in curves:
            look = look_of(arms.index(curve.arm))
            axes.plot(
                [number / 100 for number in range(101)],
                curve.precision,
                color=look["color"],
                linestyle=look["linestyle"],
                marker=look["marker"],
                markevery=20,
                markersize=5,
                linewidth=1.6,
                label=legend_label(curve.arm),
            )
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("recall (share of objects found)")
        axes.set_ylabel("precision (share of boxes right)")

    return panel(f"{regime}: precision by recall at IoU {iou:g}", paint)


def list_precision_kinds() -> tuple[str, ...]:
    """The kinds of figures that a ``DetectionsPart`` may have."""
    return tuple(f"precision-{100 * iou:.0f}" for iou in IOU_ROWS)


def write_doubts(out: Path, doubts: tuple[LabelDoubt, ...] | None) -> None:
    """``label_errors.csv`` and ``.json`` list all doubts; neither is there if None were sought."""
    table, tree = out / f"{DOUBTS_STEM}.csv", out / f"{DOUBTS_STEM}.json"
    if doubts is None:
        table.unlink(missing_ok=True)
        tree.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(DOUBT_COLUMNS)
    for rank, one in enumerate(doubts, start=1):
        head = (rank, one.image_id, one.file_name, one.kind, one.label, one.seen_as)
        writer.writerow((*head, *one.box_xyxy, f"{one.doubt:.4f}"))
    write_atomically(table, text.getvalue())
    write_atomically(tree, json_text({"label_errors": doubts}) + "\n")
