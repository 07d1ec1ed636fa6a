"""Finds which objects of a split count when it is scored, and which metrics are undefined on it."""

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.spec.metrics import AREA_RANGES_PX2


def counted_objects(index: AnnotationIndex) -> NDArray[np.bool_]:
    """Returns, for each object of the whole split, whether a detection of it counts as correct.

    It does if the object is no crowd, its box has pixels, and its image belongs to the index.
    """
    in_use = np.isin(index.image_column("image_id"), index.image_ids)
    counted: NDArray[np.bool_] = np.repeat(in_use, index.image_column("num_objects"))
    return counted & index.learnable_objects()


def find_undefined_metrics(index: AnnotationIndex) -> tuple[str, ...]:
    """Returns the names of the metrics that are no number on this split, such as ``ap_s``.

    ``ap_s`` is undefined if no object that counts is small, ``mask_ap`` if none has a mask,
    ``keypoint_ap`` if none has a keypoint. A split without any object is refused elsewhere.
    """
    counted = counted_objects(index)
    area = index.object_column("area")
    names = [f"ap_{size}" for size in _absent_sizes(area[counted])]
    if index.has_masks:
        masked = area[counted & index.masked_objects()]
        names += [f"mask_ap_{size}" for size in _absent_sizes(masked)]
        if not len(masked):
            names += ["mask_ap", "mask_ap50", "mask_ap75"]
    if index.keypoint_names:
        area = area[counted & (index.visible_keypoints() > 0)]
        names += [f"keypoint_ap_{size}" for size in _absent_sizes(area) if size != "s"]
        if not len(area):
            names += ["keypoint_ap", "keypoint_ap50", "keypoint_ap75"]
    return tuple(names)


def _absent_sizes(area: NDArray[np.float32]) -> list[str]:
    """Returns the size classes (s, m, l) in which none of the areas [N], in square pixels, lies."""
    return [
        size
        for size, (least, most) in AREA_RANGES_PX2.items()
        if not ((least <= area) & (area <= most)).any()
    ]
