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
from rethink_ray.data.faults import Boxes, clamp, has_pixels
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

GRAY_WEIGHTS = (0.299, 0.587, 0.114)
PAD_GRAY = 0.5


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
    image: Tensor, boxes: Boxes, spec: AugmentSpec, detector: DetectorSpec, luck: Luck
) -> tuple[Tensor, Boxes]:
    """``image`` ([3, H, W] float32 in 0..1) and its boxes after everything ``spec`` asks for."""
    if luck.flip < spec.flip:
        image, boxes = flip(image, boxes)
    if spec.scale != (1.0, 1.0):
        factor = spec.scale[0] + luck.scale * (spec.scale[1] - spec.scale[0])
        image, boxes = jitter_scale(image, boxes, factor, detector, luck)
    if spec.color:
        image = jitter_color(image, spec.color, luck)
    return image, boxes


def flip(image: Tensor, boxes: Boxes) -> tuple[Tensor, Boxes]:
    """Left becomes right."""
    width = image.shape[-1]
    x0, y0, x1, y1 = boxes.boxes_xyxy.T
    turned = np.stack([width - x1, y0, width - x0, y1], axis=1)
    return image.flip(-1), Boxes(boxes_xyxy=turned, labels=boxes.labels, area=boxes.area)


def jitter_scale(
    image: Tensor, boxes: Boxes, factor: float, detector: DetectorSpec, luck: Luck
) -> tuple[Tensor, Boxes]:
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
    ratio = np.array([scaled_hw[1] / width, scaled_hw[0] / height], np.float64)
    shift = np.array([left, top], np.float64)
    moved = (boxes.boxes_xyxy.reshape(-1, 2, 2) * ratio + shift).reshape(-1, 4).astype(np.float32)
    return _onto_canvas(scaled, canvas_hw, top, left), _cut(boxes, moved, canvas_hw, ratio)


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


def _onto_canvas(scaled: Tensor, canvas_hw: tuple[int, int], top: int, left: int) -> Tensor:
    canvas = torch.full((3, *canvas_hw), PAD_GRAY)
    height, width = scaled.shape[-2:]
    rows = slice(max(top, 0), min(top + height, canvas_hw[0]))
    columns = slice(max(left, 0), min(left + width, canvas_hw[1]))
    canvas[:, rows, columns] = scaled[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas


def _cut(
    boxes: Boxes,
    moved: NDArray[np.float32],
    canvas_hw: tuple[int, int],
    ratio: NDArray[np.float64],
) -> Boxes:
    """What of the moved boxes still lies on the canvas; areas shrink with their boxes."""
    cut = clamp(moved, np.array(canvas_hw[::-1], np.float32))
    kept = has_pixels(cut)
    visible = _box_area(cut[kept]) / np.maximum(_box_area(moved[kept]), 1e-6)
    area = (boxes.area[kept] * np.prod(ratio) * visible).astype(np.float32)
    return Boxes(boxes_xyxy=cut[kept], labels=boxes.labels[kept], area=area)


def _box_area(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    area: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area
