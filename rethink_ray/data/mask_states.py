"""Judges whether an object has a mask in its picture; its box is never taken for one."""

import json
from collections.abc import Iterable
from enum import IntEnum

from rethink_ray.data.masks import covers_pixels
from rethink_ray.data.sources.raw import RawObject


class MaskState(IntEnum):
    """What an annotation says of an object's mask."""

    ABSENT = 0
    READABLE = 1
    UNREADABLE = 2
    """The annotation has something that is no mask, or a mask without a pixel in the picture."""


def judge_mask(annotated: RawObject, size_wh: tuple[int, int]) -> MaskState:
    """Returns the state of an object's mask in a picture of this width and height in pixels."""
    if annotated.is_mask_unreadable:
        return MaskState.UNREADABLE
    if not annotated.segmentation:
        return MaskState.ABSENT
    width, height = size_wh
    is_mask = covers_pixels(json.loads(annotated.segmentation), height, width)
    return MaskState.READABLE if is_mask else MaskState.UNREADABLE


def find_mask_faults(
    objects: Iterable[tuple[str, RawObject, tuple[int, int]]],
) -> dict[str, list[str]]:
    """Returns kind of fault -> one line for each object without a mask that can be read.

    An object without any mask is a fault if others of the split have one; a crowd needs none.

    Args:
        objects: name of the picture, object, width and height of the picture in pixels.
    """
    examples: dict[MaskState, list[str]] = {state: [] for state in MaskState}
    for picture, annotated, size in objects:
        state = judge_mask(annotated, size)
        if state != MaskState.ABSENT or not annotated.is_crowd:
            examples[state].append(f"{picture}: {annotated.category}")
    kinds = {"unreadable_masks": examples[MaskState.UNREADABLE]}
    if examples[MaskState.READABLE]:
        kinds["missing_masks"] = examples[MaskState.ABSENT]
    return {kind: names for kind, names in kinds.items() if names}
