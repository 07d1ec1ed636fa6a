"""Training-time augmentation on tensors: policies, flip, size, Copy-Paste, colour, in this order.

One fixed set of numbers is drawn per (seed, epoch, image) whatever the settings, so that two
settings see the same draws.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethink_ray.data.chance import generator_from
from rethink_ray.data.objects import Objects
from rethink_ray.data.pasting import paste
from rethink_ray.data.placing import plan_size, resize_onto
from rethink_ray.data.policies import autoaugment, randaugment
from rethink_ray.spec.hashing import seed_from
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

GRAY_WEIGHTS = (0.299, 0.587, 0.114)

Points = NDArray[np.float32]
Swap = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentDraws:
    """Uniform numbers in [0, 1), one for each thing that may happen."""

    flip: float
    scale: float
    left: float
    top: float
    brightness: float
    contrast: float
    saturation: float
    drawn_for: tuple[int, int, int] = (0, 0, 0)
    """(seed, epoch, image id)."""

    def generator(self, purpose: str) -> np.random.Generator:
        """As many numbers as an operation may need, apart from those of every other purpose."""
        return generator_from(purpose, *self.drawn_for)

    @staticmethod
    def draw(seed: int, epoch: int, image_id: int) -> "AugmentDraws":
        """A pure function of its arguments."""
        generator = torch.Generator().manual_seed(seed_from("augment", seed, epoch, image_id))
        numbers = torch.rand(7, generator=generator, dtype=torch.float64).tolist()
        return AugmentDraws(
            flip=numbers[0],
            scale=numbers[1],
            left=numbers[2],
            top=numbers[3],
            brightness=numbers[4],
            contrast=numbers[5],
            saturation=numbers[6],
            drawn_for=(seed, epoch, image_id),
        )


Other = tuple[Tensor, Objects, AugmentDraws]


def augment(
    image: Tensor,
    objects: Objects,
    spec: AugmentSpec,
    detector: DetectorSpec,
    draws: AugmentDraws,
    swap: Swap | None = None,
    other: Other | None = None,
) -> tuple[Tensor, Objects]:
    """``image`` ([3, H, W] float32 in 0..1) and its objects after everything ``spec`` asks for.

    ``swap``: which keypoint stands in each one's place in a mirror. ``other``: an image whose
    objects are pasted onto this one, with draws of its own; both have masks.
    """
    spec = spec.unbundled()
    image, objects = _laid_out(image, objects, spec, detector, draws, swap)
    if other is not None:
        canvas_hw = (image.shape[-2], image.shape[-1])
        source = _laid_out(*other[:2], spec, detector, other[2], swap, canvas_hw)
        image, objects = paste(image, objects, *source, draws.generator("paste"))
    if spec.color:
        image = jitter_color(image, spec.color, draws)
    return image, objects


def _laid_out(
    image: Tensor,
    objects: Objects,
    spec: AugmentSpec,
    detector: DetectorSpec,
    draws: AugmentDraws,
    swap: Swap | None,
    canvas_hw: tuple[int, int] | None = None,
) -> tuple[Tensor, Objects]:
    """Policy, flip and size; on a canvas of this size, or of the one that ``spec`` gives it."""
    if spec.policy == "autoaugment":
        image, objects = autoaugment(image, objects, draws.generator("policy"))
    elif spec.policy == "randaugment":
        image, objects = randaugment(
            image, objects, spec.magnitude, spec.operations, draws.generator("policy")
        )
    if draws.flip < spec.flip:
        image, objects = flip(image, objects, swap)
    size = plan_size((image.shape[-2], image.shape[-1]), spec, detector, draws.scale)
    if size is None:
        return image, objects
    scaled_hw, own_canvas_hw = size
    return resize_onto(
        image, objects, scaled_hw, canvas_hw or own_canvas_hw, (draws.top, draws.left)
    )


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


def jitter_color(image: Tensor, strength: float, draws: AugmentDraws) -> Tensor:
    """Brightness, contrast, saturation, each by a factor in 1 - strength .. 1 + strength."""

    def factor(number: float) -> float:
        return 1.0 + strength * (2.0 * number - 1.0)

    image = (image * factor(draws.brightness)).clamp(0.0, 1.0)
    # numpy's mean does not depend on the number of threads; a torch mean may, in its last bit.
    mean = float(np.mean(_gray(image).numpy(), dtype=np.float64))
    image = ((image - mean) * factor(draws.contrast) + mean).clamp(0.0, 1.0)
    gray = _gray(image)
    return ((image - gray) * factor(draws.saturation) + gray).clamp(0.0, 1.0)


def _gray(image: Tensor) -> Tensor:
    red, green, blue = GRAY_WEIGHTS
    return (image[0] * red + image[1] * green + image[2] * blue)[None]
