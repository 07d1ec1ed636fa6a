"""Refuses splits whose boxes fit other pictures, which were resized or turned after annotation.

Either most pictures have another size than their annotations state, or most boxes lie outside
their pictures.
"""

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.inspection import NUM_NAMED
from rethink_ray.data.learnable import clamp, has_pixels
from rethink_ray.spec.errors import DataError, explain

ROUNDING_PX = 1
"""A size that differs by one pixel is rounding: the boxes still fit."""
RESIZED = "If the pictures were resized, put the annotated ones back, or scale the boxes to these."
"""What to do about boxes outside their pictures that look like nothing else."""


def require_sizes(index: AnnotationIndex, split: str) -> None:
    """Refuses a split if most of its pictures have another size than annotated.

    Sizes are compared after turning by EXIF. Pictures without an annotated size do not count.

    Raises:
        DataError: most pictures have another size; names the first three and counts all.
    """
    in_split = np.isin(index.image_column("image_id"), index.image_ids)
    stated = _columns(index, "annotated_width", "annotated_height")
    actual = _columns(index, "width", "height")
    is_stated = in_split & np.all(stated > 0, axis=1)
    differs = is_stated & np.any(np.abs(stated - actual) > ROUNDING_PX, axis=1)
    rows, num_stated = np.flatnonzero(differs), int(is_stated.sum())
    if 2 * len(rows) <= num_stated:
        return
    examples = [
        f"{index.entry(int(index.image_column('image_id')[row])).path} is {_show(actual[row])}, "
        f"annotated as {_show(stated[row])}"
        for row in rows[:NUM_NAMED]
    ]
    must = "must show most pictures in the size that its annotations state"
    shown = f"{len(rows)} of {num_stated} in another: {'; '.join(examples)}"
    remedy = (
        "Put the annotated pictures back, or scale the boxes to these. If the boxes fit already, "
        "correct width and height in the annotations."
    )
    raise DataError(explain(f"split {split}", must, shown, remedy))


def require_boxes_inside(index: AnnotationIndex, split: str) -> None:
    """Refuses a split if most of its boxes lie outside their pictures, or have no pixels there.

    A box lies outside if more than half of its area does. Crowds do not count. A split without
    any box inside, which looks like nothing else, is refused as one without objects, elsewhere.

    Raises:
        DataError: most boxes do; names the first three, counts all, and says what they look like.
    """
    counts = index.image_column("num_objects")
    in_split = np.isin(index.image_column("image_id"), index.image_ids)
    is_counted = np.repeat(in_split, counts) & (index.object_column("is_crowd") == 0)
    owners = np.repeat(np.arange(len(counts)), counts)[is_counted]
    sizes = _columns(index, "width", "height")[owners].astype(np.float32)
    boxes = index.boxes_xyxy[is_counted]
    clamped = clamp(boxes, sizes)
    is_lost = ~has_pixels(clamped) | (2.0 * _areas(clamped) < _areas(boxes))
    rows = np.flatnonzero(is_lost)
    remedy = _guess_remedy(boxes[rows], sizes[rows])
    if 2 * len(rows) <= len(boxes) or (len(rows) == len(boxes) and remedy == RESIZED):
        return
    paths = [
        index.entry(int(index.image_column("image_id")[owners[row]])).path
        for row in rows[:NUM_NAMED]
    ]
    examples = [
        f"{path} is {_show(sizes[row].astype(np.int64))}, with a box at "
        f"[{', '.join(f'{value:g}' for value in boxes[row])}]"
        for path, row in zip(paths, rows, strict=False)
    ]
    must = "must have most boxes in their pictures"
    shown = f"{len(rows)} of {len(boxes)} outside, or without pixels there: {'; '.join(examples)}"
    raise DataError(explain(f"split {split}", must, shown, remedy))


def _areas(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns [N] in square pixels; boxes with swapped corners have 0."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0.0)
    areas: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return areas


def _guess_remedy(boxes: NDArray[np.float32], sizes: NDArray[np.float32]) -> str:
    """Returns what to do about boxes [N, 4] (corners) in pictures of these sizes [N, 2]."""
    if np.all((boxes >= -1.0) & (boxes <= 2.0)):
        return "They look like shares of the picture: multiply them by its width and height."
    corners = boxes[:, 2:] - boxes[:, :2]  # what COCO calls width and height
    if np.all((corners > boxes[:, :2]) & (corners <= sizes + ROUNDING_PX)):
        return "They look like two corners: COCO's boxes are x, y, width, height."
    return RESIZED


def _columns(index: AnnotationIndex, *names: str) -> NDArray[np.int64]:
    """Returns [images, names]: columns of the whole split, side by side."""
    return np.stack([index.image_column(name).astype(np.int64) for name in names], axis=1)


def _show(size: NDArray[np.int64]) -> str:
    return f"{size[0]}x{size[1]}"
