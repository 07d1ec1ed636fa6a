"""Rotations, shears and shifts of an image; boxes, masks and keypoints go where the pixels go."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as images

from rethink_ray.data.objects import Objects
from rethink_ray.data.placing import PAD_GRAY, cut

Picture = tuple[Tensor, Objects]
"""[3, H, W] float32 in 0..1, and what is on it."""
OF_BOXES = 1 / 3
"""An operation inside boxes happens to this share of them."""


def affine(
    image: Tensor,
    objects: Objects,
    *,
    degrees: float = 0.0,
    shift_xy: tuple[float, float] = (0.0, 0.0),
    shear_xy: tuple[float, float] = (0.0, 0.0),
) -> Picture:
    """Rotated clockwise, moved and sheared (degrees) about the middle; gray comes in.

    A box becomes the upright box around its moved corners.
    """
    angles, shifts = list(shear_xy), [round(shift) for shift in shift_xy]
    turned = images.affine_image(
        image, degrees, shifts, 1.0, angles, InterpolationMode.BILINEAR, [PAD_GRAY] * 3
    )
    hw = (image.shape[-2], image.shape[-1])

    def move(points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        points = torch.from_numpy(np.ascontiguousarray(points_xy, np.float32)).reshape(-1, 2)
        if not len(points):
            return points_xy
        moved, _ = images.affine_keypoints(points, hw, degrees, shifts, 1.0, angles)
        moved_points: NDArray[np.float32] = moved.numpy().reshape(points_xy.shape)
        return moved_points

    masks, points = objects.masks, objects.keypoints
    if masks is not None and len(masks):
        masks = images.affine_mask(
            torch.from_numpy(np.ascontiguousarray(masks)), degrees, shifts, 1.0, angles
        ).numpy()
    if points is not None:
        points = np.concatenate([move(points[..., :2]), points[..., 2:]], axis=-1)
    moved = Objects(
        boxes_xyxy=_upright(objects.boxes_xyxy, move),
        labels=objects.labels,
        area=objects.area,
        masks=masks,
        keypoints=points,
    )
    return turned, cut(moved, hw)


def _upright(
    boxes_xyxy: NDArray[np.float32], move: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The boxes around the moved corners of boxes."""
    x0, y0, x1, y1 = boxes_xyxy.T
    corners = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
    moved = move(corners)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def shift_in_boxes(
    image: Tensor, objects: Objects, shift_px: int, luck: np.random.Generator
) -> Picture:
    """What is inside a box moves down, in a third of the boxes; the boxes stay.

    Masks and keypoints of the box's object move along and end at the box.
    """
    image = image.clone()
    masks = None if objects.masks is None else objects.masks.copy()
    points = None if objects.keypoints is None else objects.keypoints.copy()
    for number, box in enumerate(objects.boxes_xyxy):
        if luck.random() >= OF_BOXES:
            continue
        x0, y0, x1, y1 = (int(side) for side in np.rint(box))
        image[:, y0:y1, x0:x1] = _shifted(image[:, y0:y1, x0:x1], shift_px, PAD_GRAY)
        if masks is not None:
            inside = torch.from_numpy(masks[number : number + 1, y0:y1, x0:x1])
            masks[number, y0:y1, x0:x1] = _shifted(inside, shift_px, 0)[0].numpy()
        if points is not None:
            y = points[number, :, 1] + shift_px
            gone = (y < y0) | (y > y1) | (points[number, :, 2] == 0)
            points[number, :, 1] = y
            points[number, gone] = 0.0
    moved = Objects(
        boxes_xyxy=objects.boxes_xyxy,
        labels=objects.labels,
        area=objects.area,
        masks=masks,
        keypoints=points,
    )
    if masks is None:
        return image, moved
    some_left: NDArray[np.bool_] = np.any(masks, axis=(1, 2))
    return image, moved.where(some_left)


def _shifted(pixels: Tensor, down: int, fill: float) -> Tensor:
    """[C, H, W] with its rows ``down`` further down (up if negative), ``fill`` where none were."""
    height = pixels.shape[1]
    shifted = torch.full_like(pixels, fill)
    if abs(down) < height:
        shifted[:, max(down, 0) : height + min(down, 0)] = pixels[
            :, max(-down, 0) : height - max(down, 0)
        ]
    return shifted
