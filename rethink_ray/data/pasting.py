"""Copy-Paste (Ghiasi et al. 2021): objects of another training image, laid over this one.

Nothing is blended, as in the paper. What they nearly hide is gone; boxes of what stays are drawn
anew around what one still sees.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethink_ray.data.chance import generator_from
from rethink_ray.data.faults import has_pixels
from rethink_ray.data.objects import Objects

NEARLY_HIDDEN = 0.1
"""An object of which no larger share stays visible is dropped (the paper: when none does)."""


def partner_of(
    image_ids: Sequence[int], probability: float, seed: int, epoch: int, image_id: int
) -> int | None:
    """The image whose objects are pasted onto this one in this epoch; ``None``: none are."""
    if not probability:
        return None
    luck = generator_from("copy-paste", seed, epoch, image_id)
    if luck.random() >= probability:
        return None
    return int(image_ids[int(luck.integers(len(image_ids)))])


def paste(
    image: Tensor,
    objects: Objects,
    source: Tensor,
    from_source: Objects,
    luck: np.random.Generator,
) -> tuple[Tensor, Objects]:
    """``image`` with a random subset of ``from_source`` on top; both have masks and one size."""
    assert objects.masks is not None
    assert from_source.masks is not None
    pasted = from_source.where(_some_of(len(from_source), luck))
    assert pasted.masks is not None
    cover: NDArray[np.bool_] = np.any(pasted.masks, axis=0)
    seen = uncover(objects, cover)
    laid = torch.where(torch.from_numpy(cover), source, image)
    return laid, join_objects(seen, pasted)


def uncover(objects: Objects, cover: NDArray[np.bool_]) -> Objects:
    """What one still sees of the objects once ``cover`` ([H, W]) lies over them."""
    assert objects.masks is not None
    before = objects.masks.sum(axis=(1, 2), dtype=np.int64)
    masks = objects.masks * ~cover
    share = masks.sum(axis=(1, 2), dtype=np.int64) / np.maximum(before, 1)
    touched = share < 1.0
    boxes = np.where(touched[:, None], _boxes_around(masks), objects.boxes_xyxy)
    left = Objects(
        boxes_xyxy=boxes.astype(np.float32),
        labels=objects.labels,
        area=(objects.area * share).astype(np.float32),
        masks=masks,
        keypoints=None if objects.keypoints is None else _covered(objects.keypoints, cover),
    )
    return left.where(has_pixels(left.boxes_xyxy) & (share > NEARLY_HIDDEN))


def join_objects(first: Objects, second: Objects) -> Objects:
    """The objects of both."""
    return Objects(
        boxes_xyxy=np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        labels=np.concatenate([first.labels, second.labels]),
        area=np.concatenate([first.area, second.area]),
        masks=_both(first.masks, second.masks),
        keypoints=_both(first.keypoints, second.keypoints),
    )


def _both(one: NDArray[Any] | None, two: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if one is None or two is None else np.concatenate([one, two])


def _some_of(count: int, luck: np.random.Generator) -> NDArray[np.bool_]:
    """[count]: a subset of random size, at least one, each object as likely as any other."""
    chosen = np.zeros(count, np.bool_)
    if count:
        chosen[luck.permutation(count)[: int(luck.integers(1, count + 1))]] = True
    return chosen


def _boxes_around(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 4] xyxy; zero for an empty mask."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _covered(points: NDArray[np.float32], cover: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A keypoint under the cover is annotated still, and seen no more."""
    columns = np.clip(points[..., 0].astype(np.int64), 0, cover.shape[1] - 1)
    rows = np.clip(points[..., 1].astype(np.int64), 0, cover.shape[0] - 1)
    hidden = cover[rows, columns] & (points[..., 2] > 1)
    visibility = np.where(hidden, 1.0, points[..., 2]).astype(np.float32)
    return np.concatenate([points[..., :2], visibility[..., None]], axis=-1)
