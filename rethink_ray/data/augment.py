"""Training-time augmentation on tensors: policies, flip, size, Copy-Paste, colour, in this order.

The same numbers are drawn for a (seed, epoch, image) under all settings, so that two settings can
be compared under equal draws.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethink_ray.data.chance import generator_from
from rethink_ray.data.objects import Keypoints, Objects
from rethink_ray.data.pasting import paste
from rethink_ray.data.placing import plan_size, resize_onto
from rethink_ray.data.policies import autoaugment, randaugment
from rethink_ray.spec.hashing import seed_from
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec

GRAY_WEIGHTS = (0.299, 0.587, 0.114)

KeypointSwap = NDArray[np.int64]
"""[K]: the keypoint that takes each keypoint's position in a mirrored image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentDraws:
    """Uniform numbers in [0, 1) for one image in one epoch, one number per random choice."""

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
        """Returns a generator for one purpose, independent of the generators of other purposes."""
        return generator_from(purpose, *self.drawn_for)

    @staticmethod
    def draw(seed: int, epoch: int, image_id: int) -> "AugmentDraws":
        """Returns the draws; they depend on the arguments alone."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The settings by which a run augments its images."""

    spec: AugmentSpec
    detector: DetectorSpec
    """Its input size is the size that ``spec.scale`` multiplies."""
    keypoint_swap: KeypointSwap | None = None
    """``objects.keypoint_swap`` of the data set; ``None``: no keypoints are trained on."""


PasteSource = tuple[Tensor, Objects, AugmentDraws]
"""An image with masks, the objects to paste from it, and draws for its own flip and size."""


def augment(
    image: Tensor,
    objects: Objects,
    augmentation: Augmentation,
    draws: AugmentDraws,
    other: PasteSource | None = None,
) -> tuple[Tensor, Objects]:
    """Returns the augmented image and its objects.

    Args:
        image: [3, H, W] float32 in 0..1; bytes will do if the settings change no pixel.
        objects: of the image.
        augmentation: the settings.
        draws: for this image in this epoch.
        other: an image whose objects are pasted onto this one; both need masks.
    """
    spec = augmentation.spec.unbundled()
    image, objects = _lay_out(image, objects, augmentation, draws)
    if other is not None:
        canvas_hw = (image.shape[-2], image.shape[-1])
        source = _lay_out(*other[:2], augmentation, other[2], canvas_hw)
        image, objects = paste(image, objects, *source, draws.generator("paste"))
    if spec.color:
        image = jitter_color(image, spec.color, draws)
    return image, objects


def changes_no_pixel(augmentation: Augmentation) -> bool:
    """Returns whether images are mirrored at most, so that their pixels can stay bytes."""
    spec = augmentation.spec.unbundled()
    is_resized = plan_size((1, 1), spec, augmentation.detector, 0.0) is not None
    return spec.policy == "none" and not spec.color and not is_resized


def augmented_hw(
    hw: tuple[int, int], augmentation: Augmentation, draws: AugmentDraws
) -> tuple[int, int]:
    """Returns height and width that ``augment`` gives an image of height and width ``hw``."""
    size = plan_size(hw, augmentation.spec.unbundled(), augmentation.detector, draws.scale)
    return hw if size is None else size[1]


def _lay_out(
    image: Tensor,
    objects: Objects,
    augmentation: Augmentation,
    draws: AugmentDraws,
    canvas_hw: tuple[int, int] | None = None,
) -> tuple[Tensor, Objects]:
    """Applies policy, flip and size; ``canvas_hw`` replaces the canvas that the settings give."""
    spec, detector = augmentation.spec.unbundled(), augmentation.detector
    if spec.policy == "autoaugment":
        image, objects = autoaugment(image, objects, draws.generator("policy"))
    elif spec.policy == "randaugment":
        image, objects = randaugment(
            image, objects, spec.magnitude, spec.operations, draws.generator("policy")
        )
    if draws.flip < spec.flip:
        image, objects = flip(image, objects, augmentation.keypoint_swap)
    size = plan_size((image.shape[-2], image.shape[-1]), spec, detector, draws.scale)
    if size is None:
        return image, objects
    scaled_hw, planned_canvas_hw = size
    return resize_onto(
        image, objects, scaled_hw, canvas_hw or planned_canvas_hw, (draws.top, draws.left)
    )


def flip(
    image: Tensor, objects: Objects, swap: KeypointSwap | None = None
) -> tuple[Tensor, Objects]:
    """Mirrors the image and its objects; ``swap`` exchanges left and right keypoints."""
    width = image.shape[-1]
    x0, y0, x1, y1 = objects.boxes_xyxy.T
    mirrored = replace(
        objects,
        boxes_xyxy=np.stack([width - x1, y0, width - x0, y1], axis=1),
        masks=None if objects.masks is None else objects.masks[:, :, ::-1],
        keypoints=_mirror_keypoints(objects.keypoints, width, swap),
    )
    return image.flip(-1), mirrored


def _mirror_keypoints(
    points: Keypoints | None, width: int, swap: KeypointSwap | None
) -> Keypoints | None:
    """Mirrors annotated keypoints ([N, K, 3]); keypoints that are not annotated stay zero."""
    if points is None:
        return None
    swapped = points if swap is None else points[:, swap]
    x = np.where(swapped[..., 2] > 0, width - swapped[..., 0], swapped[..., 0])
    return np.concatenate([x[..., None], swapped[..., 1:]], axis=-1)


def jitter_color(image: Tensor, strength: float, draws: AugmentDraws) -> Tensor:
    """Scales brightness, contrast and saturation, each by 1 - strength to 1 + strength."""

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
