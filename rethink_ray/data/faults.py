"""What annotated boxes need before a detector may train on them; the one place that judges.

A box is clamped to its image; one with no more than a pixel left on a side is dropped.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.objects import Objects

DEGENERATE_PX = 1.0
"""A side must be longer: a click without a drag leaves a box of one pixel."""
OUTSIDE_PX = 0.5
"""Further out than this is a fault; less is the rounding that COCO's own boxes show."""


def clamp(boxes_xyxy: NDArray[np.float32], size_wh: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, 4] boxes cut to images of [2] or [N, 2] width and height."""
    far = np.concatenate([size_wh, size_wh], axis=-1)
    clamped: NDArray[np.float32] = np.clip(boxes_xyxy, 0.0, far, dtype=np.float32)
    return clamped


def has_pixels(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[N]: both sides are longer than one pixel."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    kept: NDArray[np.bool_] = np.all(sides > DEGENERATE_PX, axis=1)
    return kept


def is_outside(boxes_xyxy: NDArray[np.float32], clamped: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[N]: some side stands clearly beyond the image."""
    outside: NDArray[np.bool_] = np.any(np.abs(boxes_xyxy - clamped) > OUTSIDE_PX, axis=1)
    return outside


def trainable(
    entry: ImageEntry,
    masks: NDArray[np.uint8] | None = None,
    keypoints: NDArray[np.float32] | None = None,
) -> Objects:
    """The entry's objects without crowds and degenerate boxes, the rest clamped.

    ``masks`` ([N, H, W]) and ``keypoints`` ([N, K, 3]) of all its objects go with them.
    """
    size = np.array([entry.width, entry.height], np.float32)
    boxes = clamp(entry.boxes_xyxy, size)
    kept = has_pixels(boxes) & ~entry.is_crowd
    whole = Objects(
        boxes_xyxy=boxes, labels=entry.labels, area=entry.area, masks=masks, keypoints=keypoints
    )
    return whole.where(kept)


def faults_of(index: AnnotationIndex, image_ids: Sequence[int]) -> Mapping[str, int]:
    """What training on these images clamps, drops or leaves out, by kind; absent = none.

    ``box_outside`` (clamped), ``box_degenerate`` and ``unknown_category`` (dropped), ``crowd``
    (not trained on) and ``size_disagrees`` (the annotated size is neither the stored picture's nor
    that of the picture turned by EXIF) count in these images; what the index could not use at all
    (``missing_image``, ``unreadable_image``, ``unreadable_annotation``, ...) in the split.
    """
    rows = np.searchsorted(index.image_column("image_id"), np.asarray(image_ids, np.int64))
    widths, heights = index.image_column("width")[rows], index.image_column("height")[rows]
    counts = index.image_column("num_objects")[rows]
    objects = _ranges(index.image_column("first_object")[rows], counts)
    raw = index.boxes_xyxy[objects]
    sizes = np.repeat(np.stack([widths, heights], axis=1), counts, axis=0).astype(np.float32)
    clamped = clamp(raw, sizes)
    crowd = index.object_column("is_crowd")[objects].astype(np.bool_)
    good = has_pixels(clamped)
    told_widths = index.image_column("annotated_width")[rows]
    told_heights = index.image_column("annotated_height")[rows]
    is_stated = (told_widths > 0) & (told_heights > 0)
    disagrees = is_stated & ((widths != told_widths) | (heights != told_heights))
    num_by_kind = {
        "box_outside": int((is_outside(raw, clamped) & good & ~crowd).sum()),
        "box_degenerate": int((~good & ~crowd).sum()),
        "unknown_category": int(index.image_column("num_unknown")[rows].sum()),
        "crowd": int(crowd.sum()),
        "size_disagrees": int(disagrees.sum()),
        **index.dropped,
    }
    return {kind: count for kind, count in num_by_kind.items() if count}


def _ranges(first: NDArray[np.int64], counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """The concatenation of ``first[i], first[i] + 1, ... (counts[i] of them)``."""
    ends = np.cumsum(counts, dtype=np.int64)
    offsets = first - (ends - counts)
    total = int(ends[-1]) if len(ends) else 0
    rows: NDArray[np.int64] = np.arange(total) + np.repeat(offsets, counts)
    return rows
