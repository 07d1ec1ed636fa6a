"""A detector's boxes on a split, as a table that can be scored on other draws of its images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rethink_ray.detection.scoring import Detection, GroundTruth, match_boxes
from rethink_ray.records.detections import NUM_IOUS, SCHEMA, as_bits

TOGETHER = 250
"""Images that are matched at a time: 5,000 at once hold 1.3 GB."""


def table_of(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> pa.Table:
    """Rows of ``records.detections``: every detection that counts or could, and all objects.

    Args:
        ground_truth: every image of the split.
        detections: one per image, in the same order.
        num_categories: labels count from 1 to this.
    """
    parts = []
    for start in range(0, len(ground_truth), TOGETHER):
        some = slice(start, start + TOGETHER)
        parts += list(_tables(ground_truth[some], detections[some], num_categories))
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def _tables(
    truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Iterator[pa.Table]:
    """What was found in some images, then what they hold."""
    evaluation = match_boxes(truth, detections, num_categories)
    matches = [image for image in evaluation.eval_imgs if image is not None]
    seen = [image for image in matches if image["dtIds"]]
    if seen:
        yield _found(seen, np.concatenate([d.boxes_xyxy for d in detections]))
    objects = Counter({(g.image_id, 0): 0 for g in truth})
    for image in matches:
        if held := sum(not ignored for ignored in image["gtIgnore"]):
            objects[int(image["image_id"]), int(image["category_id"])] = held
    yield _objects(objects)


def _found(seen: Sequence[dict[str, Any]], boxes_xyxy: Any) -> pa.Table:
    """The detections of some labels and images; they are numbered from 1.

    Args:
        seen: entries of ``eval_imgs`` with detections.
        boxes_xyxy: [D, 4] of all detections that were matched together.
    """
    nums = [len(image["dtIds"]) for image in seen]
    boxes = boxes_xyxy[np.concatenate([image["dtIds"] for image in seen]) - 1]
    flags = {
        name: np.concatenate(
            [np.asarray(image[key], dtype=bool).reshape(NUM_IOUS, -1) for image in seen], axis=1
        )
        for name, key in (("matched", "dtMatched"), ("ignored", "dtIgnore"))
    }
    return _whole(
        {
            "image_id": np.repeat([image["image_id"] for image in seen], nums),
            "label": np.repeat([image["category_id"] for image in seen], nums),
            "score": np.concatenate([image["dtScores"] for image in seen]),
            **{name: boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
            **{name: as_bits(flag) for name, flag in flags.items()},
        },
        sum(nums),
    )


def _objects(objects: Counter[tuple[int, int]]) -> pa.Table:
    keys = sorted(objects)
    return _whole(
        {
            "image_id": [image_id for image_id, _ in keys],
            "label": [label for _, label in keys],
            "objects": [objects[key] for key in keys],
        },
        len(keys),
    )


def _whole(columns: dict[str, Any], num_rows: int) -> pa.Table:
    """All columns in order; those that are not given are null."""
    arrays = [
        pa.array(np.asarray(columns[field.name]).astype(field.type.to_pandas_dtype()), field.type)
        if field.name in columns
        else pa.nulls(num_rows, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
