"""Resizes, normalises and pads images of any size to one batch, without random choices.

Differences from torchvision: resizing is antialiased and comes before normalising, as in
augmentation. An image that has its size already is not resized again. A side never becomes shorter
than a pixel. A batch can be padded to the size of a larger one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import (
    GeneralizedRCNNTransform,
    resize_boxes,
    resize_keypoints,
)

from rethink_ray.detection.pixel_norm import PixelNorm

STRIDE_MULTIPLE = 32
LARGEST_FACTORS_ON_CUDA = 128
"""Largest sum of the factors by which the two sides shrink on CUDA. Torch's antialiased kernel
holds its weights in 48 KiB, which suffices for about 185."""

ResizedTarget = dict[str, Tensor]
HeightWidth = tuple[int, int]


class Resize(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision is untyped
    """Resizes images to their target size, normalises them, and pads them to a batch."""

    def __init__(self, min_size: int, max_size: int) -> None:
        super().__init__(min_size, max_size, [], [], STRIDE_MULTIPLE)
        self.padded_hw: tuple[int, int] | None = None
        """Size to pad batches to; ``None``: that of the largest image."""
        self.as_given = False
        """Whether every image keeps its size."""
        self.pixel_norm = PixelNorm()
        """Mean, deviation and order of channels; ImageNet's until weights bring others."""

    def normalize(self, image: Tensor) -> Tensor:
        """Normalises ``[3, H, W]`` or a batch of such images."""
        normalized: Tensor = self.pixel_norm(image)
        return normalized

    def torch_choice(self, k: list[int]) -> int:
        """Returns the only size, which torchvision would draw from the global generator."""
        return k[0]

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size with the shorter side ``min_size`` or the longer side ``max_size``."""
        scale = self._scale(height, width)
        return max(math.floor(height * scale), 1), max(math.floor(width * scale), 1)

    def padded_hw_of(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Returns height and width of these images as a padded batch; zeros for no images."""
        sizes = [self.padded_hw_from(*image.shape[-2:]) for image in images] or [(0, 0)]
        height, width = (max(side) for side in zip(*sizes, strict=True))
        return height, width

    def padded_hw_from(self, height: int, width: int) -> tuple[int, int]:
        """Returns the padded size of one image that has this size before it is resized."""
        height, width = self.resized_hw(height, width)
        return _round_up(height), _round_up(width)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[ResizedTarget] | None = None
    ) -> tuple[ImageList, list[ResizedTarget] | None]:
        """Returns a padded batch of images ([3, H, W] in 0..1) and targets; inputs stay unchanged.

        torchvision normalises before it resizes. Augmentation resizes images that are not
        normalised, and pixels must be equal in training and scoring, to the last bit.
        """
        per_image = [None] * len(images) if targets is None else targets
        pairs = [self.resize(*pair) for pair in zip(images, per_image, strict=True)]
        batch = [image for image, _ in pairs]
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch]
        resized = [target for _, target in pairs if target is not None]
        padded = self._normalize_and_pad(batch)
        return ImageList(padded, sizes), None if targets is None else resized

    def _normalize_and_pad(self, images: list[Tensor]) -> Tensor:
        """Returns ``[N, 3, H, W]``; images that need no padding are normalised in one call."""
        sizes = {(image.shape[-2], image.shape[-1]) for image in images}
        padded_hw = self.padded_hw or tuple(map(_round_up, next(iter(sizes))))
        if sizes == {padded_hw}:
            return self.normalize(torch.stack(images))
        batch = [self.normalize(image) for image in images]
        return self.batch_images(batch, size_divisible=self.size_divisible)

    def resize(
        self, image: Tensor, target: ResizedTarget | None = None
    ) -> tuple[Tensor, ResizedTarget | None]:
        """Resizes an image and its boxes, masks and keypoints to ``resized_hw``."""
        was = (image.shape[-2], image.shape[-1])
        now = self.resized_hw(*was)
        if target is not None and now != was:
            target = resize_target(target, was, now)
        return resize_image(image, *now), target

    def batch_images(self, images: list[Tensor], size_divisible: int = STRIDE_MULTIPLE) -> Tensor:
        """Returns ``[N, 3, H, W]`` with zeros below and to the right of each image."""
        batch: Tensor = super().batch_images(images, size_divisible)
        if self.padded_hw is None or self.padded_hw == tuple(batch.shape[-2:]):
            return batch
        height, width = self.padded_hw
        return functional.pad(batch, (0, width - batch.shape[-1], 0, height - batch.shape[-2]))

    def _scale(self, height: int, width: int) -> float:
        if self.as_given:
            return 1.0
        short, long = sorted((height, width))
        return float(min(self.min_size[0] / short, self.max_size / long))

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Converts detections to each image's own pixels; masks stay squares over their boxes."""
        for detections, now, was in zip(result, image_shapes, original_image_sizes, strict=False):
            detections["boxes"] = resize_boxes(detections["boxes"], list(now), list(was))
            if "keypoints" in detections:
                detections["keypoints"] = resize_keypoints(
                    detections["keypoints"], list(now), list(was)
                )
        return result


def resize_image(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes floats [C, H, W] to [C, height, width], bilinear and antialiased.

    ``data.resizing`` does the same, to the last bit, and explains the choice. Images that CUDA's
    kernel cannot shrink are resized on the CPU.
    """
    assert image.is_floating_point(), "bytes become floats in 0..1 first"
    if image.shape[-2:] == (height, width):
        return image
    if image.is_cuda and is_beyond_cuda((image.shape[-2], image.shape[-1]), (height, width)):
        return resize_image(image.cpu(), height, width).to(image.device)
    resized: Tensor = functional.interpolate(
        image[None].contiguous(),
        size=(height, width),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return resized[0]


def is_beyond_cuda(was: HeightWidth, now: HeightWidth) -> bool:
    """Returns whether an image shrinks too much for CUDA; 12 megapixels to 64 px is possible."""
    return was[0] / now[0] + was[1] / now[1] > LARGEST_FACTORS_ON_CUDA


def resize_target(target: ResizedTarget, was: HeightWidth, now: HeightWidth) -> ResizedTarget:
    """Returns a copy of a target, resized from height and width ``was`` to ``now``."""
    resized = {**target, "boxes": resize_boxes(target["boxes"], list(was), list(now))}
    if "masks" in target:
        resized["masks"] = _resize_masks(target["masks"], now)
    if "keypoints" in target:
        resized["keypoints"] = resize_keypoints(target["keypoints"], list(was), list(now))
    return resized


def _resize_masks(masks: Tensor, hw: HeightWidth) -> Tensor:
    """Resizes masks [N, H, W] to [N, h, w]; each pixel copies the old one under its centre.

    torchvision copies the one under its corner, which moves masks up to half a pixel off the box.
    """
    if not len(masks):
        return masks.new_zeros((0, *hw))
    return functional.interpolate(masks[None], size=hw, mode="nearest-exact")[0]


def _round_up(side: int) -> int:
    return -(-side // STRIDE_MULTIPLE) * STRIDE_MULTIPLE
