"""AutoAugment for detection (Zoph et al. 2019) and RandAugment (Cubuk et al. 2019).

torchvision's functional operations change the pixels; boxes, masks and keypoints follow geometric
operations. Lengths are shares of the image's longer side; the published pixels assume COCO's 640.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as images

from rethink_ray.data.objects import Objects
from rethink_ray.data.placing import PAD_GRAY
from rethink_ray.data.warping import Scene, shift_in_boxes, warp_affine

TOP_LEVEL = 10.0
SIDE_PX = 640.0
TRANSLATE = 250 / SIDE_PX
TRANSLATE_IN_BOX = 120 / SIDE_PX
CUTOUT = 100 / SIDE_PX
"""Half the side of the gray square."""
SHEAR = 0.3
ROTATE_DEGREES = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a sub-policy, with its probability and its level (0..10)."""

    name: str
    probability: float
    level: float


AUTOAUGMENT = (
    (Step("translate_x", 0.6, 4), Step("equalize", 0.8, 10)),
    (Step("translate_y_in_boxes", 0.2, 2), Step("cutout", 0.8, 8)),
    (Step("sharpness", 0.0, 8), Step("shear_x", 0.4, 0)),
    (Step("shear_y", 1.0, 2), Step("translate_y_in_boxes", 0.6, 6)),
    (Step("rotate", 0.6, 10), Step("color", 1.0, 6)),
)
"""The policy learned on COCO, published as v0; one sub-policy (line) is drawn per image."""
RANDAUGMENT = (
    "equalize",
    "solarize",
    "color",
    "cutout",
    "solarize_add",
    "translate_x",
    "translate_y",
    "shear_x",
    "shear_y",
    "rotate",
)
"""The operations of RandAugment's detection variant."""


def autoaugment(image: Tensor, objects: Objects, rng: np.random.Generator) -> Scene:
    """Applies a random sub-policy: two steps, each with its own probability."""
    for step in AUTOAUGMENT[int(rng.integers(len(AUTOAUGMENT)))]:
        if rng.random() < step.probability:
            image, objects = OPERATIONS[step.name](image, objects, step.level, rng)
    return image, objects


def randaugment(
    image: Tensor, objects: Objects, level: float, count: int, rng: np.random.Generator
) -> Scene:
    """Applies ``count`` random operations at one level, each with probability 0.2 to 0.8."""
    for _ in range(count):
        name = RANDAUGMENT[int(rng.integers(len(RANDAUGMENT)))]
        if rng.random() < rng.uniform(0.2, 0.8):
            image, objects = OPERATIONS[name](image, objects, level, rng)
    return image, objects


def _draw_sign(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value


def _scale_length(image: Tensor, share: float, level: float) -> float:
    return max(image.shape[-2:]) * share * level / TOP_LEVEL


def _translate_x(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return warp_affine(
        image, objects, shift_xy=(_draw_sign(_scale_length(image, TRANSLATE, level), rng), 0.0)
    )


def _translate_y(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return warp_affine(
        image, objects, shift_xy=(0.0, _draw_sign(_scale_length(image, TRANSLATE, level), rng))
    )


def _translate_y_in_boxes(
    image: Tensor, objects: Objects, level: float, rng: np.random.Generator
) -> Scene:
    shift = _draw_sign(_scale_length(image, TRANSLATE_IN_BOX, level), rng)
    return shift_in_boxes(image, objects, round(shift), rng)


def _draw_shear_degrees(level: float, rng: np.random.Generator) -> float:
    return float(np.degrees(np.arctan(_draw_sign(SHEAR * level / TOP_LEVEL, rng))))


def _shear_x(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return warp_affine(image, objects, shear_xy=(_draw_shear_degrees(level, rng), 0.0))


def _shear_y(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return warp_affine(image, objects, shear_xy=(0.0, _draw_shear_degrees(level, rng)))


def _rotate(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return warp_affine(image, objects, degrees=_draw_sign(ROTATE_DEGREES * level / TOP_LEVEL, rng))


def _cutout(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    """Paints a gray square at a random position; objects under it stay, as published."""
    half = round(_scale_length(image, CUTOUT, level))
    y, x = (int(rng.integers(side)) for side in image.shape[-2:])
    image = image.clone()
    image[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = PAD_GRAY
    return image, objects


def _equalize(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return images.equalize_image(image), objects


def _solarize(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    """Inverts pixels that are at least as bright as 25.6 times the level, of 255, as published.

    So level 10 changes no pixel. torchvision's function allows no threshold above white and would
    turn white pixels black at level 10.
    """
    threshold = int(256 * level / TOP_LEVEL) / 255
    return torch.where(image < threshold, image, 1.0 - image), objects


def _solarize_add(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    """Brightens pixels below 0.5."""
    brighter = (image + 110 / 255 * level / TOP_LEVEL).clamp(0.0, 1.0)
    return torch.where(image < 0.5, brighter, image), objects


def _color(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return images.adjust_saturation_image(image, 0.1 + 1.8 * level / TOP_LEVEL), objects


def _sharpness(image: Tensor, objects: Objects, level: float, rng: np.random.Generator) -> Scene:
    return images.adjust_sharpness_image(image, 0.1 + 1.8 * level / TOP_LEVEL), objects


OPERATIONS: dict[str, Callable[[Tensor, Objects, float, np.random.Generator], Scene]] = {
    "color": _color,
    "cutout": _cutout,
    "equalize": _equalize,
    "rotate": _rotate,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "translate_y_in_boxes": _translate_y_in_boxes,
}
