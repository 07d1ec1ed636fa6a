"""Stores detections on a split as a table that can be scored again on any subset of images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rethink_ray.detection.scoring import Detection, GroundTruth, match_boxes
from rethink_ray.records.detections import NUM_IOUS, SCHEMA, as_bits

IMAGES_AT_ONCE = 250
"""Images matched at once: 5,000 would take 1.3 GB."""


def table_of(
    ground_truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> pa.Table:
    """Returns rows of ``records.detections`` for detections and annotated objects.

    Args:
        ground_truth: of every image of the split.
        detections: one entry per image, in the same order.
        num_categories: labels count from 1 to this.
    """
    parts = []
    for start in range(0, len(ground_truth), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        parts += list(_build_tables(ground_truth[rows], detections[rows], num_categories))
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def _build_tables(
    truth: Sequence[GroundTruth], detections: Sequence[Detection], num_categories: int
) -> Iterator[pa.Table]:
    """Yields the rows of the detections in these images, then those of their objects."""
    evaluation = match_boxes(truth, detections, num_categories)
    matches = [image for image in evaluation.eval_imgs if image is not None]
    with_detections = [image for image in matches if image["dtIds"]]
    if with_detections:
        yield _detection_rows(with_detections, np.concatenate([d.boxes_xyxy for d in detections]))
    objects = Counter({(g.image_id, 0): 0 for g in truth})
    for image in matches:
        if num_objects := sum(not ignored for ignored in image["gtIgnore"]):
            objects[int(image["image_id"]), int(image["category_id"])] = num_objects
    yield _object_rows(objects)


def _detection_rows(seen: Sequence[dict[str, Any]], boxes_xyxy: Any) -> pa.Table:
    """Returns the rows of detections, whose ids count from 1.

    Args:
        seen: entries of ``eval_imgs`` with detections.
        boxes_xyxy: [D, 4], of all detections that were matched together.
    """
    nums = [len(image["dtIds"]) for image in seen]
    boxes = boxes_xyxy[np.concatenate([image["dtIds"] for image in seen]) - 1]
    flags = {
        name: np.concatenate(
            [np.asarray(image[key], dtype=bool).reshape(NUM_IOUS, -1) for image in seen], axis=1
        )
        for name, key in (("matched", "dtMatched"), ("ignored", "dtIgnore"))
    }
    return _fill_columns(
        {
            "image_id": np.repeat([image["image_id"] for image in seen], nums),
            "label": np.repeat([image["category_id"] for image in seen], nums),
            "score": np.concatenate([image["dtScores"] for image in seen]),
            **{name: boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
            **{name: as_bits(flag) for name, flag in flags.items()},
        },
        sum(nums),
    )


def _object_rows(objects: Counter[tuple[int, int]]) -> pa.Table:
    keys = sorted(objects)
    return _fill_columns(
        {
            "image_id": [image_id for image_id, _ in keys],
            "label": [label for _, label in keys],
            "objects": [objects[key] for key in keys],
        },
        len(keys),
    )


def _fill_columns(columns: dict[str, Any], num_rows: int) -> pa.Table:
    """Builds a table with all columns in order; missing columns are null."""
    arrays = [
        pa.array(np.asarray(columns[field.name]).astype(field.type.to_pandas_dtype()), field.type)
        if field.name in columns
        else pa.nulls(num_rows, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
