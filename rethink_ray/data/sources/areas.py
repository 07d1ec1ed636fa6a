"""Judges whether an annotated area can be that of its object: scores by size depend on it."""

import json

from rethink_ray.data.sources.raw import Box
from rethink_ray.data.sources.segmentations import expand_counts

CORNER_ROUNDING_PX = 2.0
"""An area may be that of a box so much longer and wider: corners are rounded, or inclusive."""
SMALLEST_SHARE = 0.01
"""An object without a mask fills at least this share of its box."""
MASK_FACTOR = 2.0
"""An area that is at most so many times larger or smaller than the mask's is the mask's."""


def is_area_believable(area: float, box_xyxy: Box, segmentation: bytes) -> bool:
    """Returns whether an area fits its box, or the mask beside it.

    Areas of normalised boxes lie far below one pixel, and areas of another picture size beyond the
    box. Boxes without area tell nothing.

    Args:
        area: square pixels, more than 0.
        box_xyxy: the object's box.
        segmentation: COCO's ``segmentation`` as JSON; empty: none.
    """
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    if width <= 0 or height <= 0:
        return True
    most = (width + CORNER_ROUNDING_PX) * (height + CORNER_ROUNDING_PX)
    if SMALLEST_SHARE * width * height <= area <= most:
        return True
    mask_area = measure_mask(segmentation)
    return mask_area / MASK_FACTOR <= area <= MASK_FACTOR * mask_area


def measure_mask(segmentation: bytes) -> float:
    """Returns the area of a mask in square pixels; 0 if there is none."""
    mask = json.loads(segmentation) if segmentation else []
    if isinstance(mask, list):
        return sum(_measure_polygon(corners) for corners in mask if isinstance(corners, list))
    counts = mask["counts"]
    lengths = expand_counts(counts) or [] if isinstance(counts, str) else counts
    return float(sum(lengths[1::2]))


def _measure_polygon(corners: list[float]) -> float:
    xs, ys = corners[0::2], corners[1::2]
    following = zip([*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    pairs = zip(zip(xs, ys, strict=True), following, strict=True)
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairs)) / 2
