"""Copy-Paste (Ghiasi et al. 2021): pastes objects of another training image onto this one.

Edges are not blended, as in the paper. Objects that are nearly hidden are dropped; the boxes of the
others are fitted to their visible part.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethink_ray.data.chance import generator_from
from rethink_ray.data.learnable import has_pixels
from rethink_ray.data.objects import Objects

NEARLY_HIDDEN = 0.1
"""Objects with no larger visible share are dropped (the paper drops those with none)."""


def draw_partner(
    image_ids: Sequence[int], probability: float, seed: int, epoch: int, image_id: int
) -> int | None:
    """Draws the image whose objects are pasted onto this one; ``None``: no paste this epoch."""
    if not probability:
        return None
    rng = generator_from("copy-paste", seed, epoch, image_id)
    if rng.random() >= probability:
        return None
    return int(image_ids[int(rng.integers(len(image_ids)))])


def paste(
    image: Tensor,
    objects: Objects,
    source: Tensor,
    from_source: Objects,
    rng: np.random.Generator,
) -> tuple[Tensor, Objects]:
    """Pastes a random subset of an image's objects onto another image of the same size.

    Args:
        image: [3, H, W], which is pasted onto.
        objects: of ``image``, with masks.
        source: [3, H, W].
        from_source: the objects of ``source``, with masks; objects whose mask is unknown stay.
        rng: draws the subset.
    """
    assert objects.masks is not None
    assert from_source.masks is not None
    from_source = from_source.where(_known_masks(from_source))
    pasted = from_source.where(_draw_subset(len(from_source), rng))
    assert pasted.masks is not None
    cover: NDArray[np.bool_] = np.any(pasted.masks, axis=0)
    seen = cover_objects(objects, cover)
    laid = torch.where(torch.from_numpy(cover), source, image)
    return laid, join_objects(seen, pasted)


def cover_objects(objects: Objects, cover: NDArray[np.bool_]) -> Objects:
    """Returns the visible part of the objects under ``cover`` ([H, W] bool)."""
    assert objects.masks is not None
    before = objects.masks.sum(axis=(1, 2), dtype=np.int64)
    masks = objects.masks * ~cover
    share = masks.sum(axis=(1, 2), dtype=np.int64) / np.maximum(before, 1)
    touched = share < 1.0
    boxes = np.where(touched[:, None], _find_boxes(masks), objects.boxes_xyxy)
    left = replace(
        objects,
        boxes_xyxy=boxes.astype(np.float32),
        area=(objects.area * share).astype(np.float32),
        masks=masks,
        keypoints=None if objects.keypoints is None else _cover_keypoints(objects.keypoints, cover),
    )
    return left.where(has_pixels(left.boxes_xyxy) & (share > NEARLY_HIDDEN))


def join_objects(first: Objects, second: Objects) -> Objects:
    """Returns the objects of both, those of ``first`` first."""
    return Objects(
        boxes_xyxy=np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        labels=np.concatenate([first.labels, second.labels]),
        area=np.concatenate([first.area, second.area]),
        masks=_concatenate(first.masks, second.masks),
        has_mask=np.concatenate([_known_masks(first), _known_masks(second)]),
        keypoints=_concatenate(first.keypoints, second.keypoints),
    )


def _known_masks(objects: Objects) -> NDArray[np.bool_]:
    return np.ones(len(objects), np.bool_) if objects.has_mask is None else objects.has_mask


def _concatenate(one: NDArray[Any] | None, two: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if one is None or two is None else np.concatenate([one, two])


def _draw_subset(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws a subset of random size (at least one) with equal chances: [count] bool."""
    chosen = np.zeros(count, np.bool_)
    if count:
        chosen[rng.permutation(count)[: int(rng.integers(1, count + 1))]] = True
    return chosen


def _find_boxes(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the box of each mask, [N, 4] xyxy; zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _cover_keypoints(points: NDArray[np.float32], cover: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Sets the visibility of keypoints under the cover to 1: annotated, not visible."""
    columns = np.clip(points[..., 0].astype(np.int64), 0, cover.shape[1] - 1)
    rows = np.clip(points[..., 1].astype(np.int64), 0, cover.shape[0] - 1)
    hidden = cover[rows, columns] & (points[..., 2] > 1)
    visibility = np.where(hidden, 1.0, points[..., 2]).astype(np.float32)
    return np.concatenate([points[..., :2], visibility[..., None]], axis=-1)
