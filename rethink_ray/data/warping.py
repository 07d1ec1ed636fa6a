"""Rotates, shears and shifts an image with its boxes, masks and keypoints."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as images

from rethink_ray.data.objects import Objects
from rethink_ray.data.placing import PAD_GRAY, crop_objects

Scene = tuple[Tensor, Objects]
"""An image [3, H, W] float32 in 0..1, and its objects."""
SHIFTED_SHARE = 1 / 3
"""Share of the boxes that an operation inside boxes changes."""


def warp_affine(
    image: Tensor,
    objects: Objects,
    *,
    degrees: float = 0.0,
    shift_xy: tuple[float, float] = (0.0, 0.0),
    shear_xy: tuple[float, float] = (0.0, 0.0),
) -> Scene:
    """Rotates (clockwise), shifts and shears an image about its centre; gray fills the rest.

    A box becomes the axis-aligned box around its moved corners.

    Args:
        image: [3, H, W] float32 in 0..1.
        objects: of the image.
        degrees: of the rotation.
        shift_xy: in pixels; rounded.
        shear_xy: in degrees.
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
    moved = replace(
        objects,
        boxes_xyxy=_bound_boxes(objects.boxes_xyxy, move),
        masks=masks,
        keypoints=points,
    )
    return turned, crop_objects(moved, hw)


def _bound_boxes(
    boxes_xyxy: NDArray[np.float32], move: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Returns the axis-aligned boxes around the moved corners of boxes [N, 4]."""
    x0, y0, x1, y1 = boxes_xyxy.T
    corners = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
    moved = move(corners)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def shift_in_boxes(
    image: Tensor, objects: Objects, shift_px: int, rng: np.random.Generator
) -> Scene:
    """Shifts the pixels inside a third of the boxes down by ``shift_px``; the boxes stay.

    The object's mask and keypoints move along; parts that leave the box are dropped.
    """
    image = image.clone()
    masks = None if objects.masks is None else objects.masks.copy()
    points = None if objects.keypoints is None else objects.keypoints.copy()
    for number, box in enumerate(objects.boxes_xyxy):
        if rng.random() >= SHIFTED_SHARE:
            continue
        x0, y0, x1, y1 = (int(side) for side in np.rint(box))
        image[:, y0:y1, x0:x1] = _shift_rows(image[:, y0:y1, x0:x1], shift_px, PAD_GRAY)
        if masks is not None:
            inside = torch.from_numpy(masks[number : number + 1, y0:y1, x0:x1])
            masks[number, y0:y1, x0:x1] = _shift_rows(inside, shift_px, 0)[0].numpy()
        if points is not None:
            y = points[number, :, 1] + shift_px
            gone = (y < y0) | (y > y1) | (points[number, :, 2] == 0)
            points[number, :, 1] = y
            points[number, gone] = 0.0
    moved = replace(objects, masks=masks, keypoints=points)
    if masks is None:
        return image, moved
    some_left: NDArray[np.bool_] = np.any(masks, axis=(1, 2))
    return image, moved.where(some_left)


def _shift_rows(pixels: Tensor, down: int, fill: float) -> Tensor:
    """Shifts the rows of [C, H, W] down (up if negative); ``fill`` in the freed rows."""
    height = pixels.shape[1]
    shifted = torch.full_like(pixels, fill)
    if abs(down) < height:
        shifted[:, max(down, 0) : height + min(down, 0)] = pixels[
            :, max(-down, 0) : height - max(down, 0)
        ]
    return shifted
