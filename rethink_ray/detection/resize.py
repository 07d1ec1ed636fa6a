"""Images of any size to one batch: normalised, resized, padded; nothing is drawn at random.

What differs from torchvision: an image that has its size already is not resized again, one that
would lose a side keeps a pixel of it, and a batch can be padded to the size of a larger one.
"""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.transform import (
    GeneralizedRCNNTransform,
    resize_boxes,
    resize_keypoints,
)

STRIDE_MULTIPLE = 32


class Resize(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision is untyped
    """Normalise, bring to the target size, pad to a batch."""

    def __init__(
        self, min_size: int, max_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(min_size, max_size, list(mean), list(std), STRIDE_MULTIPLE)
        self.padded_hw: tuple[int, int] | None = None
        """Pad batches to this size; ``None``: to the largest image."""
        self.as_given = False
        """Leave every image at the size it has."""
        # torchvision makes both on the device for each image, and a GPU is waited for each time
        self.register_buffer("mean", Tensor(list(mean))[:, None, None], persistent=False)
        self.register_buffer("std", Tensor(list(std))[:, None, None], persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        """``[3, H, W]`` in units of the standard deviation from the mean, by channel."""
        normalized: Tensor = (image - self.mean) / self.std
        return normalized

    def torch_choice(self, k: list[int]) -> int:
        """The only size there is (torchvision draws it from the global generator)."""
        return k[0]

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Shorter side to ``min_size`` unless the longer one would pass ``max_size``."""
        scale = self._scale(height, width)
        return max(math.floor(height * scale), 1), max(math.floor(width * scale), 1)

    def padded_hw_of(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Height and width of these images as a batch; zero for none."""
        sizes = [self.resized_hw(*image.shape[-2:]) for image in images] or [(0, 0)]
        height, width = (max(side) for side in zip(*sizes, strict=True))
        return _rounded_up(height), _rounded_up(width)

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The image at ``resized_hw``, and its boxes, masks and keypoints."""
        height, width = image.shape[-2:]
        scale = self._scale(height, width)
        if scale == 1.0:
            return image, target
        if min(height, width) * scale < 1.0:
            return self._squeeze(image, target)
        resized: tuple[Tensor, dict[str, Tensor] | None] = super().resize(image, target)
        return resized

    def batch_images(self, images: list[Tensor], size_divisible: int = STRIDE_MULTIPLE) -> Tensor:
        """``[N, 3, H, W]``, zeros below and to the right of each image."""
        batch: Tensor = super().batch_images(images, size_divisible)
        if self.padded_hw is None or self.padded_hw == tuple(batch.shape[-2:]):
            return batch
        height, width = self.padded_hw
        return F.pad(batch, (0, width - batch.shape[-1], 0, height - batch.shape[-2]))

    def _scale(self, height: int, width: int) -> float:
        if self.as_given:
            return 1.0
        short, long = sorted((height, width))
        return float(min(self.min_size[0] / short, self.max_size / long))

    def _squeeze(
        self, image: Tensor, target: dict[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """A line of pixels: torchvision would round its short side down to nothing."""
        was: tuple[int, int] = (image.shape[-2], image.shape[-1])
        now = self.resized_hw(*was)
        resized = F.interpolate(image[None], size=now, mode="bilinear", align_corners=False)[0]
        if target is None:
            return resized, None
        squeezed = {**target, "boxes": resize_boxes(target["boxes"], list(was), list(now))}
        if "masks" in target:
            squeezed["masks"] = F.interpolate(target["masks"][:, None].float(), size=now)[:, 0]
        if "keypoints" in target:
            squeezed["keypoints"] = resize_keypoints(target["keypoints"], list(was), list(now))
        return resized, squeezed

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """What was found, in each image's own pixels; masks stay squares over their boxes."""
        for found, now, was in zip(result, image_shapes, original_image_sizes, strict=False):
            found["boxes"] = resize_boxes(found["boxes"], list(now), list(was))
            if "keypoints" in found:
                found["keypoints"] = resize_keypoints(found["keypoints"], list(now), list(was))
        return result


def _rounded_up(side: int) -> int:
    return -(-side // STRIDE_MULTIPLE) * STRIDE_MULTIPLE
