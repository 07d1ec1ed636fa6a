"""An image at another size on a canvas: how large it becomes, and where what is on it lands."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rethink_ray.data.faults import clamp, has_pixels
from rethink_ray.data.objects import Objects
from rethink_ray.data.resizing import resize_image
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

PAD_GRAY = 0.5

HeightWidth = tuple[int, int]
Points = NDArray[np.float32]


def plan_size(
    hw: HeightWidth, spec: AugmentSpec, detector: DetectorSpec, number: float
) -> tuple[HeightWidth, HeightWidth] | None:
    """Size of the resized image, and of the canvas; ``None``: the detector does the resizing.

    ``number`` in [0, 1) picks from the range that ``spec`` gives. ``short_side_px``: the shorter
    side in pixels, the canvas is the image (He et al. 2018). ``scale``: a factor of the detector's
    input size, on a canvas of that size (large-scale jitter, Ghiasi et al. 2021, sec. 3); resizing
    straight to it samples the pixels once instead of twice.
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
    scaled_hw: HeightWidth,
    canvas_hw: HeightWidth,
    offset_shares: tuple[float, float],
) -> tuple[Tensor, Objects]:
    """``image`` ([3, H, W]) at ``scaled_hw`` on a canvas, and what of its objects is on it.

    ``place``: two numbers in [0, 1) for where it lies from top and left; what is larger than the
    canvas is cropped, the rest of a larger canvas is gray.
    """
    scaled = resize_image(image, *scaled_hw)
    top = round((canvas_hw[0] - scaled_hw[0]) * offset_shares[0])
    left = round((canvas_hw[1] - scaled_hw[1]) * offset_shares[1])
    hw = (image.shape[-2], image.shape[-1])
    moved = _moved(objects, scaled_hw, hw, top, left)
    if moved.masks is not None:
        moved = moved.with_masks(_masks_onto(moved.masks, canvas_hw, top, left))
    return _onto_canvas(scaled, canvas_hw, top, left, PAD_GRAY), cut(moved, canvas_hw)


def cut(moved: Objects, canvas_hw: HeightWidth) -> Objects:
    """What of the objects lies on the canvas; areas shrink with their boxes.

    Masks are of the canvas's size already; an object with none of its mask left is gone.
    """
    boxes = clamp(moved.boxes_xyxy, np.array(canvas_hw[::-1], np.float32))
    visible = _box_area(boxes) / np.maximum(_box_area(moved.boxes_xyxy), 1e-6)
    kept = has_pixels(boxes)
    if moved.masks is not None:
        kept &= moved.masks.any(axis=(1, 2))
    return Objects(
        boxes_xyxy=boxes,
        labels=moved.labels,
        area=(moved.area * visible).astype(np.float32),
        masks=moved.masks,
        keypoints=_seen(moved.keypoints, canvas_hw),
    ).where(kept)


def _moved(
    objects: Objects, scaled_hw: HeightWidth, hw: HeightWidth, top: int, left: int
) -> Objects:
    """The objects of an image resized from ``hw`` to ``scaled_hw``, then moved (masks: not yet)."""
    ratio = np.array([scaled_hw[1] / hw[1], scaled_hw[0] / hw[0]], np.float64)
    shift = np.array([left, top], np.float64)
    boxes = (objects.boxes_xyxy.reshape(-1, 2, 2) * ratio + shift).reshape(-1, 4)
    points = objects.keypoints
    if points is not None:
        placed = points[..., :2] * ratio + shift
        points = np.concatenate([placed, points[..., 2:]], axis=-1).astype(np.float32)
    return Objects(
        boxes_xyxy=boxes.astype(np.float32),
        labels=objects.labels,
        area=objects.area * np.prod(ratio),
        masks=None if objects.masks is None else _resized(objects.masks, scaled_hw),
        keypoints=points,
    )


def _resized(masks: NDArray[np.uint8], hw: HeightWidth) -> NDArray[np.uint8]:
    """[N, H, W] -> [N, h, w], each pixel taken from the one its centre falls on."""
    if not len(masks):
        return np.zeros((0, *hw), np.uint8)
    whole = torch.from_numpy(np.ascontiguousarray(masks))[None]
    return functional.interpolate(whole, size=hw, mode="nearest-exact")[0].numpy()


def _masks_onto(
    masks: NDArray[np.uint8], canvas_hw: HeightWidth, top: int, left: int
) -> NDArray[np.uint8]:
    return _onto_canvas(torch.from_numpy(masks), canvas_hw, top, left, 0).numpy()


def _onto_canvas(
    scaled: Tensor, canvas_hw: HeightWidth, top: int, left: int, fill: float
) -> Tensor:
    """The part of [C, h, w] that lies on the canvas, the rest ``fill``."""
    canvas = torch.full((scaled.shape[0], *canvas_hw), fill, dtype=scaled.dtype)
    height, width = scaled.shape[-2:]
    rows = slice(max(top, 0), min(top + height, canvas_hw[0]))
    columns = slice(max(left, 0), min(left + width, canvas_hw[1]))
    canvas[:, rows, columns] = scaled[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas


def _seen(points: Points | None, canvas_hw: HeightWidth) -> Points | None:
    """Keypoints off the canvas, and those never annotated, become zeros."""
    if points is None:
        return None
    x, y, visibility = np.moveaxis(points, -1, 0)
    on = (x >= 0) & (x <= canvas_hw[1]) & (y >= 0) & (y <= canvas_hw[0]) & (visibility > 0)
    return np.where(on[..., None], points, 0.0).astype(np.float32)


def _box_area(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    area: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area
