"""Scenes with every number in plain sight: one bright rectangle per object on black."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rethink_ray.data.objects import Objects

Rectangle = tuple[int, int, int, int]


def scene(
    rectangles: Sequence[Rectangle], height: int = 20, width: int = 40, value: float = 1.0
) -> tuple[Tensor, Objects]:
    """Rectangles (x0, y0, x1, y1) with their boxes, masks and one keypoint in their middle."""
    image = torch.zeros(3, height, width)
    masks = np.zeros((len(rectangles), height, width), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, rectangles, strict=True):
        image[:, y0:y1, x0:x1] = value
        mask[y0:y1, x0:x1] = 1
    boxes = np.array(rectangles, np.float32).reshape(-1, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return image, Objects(
        boxes_xyxy=boxes,
        labels=np.arange(1, len(boxes) + 1),
        area=masks.sum(axis=(1, 2)).astype(np.float32),
        masks=masks,
        keypoints=np.concatenate([middles, np.full((len(boxes), 1), 2)], axis=1)
        .astype(np.float32)
        .reshape(-1, 1, 3),
    )


def box_of(mask: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    """x0, y0, x1, y1 around the pixels of a mask."""
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
