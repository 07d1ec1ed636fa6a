"""Labelled images and what made-up replicates find in them, with numbers to check by pencil."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from rethink_ray.analysis.read.detected import average_precision, split_by_label
from rethink_ray.analysis.read.kept_boxes import ArmBoxes, KeptBoxes, KeptStudy, read_object_counts
from rethink_ray.analysis.read.kept_boxes import list_boxes as list_kept_boxes
from rethink_ray.analysis.read.scored_images import AnnotatedImage, ReportImages
from rethink_ray.detection.kept_detections import table_of
from rethink_ray.detection.scoring import Detection, GroundTruth

Box = tuple[float, float, float, float]
NAMES = ("disc", "square", "star")
SIDE = 100


@dataclass(frozen=True)
class Seen:
    """One box of a replicate."""

    box: Box
    label: int
    score: float


def image_of(
    image_id: int, *objects: tuple[Box, int], crowd: Sequence[int] = (), side: int = SIDE
) -> AnnotatedImage:
    """An image with these boxes and labels; ``crowd`` lists the rows that are crowds."""
    return AnnotatedImage(
        image_id=image_id,
        file_name=f"{image_id:03d}.jpg",
        width=side,
        height=side,
        boxes_xyxy=np.array([box for box, _ in objects], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label in objects], np.int64),
        is_crowd=np.isin(np.arange(len(objects)), list(crowd)),
    )


def truth_of(image: AnnotatedImage) -> GroundTruth:
    boxes = image.boxes_xyxy
    return GroundTruth(
        image_id=image.image_id,
        boxes_xyxy=boxes,
        labels=image.labels,
        is_crowd=image.is_crowd.astype(np.int64),
        area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
    )


def detection_of(image_id: int, boxes: Sequence[Seen]) -> Detection:
    return Detection(
        image_id=image_id,
        boxes_xyxy=np.array([one.box for one in boxes], np.float32).reshape(-1, 4),
        scores=np.array([one.score for one in boxes], np.float32),
        labels=np.array([one.label for one in boxes], np.int64),
    )


def images_of(
    images: Sequence[AnnotatedImage],
    open_picture: Callable[[int], Image.Image] | None = None,
    names: tuple[str, ...] = NAMES,
) -> ReportImages:
    """These images, gray unless ``open_picture`` says otherwise."""

    def gray(image_id: int) -> Image.Image:
        return Image.new("RGB", (SIDE, SIDE), (120, 120, 120))

    return ReportImages(
        categories=names,
        images={image.image_id: image for image in images},
        open_picture=open_picture or gray,
    )


def kept_of(
    images: Sequence[AnnotatedImage], seen: Mapping[int, Sequence[Seen]], trial_id: str = "t"
) -> KeptBoxes:
    """One replicate's boxes as they come back from its file."""
    detections = [detection_of(image.image_id, seen.get(image.image_id, ())) for image in images]
    table = table_of([truth_of(image) for image in images], detections, len(NAMES))
    return list_kept_boxes(trial_id, table)


def arm_of(
    name: str, images: Sequence[AnnotatedImage], replicates: Sequence[Mapping[int, Sequence[Seen]]]
) -> ArmBoxes:
    """An arm with these replicates at 6x."""
    truth = [truth_of(image) for image in images]
    tables = [
        table_of(truth, [detection_of(i.image_id, seen.get(i.image_id, ())) for i in images], 3)
        for seen in replicates
    ]
    by_label = tuple(split_by_label(table) for table in tables)
    return ArmBoxes(
        arm=name,
        length=6.0,
        replicates=tuple(list_kept_boxes(f"{name}-{n}", t) for n, t in enumerate(tables)),
        by_label=by_label,
        ap=tuple(average_precision(labels, np.ones(len(images))) for labels in by_label),
    )


def study_of(images: Sequence[AnnotatedImage], *arms: ArmBoxes) -> KeptStudy:
    """A regime with these arms."""
    table = table_of([truth_of(image) for image in images], [], len(NAMES))
    return KeptStudy(
        regime="full",
        arms=arms,
        objects=read_object_counts(table),
        images=images_of(images),
        label_names=NAMES,
    )


def scatter(
    images: Sequence[AnnotatedImage], seed: int, *, blur: float = 1.5, missed: float = 0.05
) -> dict[int, list[Seen]]:
    """What a good detector finds: objects about where they are, few missed, weak false boxes."""
    rng = np.random.default_rng(seed)
    seen: dict[int, list[Seen]] = {}
    for image in images:
        boxes = []
        for box, label in zip(image.boxes_xyxy, image.labels, strict=True):
            if rng.random() >= missed:
                x0, y0, x1, y1 = (float(v) for v in box + rng.normal(0, blur, 4))
                score = float(rng.uniform(0.6, 0.98))
                boxes.append(Seen((x0, y0, x1, y1), int(label), score))
        x, y = (float(v) for v in rng.uniform(0, SIDE - 12, 2))
        boxes.append(Seen((x, y, x + 12, y + 12), 1, float(rng.uniform(0.05, 0.3))))
        seen[image.image_id] = boxes
    return seen


def grid_images(num: int, seed: int = 0) -> list[AnnotatedImage]:
    """Images with up to four objects, one in each quarter, so that none overlap."""
    rng, images = np.random.default_rng(seed), []
    for image_id in range(1, num + 1):
        objects: list[tuple[Box, int]] = []
        for x, y in ((4, 4), (54, 4), (4, 54), (54, 54)):
            if rng.random() < 0.6 or not objects:
                side = float(rng.uniform(20, 40))
                objects.append(((x, y, x + side, y + side), int(rng.integers(1, 4))))
        images.append(image_of(image_id, *objects))
    return images
