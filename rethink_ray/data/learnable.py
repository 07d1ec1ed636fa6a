"""Decides from which annotated objects a detector learns.

A box is clamped to its image. An object is left out if a side of the clamped box is at most one
pixel long, or if it is a crowd.
"""

import numpy as np
from numpy.typing import NDArray

DEGENERATE_PX = 1.0
"""Both sides must be longer than this, in pixels: a click without a drag leaves a box of one."""


def clamp(boxes_xyxy: NDArray[np.float32], size_wh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns boxes [N, 4], in absolute pixels, cut at the edges of their images.

    ``size_wh``: [2] or [N, 2], width and height of the images.
    """
    far = np.concatenate([size_wh, size_wh], axis=-1)
    clamped: NDArray[np.float32] = np.clip(boxes_xyxy, 0.0, far, dtype=np.float32)
    return clamped


def has_pixels(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns [N]: whether both sides of a box are longer than one pixel."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    kept: NDArray[np.bool_] = np.all(sides > DEGENERATE_PX, axis=1)
    return kept


def is_learnable(
    clamped_xyxy: NDArray[np.float32], is_crowd: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Returns [N]: whether a detector learns from an object, given its clamped box."""
    return has_pixels(clamped_xyxy) & ~is_crowd


def count_visible(
    values: NDArray[np.float32], offsets: NDArray[np.int64], num_keypoints: int
) -> NDArray[np.int64]:
    """Returns [N]: the visible keypoints of each object.

    As in COCO, a keypoint with a visibility of 1 (covered) or 2 counts as visible.

    Args:
        values: x, y and visibility of all keypoints of all objects.
        offsets: [N + 1]; object i has the values from ``offsets[i]`` to ``offsets[i + 1]``. An
            object with another number of values than ``3 * num_keypoints`` counts as one without.
        num_keypoints: number of keypoints of an object that has any.
    """
    counts = np.zeros(len(offsets) - 1, np.int64)
    whole = np.diff(offsets) == 3 * num_keypoints
    positions = offsets[:-1][whole, None] + np.arange(2, 3 * num_keypoints, 3)
    counts[whole] = (values[positions] > 0).sum(axis=1)
    return counts
