"""Resizes an image onto a canvas, and moves and crops its objects with it."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rethink_ray.data.learnable import clamp, has_pixels
from rethink_ray.data.objects import Keypoints, Objects
from rethink_ray.data.resizing import resize_picture
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

PAD_GRAY = 0.5

CanvasSize = tuple[int, int]


def plan_size(
    hw: CanvasSize, spec: AugmentSpec, detector: DetectorSpec, number: float
) -> tuple[CanvasSize, CanvasSize] | None:
    """Returns the sizes of the resized image and of the canvas; ``None``: the detector resizes.

    With ``spec.short_side_px`` the shorter side is drawn in pixels and the canvas is the image (He
    et al. 2018). With ``spec.scale`` a factor of the detector's input size is drawn, on a canvas of
    that size (large-scale jitter, Ghiasi et al. 2021, sec. 3). The image is resized once, straight
    to its final size, instead of twice.

    Args:
        hw: height and width of the image.
        spec: the ranges.
        detector: its input size.
        number: in [0, 1), picks from the range.
    """
    height, width = hw
    if spec.short_side_px is not None:
        low, high = spec.short_side_px
        side = round(low + number * (high - low))
        ratio = min(side / min(hw), detector.max_side_px / max(hw))
        scaled = (max(round(height * ratio), 1), max(round(width * ratio), 1))
        return scaled, scaled
    if spec.scale == (1.0, 1.0) and spec.canvas == "image" and not spec.copy_paste:
        return None
    factor = spec.scale[0] + number * (spec.scale[1] - spec.scale[0])
    target = min(detector.min_side_px / min(hw), detector.max_side_px / max(hw))
    scaled = (max(round(height * target * factor), 1), max(round(width * target * factor), 1))
    if spec.canvas == "square":
        return scaled, (detector.max_side_px, detector.max_side_px)
    return scaled, (max(round(height * target), 1), max(round(width * target), 1))


def resize_onto(
    image: Tensor,
    objects: Objects,
    scaled_hw: CanvasSize,
    canvas_hw: CanvasSize,
    offset_shares: tuple[float, float],
) -> tuple[Tensor, Objects]:
    """Resizes an image onto a canvas and returns it with its visible objects.

    A larger image is cropped; the rest of a larger canvas is gray.

    Args:
        image: [3, H, W].
        objects: of the image.
        scaled_hw: height and width of the resized image.
        canvas_hw: height and width of the canvas.
        offset_shares: two numbers in [0, 1): the shares of the free (or surplus) height and width
            that lie above and to the left.
    """
    scaled = resize_picture(image, *scaled_hw)
    top = round((canvas_hw[0] - scaled_hw[0]) * offset_shares[0])
    left = round((canvas_hw[1] - scaled_hw[1]) * offset_shares[1])
    hw = (image.shape[-2], image.shape[-1])
    moved = _move_objects(objects, scaled_hw, hw, top, left)
    if moved.masks is not None:
        moved = moved.with_masks(_put_masks_on_canvas(moved.masks, canvas_hw, top, left))
    return _put_on_canvas(scaled, canvas_hw, top, left, PAD_GRAY), crop_objects(moved, canvas_hw)


def crop_objects(moved: Objects, canvas_hw: CanvasSize) -> Objects:
    """Crops objects to the canvas; areas shrink with their boxes.

    Masks must have the canvas's size. An object without any mask pixel left is dropped.
    """
    boxes = clamp(moved.boxes_xyxy, np.array(canvas_hw[::-1], np.float32))
    visible = _measure_boxes(boxes) / np.maximum(_measure_boxes(moved.boxes_xyxy), 1e-6)
    kept = has_pixels(boxes)
    if moved.masks is not None:
        kept &= moved.masks.any(axis=(1, 2))
    return replace(
        moved,
        boxes_xyxy=boxes,
        area=(moved.area * visible).astype(np.float32),
        keypoints=_keep_visible(moved.keypoints, canvas_hw),
    ).where(kept)


def _move_objects(
    objects: Objects, scaled_hw: CanvasSize, hw: CanvasSize, top: int, left: int
) -> Objects:
    """Scales objects from an image of ``hw`` to ``scaled_hw``, and moves all but their masks."""
    ratio = np.array([scaled_hw[1] / hw[1], scaled_hw[0] / hw[0]], np.float64)
    shift = np.array([left, top], np.float64)
    boxes = (objects.boxes_xyxy.reshape(-1, 2, 2) * ratio + shift).reshape(-1, 4)
    points = objects.keypoints
    if points is not None:
        placed = points[..., :2] * ratio + shift
        points = np.concatenate([placed, points[..., 2:]], axis=-1).astype(np.float32)
    return replace(
        objects,
        boxes_xyxy=boxes.astype(np.float32),
        area=objects.area * np.prod(ratio),
        masks=None if objects.masks is None else _resize_masks(objects.masks, scaled_hw),
        keypoints=points,
    )


def _resize_masks(masks: NDArray[np.uint8], hw: CanvasSize) -> NDArray[np.uint8]:
    """Resizes masks [N, H, W] to [N, h, w]; each pixel copies the old one under its centre."""
    if not len(masks):
        return np.zeros((0, *hw), np.uint8)
    whole = torch.from_numpy(np.ascontiguousarray(masks))[None]
    return functional.interpolate(whole, size=hw, mode="nearest-exact")[0].numpy()


def _put_masks_on_canvas(
    masks: NDArray[np.uint8], canvas_hw: CanvasSize, top: int, left: int
) -> NDArray[np.uint8]:
    return _put_on_canvas(torch.from_numpy(masks), canvas_hw, top, left, 0).numpy()


def _put_on_canvas(
    scaled: Tensor, canvas_hw: CanvasSize, top: int, left: int, fill: float
) -> Tensor:
    """Copies the part of [C, h, w] that lies on the canvas; ``fill`` elsewhere."""
    canvas = torch.full((scaled.shape[0], *canvas_hw), fill, dtype=scaled.dtype)
    height, width = scaled.shape[-2:]
    rows = slice(max(top, 0), min(top + height, canvas_hw[0]))
    columns = slice(max(left, 0), min(left + width, canvas_hw[1]))
    canvas[:, rows, columns] = scaled[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas


def _keep_visible(points: Keypoints | None, canvas_hw: CanvasSize) -> Keypoints | None:
    """Zeroes keypoints that are off the canvas or not annotated."""
    if points is None:
        return None
    x, y, visibility = np.moveaxis(points, -1, 0)
    on = (x >= 0) & (x <= canvas_hw[1]) & (y >= 0) & (y <= canvas_hw[0]) & (visibility > 0)
    return np.where(on[..., None], points, 0.0).astype(np.float32)


def _measure_boxes(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    area: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area
