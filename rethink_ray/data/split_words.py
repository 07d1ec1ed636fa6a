"""Says in one line what a split holds: pictures, boxes, their sizes, masks and keypoints."""

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex


def describe_split(index: AnnotationIndex) -> str:
    """Returns ``128 pictures of 206x112 to 320x320 px (2 without a box), 929 boxes, ...``.

    Boxes count as annotated, crowds among them; the size of a box is the root of its area.
    """
    in_use = np.isin(index.image_column("image_id"), index.image_ids)
    counts = index.image_column("num_objects")
    boxes = index.boxes_xyxy[np.repeat(in_use, counts)]
    num_empty = int((counts[in_use] == 0).sum())
    without = f" ({num_empty} without a box)" if num_empty else ""
    parts = [f"{_count(len(index), 'picture')} of {_describe_sizes(index, in_use)}{without}"]
    parts.append(_count(len(boxes), "box", "boxes"))
    if len(boxes):
        areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
        least, middle, most = np.quantile(np.sqrt(areas), (0.05, 0.5, 0.95))
        parts[-1] += f" of {least:.0f} to {most:.0f} px, in the middle {middle:.0f} px"
    num_masks = int((index.masked_objects() & np.repeat(in_use, counts)).sum())
    parts += [_count(num_masks, "mask")] if num_masks else []
    parts += [f"{len(index.keypoint_names)} keypoints each"] if index.keypoint_names else []
    return ", ".join(parts)


def _count(num: int, one: str, many: str = "") -> str:
    return f"{num} {one if num == 1 else many or f'{one}s'}"


def _describe_sizes(index: AnnotationIndex, in_use: NDArray[np.bool_]) -> str:
    """Returns the size of all pictures, or of the smallest and the largest by area."""
    sides = [index.image_column(side)[in_use].astype(np.int64) for side in ("width", "height")]
    order = np.argsort(sides[0] * sides[1], kind="stable")
    small, large = (f"{sides[0][row]}x{sides[1][row]}" for row in (order[0], order[-1]))
    return f"{small} px" if small == large else f"{small} to {large} px"
