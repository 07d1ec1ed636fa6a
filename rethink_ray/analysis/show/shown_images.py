"""The same images under every arm, with the labels beside, and the regions of doubtful labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rethink_ray.analysis.read.box_overlap import measure_iou, pair_by_score
from rethink_ray.analysis.read.kept_boxes import ArmBoxes, KeptStudy, SmallerRegime
from rethink_ray.analysis.read.label_doubts import LabelDoubt
from rethink_ray.analysis.read.picked_images import PickedImage
from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages
from rethink_ray.analysis.show.pictures import (
    Corners,
    Outline,
    do_overlap,
    draw_outlines,
    encode_jpeg,
    surround,
)
from rethink_ray.judge.wording import percent
from rethink_ray.spec.errors import RethinkError

MOST_DOUBTS_DRAWN = 24
MOST_PICTURES_OF_SMALLER = 150
"""Pictures under arms of smaller regimes; each takes up to 20 kB of the page."""
DOUBT_WORDS = {
    "no label": "{seen_as}, not labelled?",
    "another class": "labelled {label}: {seen_as}?",
    "another box": "{label}: box elsewhere?",
    "not found": "labelled {label}: is it there?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPicture:
    """One picture with its boxes."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One image: its labels, then each arm's boxes."""

    heading: str
    definition: str
    """SVG that holds the picture, to be used by all pictures of the row; empty without one."""
    pictures: tuple[DrawnPicture, ...]
    missing: str = ""
    """Why the picture cannot be shown."""
    smaller: tuple["RegimeRow", ...] = ()
    """The same image under the arms of regimes with fewer training images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeRow:
    """One image under the arms of one regime."""

    regime: str
    pictures: tuple[DrawnPicture, ...]


def draw_rows(kept: KeptStudy, picked: Sequence[PickedImage]) -> tuple[ImageRow, ...]:
    """One row for each image; one whose file is gone has a sentence."""
    assert kept.images is not None, "only a study with its images picks some"
    shown = set(choose_for_smaller(kept, picked))
    regimes = choose_smaller(kept, len(shown))
    return tuple(
        _draw_row(kept, kept.images, one, regimes if one in shown else ()) for one in picked
    )


def choose_for_smaller(kept: KeptStudy, picked: Sequence[PickedImage]) -> tuple[PickedImage, ...]:
    """The images that smaller regimes show: all, or one for each reason if there are many arms."""
    num_arms = sum(len(regime.arms) for regime in kept.smaller)
    if num_arms * len(picked) <= MOST_PICTURES_OF_SMALLER:
        return tuple(picked)
    firsts: dict[str, PickedImage] = {}
    for one in picked:
        firsts.setdefault(one.reason, one)
    return tuple(firsts.values())


def choose_smaller(kept: KeptStudy, num_images: int) -> tuple[SmallerRegime, ...]:
    """The smaller regimes that are shown: from the largest on, as many as a page can hold."""
    chosen: list[SmallerRegime] = []
    left = MOST_PICTURES_OF_SMALLER
    for regime in kept.smaller:
        left -= len(regime.arms) * num_images
        if left < 0:
            break
        chosen.append(regime)
    return tuple(chosen)


def _draw_row(
    kept: KeptStudy,
    images: ReportImages,
    picked: PickedImage,
    regimes: Sequence[SmallerRegime],
) -> ImageRow:
    image = images.images[picked.image_id]
    heading = f"{picked.reason}: {image.file_name} (F1 {picked.score:.2f})"
    try:
        jpeg = encode_jpeg(images.open_picture(picked.image_id))
    except (RethinkError, OSError) as error:
        return ImageRow(heading=heading, definition="", pictures=(), missing=f"Not shown: {error}")
    name = f"picture-{picked.image_id}"
    used = f'<use href="#{name}"/>'

    def draw(title: str, counts: str, outlines: Sequence[Outline]) -> DrawnPicture:
        svg = draw_outlines(used, jpeg.region, outlines, f"{image.file_name}, {title}")
        return DrawnPicture(svg=svg, caption=f"{title}: {counts}")

    labelled = draw("labels", f"{_num_objects(image)} labelled", _label_outlines(image, images))
    return ImageRow(
        heading=heading,
        definition=f'<svg class="store" aria-hidden="true"><defs>{jpeg.element(name)}</defs></svg>',
        pictures=(labelled, *(draw(*_draw_arm(arm, image, images)) for arm in kept.arms)),
        smaller=tuple(
            RegimeRow(
                regime=regime.regime,
                pictures=tuple(draw(*_draw_arm(arm, image, images)) for arm in regime.arms),
            )
            for regime in regimes
            if picked.image_id in regime.image_ids
        ),
    )


def _num_objects(image: AnnotatedImage) -> int:
    return int((~image.is_crowd).sum())


def _label_outlines(image: AnnotatedImage, images: ReportImages) -> list[Outline]:
    return [
        Outline(
            box_xyxy=_corners_of(box),
            kind="label",
            text=_class_text(images, int(label)) + (" (crowd)" if is_crowd else ""),
        )
        for box, label, is_crowd in zip(image.boxes_xyxy, image.labels, image.is_crowd, strict=True)
    ]


def _draw_arm(
    arm: ArmBoxes, image: AnnotatedImage, images: ReportImages
) -> tuple[str, str, list[Outline]]:
    """(arm, counts, boxes) of the arm's middle replicate, with the labels that it misses."""
    boxes = arm.middle
    rows = boxes.sure_rows_of(image.image_id)
    is_right, ignored = boxes.right[0, rows], boxes.ignored[0, rows]
    outlines = [
        Outline(
            box_xyxy=_corners_of(boxes.boxes_xyxy[row]),
            kind="right" if right else "wrong",
            text=f"{_class_text(images, int(boxes.labels[row]))} {boxes.scores[row]:.2f}".strip(),
        )
        for row, right, ignore in zip(range(rows.start, rows.stop), is_right, ignored, strict=True)
        if not ignore
    ]
    counts = ~image.is_crowd
    iou = measure_iou(boxes.boxes_xyxy[rows], image.boxes_xyxy[counts])
    iou *= boxes.labels[rows][:, None] == image.labels[counts][None, :]
    taken = set(pair_by_score(iou, 0.5).tolist())
    missed = [
        Outline(box_xyxy=_corners_of(box), kind="missed")
        for number, box in enumerate(image.boxes_xyxy[counts])
        if number not in taken
    ]
    num_right, num_wrong = int(is_right.sum()), int((~is_right & ~ignored).sum())
    words = f"{num_right} right, {num_wrong} wrong, {len(missed)} missed"
    return arm.arm, words, [*outlines, *missed]


