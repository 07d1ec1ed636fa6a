"""How much boxes overlap, and which box belongs to which object."""

from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[Any]
"""[N, 4]: x0, y0, x1, y1."""
Shares = npt.NDArray[np.float64]


def measure_iou(boxes: Boxes, others: Boxes) -> Shares:
    """[N, M]: intersection over union of each box with each other one; 0 for boxes without area."""
    shared = _measure_shared(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)


def measure_inside(boxes: Boxes, regions: Boxes) -> Shares:
    """[N, M]: the share of each box that lies inside each region, COCO's overlap with a crowd."""
    shared, areas = _measure_shared(boxes, regions), _areas(boxes)[:, None]
    whole = np.broadcast_to(areas, shared.shape)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0.0)


def pair_by_score(iou: Shares, threshold: float) -> npt.NDArray[np.int64]:
    """[N]: the object that each box takes, -1 for none; COCO's rule for one IoU threshold.

    Args:
        iou: [N, M], boxes from the highest score to the lowest; 0 where labels differ.
        threshold: the least IoU of a match.
    """
    taken: npt.NDArray[np.int64] = np.full(len(iou), -1, np.int64)
    if not iou.size:
        return taken
    free = iou.copy()
    for row in np.flatnonzero(iou.max(axis=1) >= threshold):
        best = int(free[row].argmax())
        if free[row, best] >= threshold:
            taken[row] = best
            free[:, best] = 0.0
    return taken


def pair_by_overlap(iou: Shares, threshold: float) -> npt.NDArray[np.int64]:
    """[N]: the object that each box takes, -1 for none; the pair that overlaps most comes first."""
    taken: npt.NDArray[np.int64] = np.full(len(iou), -1, np.int64)
    free = iou.copy()
    while free.size and free.max() >= threshold:
        row, column = (int(i) for i in np.unravel_index(int(free.argmax()), free.shape))
        taken[row] = column
        free[row], free[:, column] = 0.0, 0.0
    return taken


def _measure_shared(boxes: Boxes, others: Boxes) -> Shares:
    one, other = (np.asarray(b, np.float64).reshape(-1, 4) for b in (boxes, others))
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    sides = np.clip(high - low, 0.0, None)
    shared: Shares = sides[..., 0] * sides[..., 1]
    return shared


def _areas(boxes: Boxes) -> Shares:
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    areas: Shares = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return areas
