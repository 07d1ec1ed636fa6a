"""What the recommended arm takes the objects of each class for.

Only boxes that reach their replicate's threshold count. A box and an object with an IoU of at least
0.5 belong together whatever their classes; the pair that overlaps most comes first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rethink_ray.analysis.read.box_overlap import (
    measure_inside,
    measure_iou,
    pair_by_overlap,
)
from rethink_ray.analysis.read.kept_boxes import KeptBoxes
from rethink_ray.analysis.read.scored_images import AnnotatedImage
from rethink_ray.analysis.sections.section import Section, SectionInput, is_about_annotations
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.judge.wording import percent, times

OVERLAPS_ENOUGH = 0.5
MATRIX_CLASSES = 10
"""Up to so many classes are shown as a matrix, more as the most frequent confusions."""
MOST_CONFUSIONS = 30
NOTHING = 0
"""In place of a label: nothing was found, or nothing is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Objects of one class that were taken for another one, or for nothing."""

    label: int
    """0: boxes where nothing is labelled."""
    seen_as: int
    """0: not found."""
    count: float
    """Mean over replicates."""
    share: float
    """Of all objects of the class, 0..1; of all boxes on nothing where the label is 0."""


def _derive(given: SectionInput) -> tuple[Confusion, ...]:
    """Every pair that occurs, by label and by the label it was taken for."""
    kept = given.boxes
    if kept is None or kept.images is None:
        return ()
    replicates = kept.main_arm.replicates
    pairs: Counter[tuple[int, int]] = Counter()
    for boxes in replicates:
        for image in kept.images.images.values():
            pairs.update(_list_pairs(boxes, image))
    totals: Counter[int] = Counter()
    for (label, _), num in pairs.items():
        totals[label] += num
    return tuple(
        Confusion(
            label=label,
            seen_as=seen_as,
            count=num / len(replicates),
            share=num / totals[label],
        )
        for (label, seen_as), num in sorted(pairs.items())
    )


def _list_pairs(boxes: KeptBoxes, image: AnnotatedImage) -> Iterator[tuple[int, int]]:
    """(label, label it was taken for) of every object, and of every box on nothing."""
    rows, counts = boxes.sure_rows_of(image.image_id), ~image.is_crowd
    corners, labels = boxes.boxes_xyxy[rows], boxes.labels[rows]
    objects = image.labels[counts]
    matched = pair_by_overlap(measure_iou(corners, image.boxes_xyxy[counts]), OVERLAPS_ENOUGH)
    inside = measure_inside(corners, image.boxes_xyxy[~counts]).max(axis=1, initial=0.0)
    for label, row, share in zip(labels.tolist(), matched.tolist(), inside, strict=True):
        if row >= 0:
            yield int(objects[row]), label
        elif share < OVERLAPS_ENOUGH:
            yield NOTHING, label
    taken = set(matched.tolist())
    yield from ((int(label), NOTHING) for i, label in enumerate(objects) if i not in taken)


def _build(given: SectionInput, rows: Sequence[Confusion]) -> Sheet:
    kept = given.boxes
    if kept is None:
        return Sheet(title=CONFUSION.title, note="", columns=(), rows=())
    arm = kept.main_arm
    note = (
        f"Of {arm.arm} at {times(arm.length)}, {kept.choice_of_arm}: what it takes "
        "objects for, in percent of the objects of a class, mean over replicates. Boxes count from "
        "the score on that balances precision and recall best (largest F1)"
        f", here {', '.join(f'{boxes.threshold:.2f}' for boxes in arm.replicates)}."
    )
    if len(_list_labels(rows)) <= MATRIX_CLASSES:
        return _build_matrix(kept.label_names, rows, note)
    return _build_list(kept.label_names, rows, note)


def _list_labels(rows: Sequence[Confusion]) -> list[int]:
    """Labels that objects have or that they are taken for, ascending."""
    return sorted(({r.label for r in rows} | {r.seen_as for r in rows}) - {NOTHING})


def _build_matrix(names: Sequence[str], rows: Sequence[Confusion], note: str) -> Sheet:
    labels = _list_labels(rows)
    cells = {(row.label, row.seen_as): row for row in rows}
    lines = [
        (
            names[label - 1],
            *(_share_text(cells.get((label, other))) for other in labels),
            _share_text(cells.get((label, NOTHING))),
        )
        for label in labels
        if any(row.label == label for row in rows)
    ]
    on_nothing = [cells.get((NOTHING, other)) for other in labels]
    if any(on_nothing):
        counts = (f"{one.count:.1f}" if one else "-" for one in on_nothing)
        lines.append(("boxes on nothing (count)", *counts, ""))
    return Sheet(
        title=CONFUSION.title,
        note=note,
        columns=("labelled", *(names[label - 1] for label in labels), "not found"),
        rows=tuple(lines),
        numeric=frozenset(range(1, 2 + len(labels))),
    )


def _share_text(one: Confusion | None) -> str:
    return percent(one.share) if one else "-"


def _build_list(names: Sequence[str], rows: Sequence[Confusion], note: str) -> Sheet:
    confused = [r for r in rows if NOTHING not in (r.label, r.seen_as) and r.label != r.seen_as]
    confused.sort(key=lambda row: (-row.count, row.label, row.seen_as))
    return Sheet(
        title=CONFUSION.title,
        note=f"{note} The most frequent confusions of two classes.",
        columns=("labelled", "taken for", "objects", "share of the class"),
        rows=tuple(
            (names[r.label - 1], names[r.seen_as - 1], f"{r.count:.1f}", percent(r.share))
            for r in confused[:MOST_CONFUSIONS]
        ),
        numeric=frozenset({2, 3}),
    )


CONFUSION = Section(
    key="confusion",
    title="Confusion of classes",
    part="detections",
    derive_rows=_derive,
    build_sheet=_build,
    applies=is_about_annotations,
)
