"""The pixels that a classifier learns from: copied from its set, mirrored, cropped or shifted.

Which pixels an update sees follows from a generator, hence from a seed and a position.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rethink_ray.data.upstream import ClassificationSet

PixelArray = NDArray[np.uint8]
CropRange = tuple[float, float]

SHIFT_SHARE = 16
"""Images are shifted by at most their side divided by this."""
ASPECT = (3 / 4, 4 / 3)
"""Width of a crop by its height. Source: torchvision, torchvision/transforms/transforms.py
(``RandomResizedCrop``)."""
TRIES = 10
"""Draws of a crop. The first that fits into the image is taken, and the whole image if none does.
Source: torchvision, torchvision/transforms/transforms.py (``RandomResizedCrop``)."""


def copy_pixels(images: ClassificationSet, indices: NDArray[np.int64]) -> PixelArray:
    """[N, 3, S, S] uint8, a copy."""
    return np.ascontiguousarray(images.images[indices])


def unit_range(pixels: PixelArray) -> Tensor:
    """The same pixels as float32 in 0..1."""
    return torch.from_numpy(pixels).float().div_(255.0)


def augment_batch(
    pixels: PixelArray,
    crop: CropRange | None,
    generator: torch.Generator,
    device: torch.device,
    part: slice = slice(None),
) -> Tensor:
    """Each image mirrored or not, and cropped, or shifted by up to a sixteenth of its side.

    Args:
        pixels: [N, 3, S, S], the whole batch.
        crop: range of the area of crops, as a share of the image; ``None`` shifts.
        generator: draws for the whole batch, whichever part is returned.
        device: where crops are computed, and the result lies.
        part: which images of the batch are returned, as float32 in 0..1.
    """
    if crop is None:
        return unit_range(flip_and_shift(pixels, generator)[part]).to(device)
    boxes_xyxy = draw_crops(len(pixels), pixels.shape[-1], crop, generator)
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    batch = torch.from_numpy(pixels[part]).to(device).float().div_(255.0)
    return resize_crops(batch, boxes_xyxy[part], mirrored[part])


def flip_and_shift(pixels: PixelArray, generator: torch.Generator) -> PixelArray:
    """Each image mirrored or not, and shifted by up to a sixteenth of its side, edges repeated."""
    num, _, _, side = pixels.shape
    reach = max(1, side // SHIFT_SHARE)
    mirrored = (torch.rand(num, generator=generator) < 0.5).tolist()
    moves = torch.randint(0, 2 * reach + 1, (num, 2), generator=generator).tolist()
    padded = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    moved = np.empty_like(pixels)
    for i, (top, left) in enumerate(moves):
        window = padded[i, :, top : top + side, left : left + side]
        moved[i] = window[:, :, ::-1] if mirrored[i] else window
    return moved


def draw_crops(num: int, side: int, crop: CropRange, generator: torch.Generator) -> Tensor:
    """Boxes [num, 4] of random crops of squares, float32 in whole pixels, as torchvision draws.

    The area is uniform in ``crop``, the logarithm of the aspect uniform between those of 3/4 and
    4/3. Of ten draws the first that fits counts; if none does, the crop is the whole image.
    """
    area, aspect, top, left = torch.rand(4, num, TRIES, generator=generator).unbind()
    pixels = side * side * (crop[0] + area * (crop[1] - crop[0]))
    low, high = (math.log(bound) for bound in ASPECT)
    ratio = torch.exp(low + aspect * (high - low))
    widths, heights = (pixels * ratio).sqrt().round(), (pixels / ratio).sqrt().round()
    fits = (widths >= 1) & (widths <= side) & (heights >= 1) & (heights <= side)
    first = fits.float().argmax(dim=1, keepdim=True)
    width, height, x, y = (v.gather(1, first)[:, 0] for v in (widths, heights, left, top))
    x0, y0 = ((u * (side - size + 1)).floor() for u, size in ((x, width), (y, height)))
    boxes = torch.stack([x0, y0, x0 + width, y0 + height], dim=1)
    whole = torch.tensor([0.0, 0.0, side, side])
    return torch.where(fits.any(dim=1, keepdim=True), boxes, whole)


def resize_crops(batch: Tensor, boxes_xyxy: Tensor, mirrored: Tensor) -> Tensor:
    """Each crop resized to the whole image, bilinear; [N, 3, S, S].

    A crop is never larger than the image, so nothing needs antialiasing. Pixels at the edge of a
    crop are interpolated with the pixels outside it; a cut-out would repeat its last pixel.
    """
    x0, y0, x1, y1 = (2 * boxes_xyxy.to(batch.device) / batch.shape[-1] - 1).unbind(dim=1)
    zero, side = torch.zeros_like(x0), torch.where(mirrored.to(batch.device), -1.0, 1.0)
    rows = torch.stack([side * (x1 - x0) / 2, zero, (x0 + x1) / 2], dim=1)
    columns = torch.stack([zero, (y1 - y0) / 2, (y0 + y1) / 2], dim=1)
    grid = functional.affine_grid(
        torch.stack([rows, columns], dim=1), list(batch.shape), align_corners=False
    )
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