def draw_doubts(doubts: Sequence[LabelDoubt], images: ReportImages) -> tuple[DrawnPicture, ...]:
    """The regions of the first doubts, with the labels there and the box that replicates agree on.

    Those whose pictures are gone are left out.
    """
    return tuple(_draw_each_doubt(doubts[:MOST_DOUBTS_DRAWN], images))


def _draw_each_doubt(doubts: Sequence[LabelDoubt], images: ReportImages) -> Iterator[DrawnPicture]:
    for number, doubt in enumerate(doubts, start=1):
        image = images.images[doubt.image_id]
        region = surround(_join(doubt), image.width, image.height)
        try:
            jpeg = encode_jpeg(images.open_picture(doubt.image_id), region)
        except (RethinkError, OSError):
            continue
        labels = _label_outlines(image, images)
        outlines = [one for one in labels if do_overlap(one.box_xyxy, jpeg.region)]
        if doubt.seen_as:
            agreed = Outline(box_xyxy=doubt.box_xyxy, kind="wrong", text=f"{doubt.seen_as}?")
            outlines = [agreed, *outlines]
        else:
            missed = Outline(box_xyxy=doubt.box_xyxy, kind="missed", text=f"{doubt.label}?")
            others = [one for one in outlines if not _is_close(one.box_xyxy, doubt.box_xyxy)]
            outlines = [missed, *others]
        question = DOUBT_WORDS[doubt.kind].format(label=doubt.label, seen_as=doubt.seen_as)
        caption = f"{number}. {doubt.file_name}: {question} ({percent(doubt.doubt)})"
        yield DrawnPicture(
            svg=draw_outlines(jpeg.element(), jpeg.region, outlines, caption), caption=caption
        )


def _join(doubt: LabelDoubt) -> Corners:
    """The smallest box around the doubtful label and what replicates see."""
    boxes = np.array([doubt.box_xyxy, doubt.label_xyxy or doubt.box_xyxy])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _is_close(box: Corners, other: Corners) -> bool:
    return all(abs(one - two) < 0.11 for one, two in zip(box, other, strict=True))


def _class_text(images: ReportImages, label: int) -> str:
    """The class; empty in a data set of one class."""
    return images.name_of(label) if len(images.categories) > 1 else ""


def _corners_of(box: Sequence[float]) -> Corners:
    x0, y0, x1, y1 = (float(side) for side in box)
    return x0, y0, x1, y1
