"""Applies the rule for annotated objects to an image, and counts the faults of a data set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.learnable import clamp, has_pixels, is_learnable
from rethink_ray.data.mask_states import MaskState
from rethink_ray.data.objects import Objects

OUTSIDE_PX = 0.5
"""A box that leaves the image by more is a fault; less is rounding, as in COCO's own boxes."""


def is_outside(boxes_xyxy: NDArray[np.float32], clamped: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns [N]: whether a box leaves the image by more than ``OUTSIDE_PX``."""
    outside: NDArray[np.bool_] = np.any(np.abs(boxes_xyxy - clamped) > OUTSIDE_PX, axis=1)
    return outside


def is_findable(entry: ImageEntry) -> NDArray[np.bool_]:
    """Returns [N]: whether an object's box has a part of the image, however small.

    COCO scores boxes of less than a pixel, too. A box with swapped corners, or beside the image,
    has no part that a detection could overlap: it would count as missed by every detector.
    """
    boxes = clamp(entry.boxes_xyxy, np.array([entry.width, entry.height], np.float32))
    findable: NDArray[np.bool_] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return findable


def select_trainable(
    entry: ImageEntry,
    masks: NDArray[np.uint8] | None = None,
    keypoints: NDArray[np.float32] | None = None,
) -> Objects:
    """Returns the objects to train on: no crowds, no degenerate boxes, boxes clamped.

    Args:
        entry: the image, with N objects.
        masks: [N, H, W], 0 or 1.
        keypoints: [N, K, 3].
    """
    size = np.array([entry.width, entry.height], np.float32)
    boxes = clamp(entry.boxes_xyxy, size)
    kept = is_learnable(boxes, entry.is_crowd)
    whole = Objects(
        boxes_xyxy=boxes,
        labels=entry.labels,
        area=entry.area,
        masks=masks,
        has_mask=None if masks is None else entry.has_mask,
        keypoints=keypoints,
    )
    return whole.where(kept)


def count_faults(index: AnnotationIndex, image_ids: Sequence[int]) -> Mapping[str, int]:
    """Counts the annotations that training on these images changes or leaves out, by kind.

    Counted in these images: ``box_outside`` (clamped), ``box_degenerate`` and ``unknown_category``
    (dropped), ``crowd`` (not trained on), ``repeated_object`` (a box that is annotated twice
    stays), ``unreadable_masks`` and, in a split with masks, ``missing_masks`` (no mask is learned
    from or scored), ``mask_off_box`` (the mask stays), ``size_disagrees`` (the annotated size is
    neither the stored picture's nor that of the picture turned by EXIF), ``levels_cut`` (a deep
    picture exceeds the levels of black and white) and ``levels_not_finite``. In the whole split:
    what the reader could not use (``missing_image``, ``unreadable_image``,
    ``unreadable_annotation``, ``unreadable_object``, ``unreadable_box``, ...). Kinds that do not
    occur are absent.
    """
    rows = np.searchsorted(index.image_column("image_id"), np.asarray(image_ids, np.int64))
    widths, heights = index.image_column("width")[rows], index.image_column("height")[rows]
    counts = index.image_column("num_objects")[rows]
    objects = _concatenate_ranges(index.image_column("first_object")[rows], counts)
    raw = index.boxes_xyxy[objects]
    sizes = np.repeat(np.stack([widths, heights], axis=1), counts, axis=0).astype(np.float32)
    clamped = clamp(raw, sizes)
    crowd = index.object_column("is_crowd")[objects].astype(np.bool_)
    good = has_pixels(clamped)
    states = index.object_column("mask_state")[objects]
    stated_widths = index.image_column("annotated_width")[rows]
    stated_heights = index.image_column("annotated_height")[rows]
    is_stated = (stated_widths > 0) & (stated_heights > 0)
    disagrees = is_stated & ((widths != stated_widths) | (heights != stated_heights))
    num_by_kind = {
        "box_outside": int((is_outside(raw, clamped) & good & ~crowd).sum()),
        "box_degenerate": int((~good).sum()),
        "unknown_category": int(index.image_column("num_unknown")[rows].sum()),
        "crowd": int(crowd.sum()),
        "repeated_object": _count_repeated(index, objects, counts),
        "unreadable_masks": int((states == MaskState.UNREADABLE).sum()),
        "mask_off_box": int((states == MaskState.OFF_BOX).sum()),
        "missing_masks": int(((states == MaskState.ABSENT) & ~crowd).sum()) * index.has_masks,
        "size_disagrees": int(disagrees.sum()),
        "levels_cut": int(index.image_column("levels_cut")[rows].sum()),
        "levels_not_finite": int(index.image_column("levels_not_finite")[rows].sum()),
        **index.dropped,
    }
    return {kind: count for kind, count in num_by_kind.items() if count}


def _count_repeated(
    index: AnnotationIndex, objects: NDArray[np.int64], counts: NDArray[np.int32]
) -> int:
    """Counts objects with the label and box of the one before, since an index has them sorted."""
    owner = np.repeat(np.arange(len(counts)), counts)
    labels, boxes = index.object_column("label")[objects], index.boxes_xyxy[objects]
    is_same = (owner[1:] == owner[:-1]) & (labels[1:] == labels[:-1])
    is_same &= np.all(boxes[1:] == boxes[:-1], axis=1)
    crowd = index.object_column("is_crowd")[objects].astype(np.bool_)
    return int((is_same & ~crowd[1:] & ~crowd[:-1]).sum())


def _concatenate_ranges(first: NDArray[np.int64], counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Concatenates the ranges that start at ``first[i]`` and have ``counts[i]`` numbers."""
    ends = np.cumsum(counts, dtype=np.int64)
    offsets = first - (ends - counts)
    total = int(ends[-1]) if len(ends) else 0
    rows: NDArray[np.int64] = np.arange(total) + np.repeat(offsets, counts)
    return rows
