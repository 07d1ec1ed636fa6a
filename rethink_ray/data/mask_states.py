"""Judges whether an object has a mask in its picture; its box is never taken for one."""

import json
from collections.abc import Iterable
from enum import IntEnum

import numpy as np

from rethink_ray.data.learnable import clamp
from rethink_ray.data.masks import find_extent
from rethink_ray.data.sources.raw import Box, RawObject

LEAST_OVERLAP = 0.5
"""Intersection over union of a mask's extent and its object's box; below it they disagree."""
CORNER_TOLERANCE_PX = 2.0
"""Extents that differ by less on each side agree: tiny objects overlap little after rounding."""


class MaskState(IntEnum):
    """What an annotation says of an object's mask."""

    ABSENT = 0
    READABLE = 1
    UNREADABLE = 2
    """The annotation has something that is no mask, or a mask without a pixel in the picture."""
    OFF_BOX = 3
    """A mask that can be read and lies beside its object's box, or in a small part of it."""


HAS_MASK = (MaskState.READABLE, MaskState.OFF_BOX)
"""States of objects whose mask is learned from and scored."""


def judge_mask(annotated: RawObject, size_wh: tuple[int, int]) -> MaskState:
    """Returns the state of an object's mask in a picture of this width and height in pixels."""
    if annotated.is_mask_unreadable:
        return MaskState.UNREADABLE
    if not annotated.segmentation:
        return MaskState.ABSENT
    width, height = size_wh
    extent = find_extent(json.loads(annotated.segmentation), height, width)
    if extent is None:
        return MaskState.UNREADABLE
    is_apart = not annotated.is_crowd and _is_apart(extent, annotated.box_xyxy, size_wh)
    return MaskState.OFF_BOX if is_apart else MaskState.READABLE


def _is_apart(extent: Box, box_xyxy: Box, size_wh: tuple[int, int]) -> bool:
    """Returns whether the box of a mask's pixels is another one than the object's."""
    boxes = np.array([extent, box_xyxy], np.float32)
    mask_box, box = clamp(boxes, np.array(size_wh, np.float32)).astype(np.float64)
    if np.all(np.abs(mask_box - box) < CORNER_TOLERANCE_PX):
        return False
    areas = [float(np.prod(np.maximum(one[2:] - one[:2], 0.0))) for one in (mask_box, box)]
    sides = np.minimum(mask_box[2:], box[2:]) - np.maximum(mask_box[:2], box[:2])
    both = float(np.prod(np.maximum(sides, 0.0)))
    return areas[1] > 0.0 and both < LEAST_OVERLAP * (sum(areas) - both)


def find_mask_faults(
    objects: Iterable[tuple[str, RawObject, tuple[int, int]]],
) -> dict[str, list[str]]:
    """Returns kind of fault -> one line for each object whose mask cannot be what is meant.

    An object without any mask is a fault if others of the split have one; a crowd needs none.

    Args:
        objects: name of the picture, object, width and height of the picture in pixels.
    """
    examples: dict[MaskState, list[str]] = {state: [] for state in MaskState}
    for picture, annotated, size in objects:
        state = judge_mask(annotated, size)
        if state != MaskState.ABSENT or not annotated.is_crowd:
            examples[state].append(f"{picture}: {annotated.category}")
    kinds = {
        "unreadable_masks": examples[MaskState.UNREADABLE],
        "mask_off_box": examples[MaskState.OFF_BOX],
    }
    if any(examples[state] for state in HAS_MASK):
        kinds["missing_masks"] = examples[MaskState.ABSENT]
    return {kind: names for kind, names in kinds.items() if names}
