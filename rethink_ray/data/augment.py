"""Training-time augmentation on tensors: flip, scale jitter, colour; boxes follow the pixels.

One fixed set of numbers is drawn per (seed, epoch, image) whatever the settings, so that two
settings see the same luck.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rethink_ray.data.chance import seed_from
from rethink_ray.data.faults import clamp, has_pixels
from rethink_ray.data.objects import Objects
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

GRAY_WEIGHTS = (0.299, 0.587, 0.114)
PAD_GRAY = 0.5

Points = NDArray[np.float32]
Swap = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """Uniform numbers in [0, 1), one for each thing that may happen."""

    flip: float
    scale: float
    left: float
    top: float
    brightness: float
    contrast: float
    saturation: float

    @staticmethod
    def draw(seed: int, epoch: int, image_id: int) -> "Luck":
        """A pure function of its arguments."""
        generator = torch.Generator().manual_seed(seed_from("augment", seed, epoch, image_id))
        numbers = torch.rand(7, generator=generator, dtype=torch.float64).tolist()
        return Luck(
            flip=numbers[0],
            scale=numbers[1],
            left=numbers[2],
            top=numbers[3],
            brightness=numbers[4],
            contrast=numbers[5],
            saturation=numbers[6],
        )


def augment(
    image: Tensor,
    objects: Objects,
    spec: AugmentSpec,
    detector: DetectorSpec,
    luck: Luck,
    swap: Swap | None = None,
) -> tuple[Tensor, Objects]:
    """``image`` ([3, H, W] float32 in 0..1) and its objects after everything ``spec`` asks for.

    ``swap``: which keypoint stands in each one's place in a mirror.
    """
    if luck.flip < spec.flip:
        image, objects = flip(image, objects, swap)
    if spec.scale != (1.0, 1.0):
        factor = spec.scale[0] + luck.scale * (spec.scale[1] - spec.scale[0])
        image, objects = jitter_scale(image, objects, factor, detector, luck)
    if spec.color:
        image = jitter_color(image, spec.color, luck)
    return image, objects


def flip(image: Tensor, objects: Objects, swap: Swap | None = None) -> tuple[Tensor, Objects]:
    """Left becomes right; left keypoints become right ones."""
    width = image.shape[-1]
    x0, y0, x1, y1 = objects.boxes_xyxy.T
    turned = Objects(
        boxes_xyxy=np.stack([width - x1, y0, width - x0, y1], axis=1),
        labels=objects.labels,
        area=objects.area,
        masks=None if objects.masks is None else objects.masks[:, :, ::-1],
        keypoints=_mirrored(objects.keypoints, width, swap),
    )
    return image.flip(-1), turned


def _mirrored(points: Points | None, width: int, swap: Swap | None) -> Points | None:
    """What is not annotated keeps its zeros."""
    if points is None:
        return None
    turned = points if swap is None else points[:, swap]
    x = np.where(turned[..., 2] > 0, width - turned[..., 0], turned[..., 0])
    return np.concatenate([x[..., None], turned[..., 1:]], axis=-1)


def jitter_scale(
    image: Tensor, objects: Objects, factor: float, detector: DetectorSpec, luck: Luck
) -> tuple[Tensor, Objects]:
    """The image at ``factor`` times the detector's input size, cropped or padded to that size.

    Large-scale jitter (Ghiasi et al. 2021, sec. 3): the canvas keeps the image's shape, and the
    crop, or the padding, is placed at random. Resizing straight to the input size samples the
    pixels once instead of twice.
    """
    height, width = image.shape[-2:]
    target = min(
        detector.min_side_px / min(height, width), detector.max_side_px / max(height, width)
    )
    canvas_hw = (max(round(height * target), 1), max(round(width * target), 1))
    scaled_hw = (
        max(round(height * target * factor), 1),
        max(round(width * target * factor), 1),
    )
    scaled = functional.interpolate(
        image[None], size=scaled_hw, mode="bilinear", antialias=True, align_corners=False
    )[0].clamp(0.0, 1.0)
    top = _place(canvas_hw[0], scaled_hw[0], luck.top)
    left = _place(canvas_hw[1], scaled_hw[1], luck.left)
    moved = _moved(objects, scaled_hw, (height, width), top, left)
    return _onto_canvas(scaled, canvas_hw, top, left, PAD_GRAY), _cut(moved, canvas_hw, top, left)


def jitter_color(image: Tensor, strength: float, luck: Luck) -> Tensor:
    """Brightness, contrast, saturation, each by a factor in 1 - strength .. 1 + strength."""

    def factor(number: float) -> float:
        return 1.0 + strength * (2.0 * number - 1.0)

    image = (image * factor(luck.brightness)).clamp(0.0, 1.0)
    # numpy's mean does not depend on the number of threads; a torch mean may, in its last bit.
    mean = float(np.mean(_gray(image).numpy(), dtype=np.float64))
    image = ((image - mean) * factor(luck.contrast) + mean).clamp(0.0, 1.0)
    gray = _gray(image)
    return ((image - gray) * factor(luck.saturation) + gray).clamp(0.0, 1.0)


def _gray(image: Tensor) -> Tensor:
    red, green, blue = GRAY_WEIGHTS
    return (image[0] * red + image[1] * green + image[2] * blue)[None]


def _place(canvas: int, scaled: int, number: float) -> int:
    """Where the scaled side begins on the canvas side; negative where it is cropped."""
    return round((canvas - scaled) * number)


def _onto_canvas(
    scaled: Tensor, canvas_hw: tuple[int, int], top: int, left: int, fill: float
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


def _moved(
    objects: Objects, scaled_hw: tuple[int, int], hw: tuple[int, int], top: int, left: int
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


def _resized(masks: NDArray[np.uint8], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """[N, H, W] -> [N, h, w], each pixel taken from the one its centre falls on."""
    if not len(masks):
        return np.zeros((0, *hw), np.uint8)
    whole = torch.from_numpy(np.ascontiguousarray(masks))[None]
    return functional.interpolate(whole, size=hw, mode="nearest-exact")[0].numpy()


def _cut(moved: Objects, canvas_hw: tuple[int, int], top: int, left: int) -> Objects:
    """What of the moved objects still lies on the canvas; areas shrink with their boxes."""
    boxes = clamp(moved.boxes_xyxy, np.array(canvas_hw[::-1], np.float32))
    visible = _box_area(boxes) / np.maximum(_box_area(moved.boxes_xyxy), 1e-6)
    masks = moved.masks
    if masks is not None:
        masks = _onto_canvas(torch.from_numpy(masks), canvas_hw, top, left, 0).numpy()
    cut = Objects(
        boxes_xyxy=boxes,
        labels=moved.labels,
        area=(moved.area * visible).astype(np.float32),
        masks=masks,
        keypoints=_seen(moved.keypoints, canvas_hw),
    )
    kept = has_pixels(boxes)
    return cut.where(kept if masks is None else kept & masks.any(axis=(1, 2)))


def _seen(points: Points | None, canvas_hw: tuple[int, int]) -> Points | None:
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
