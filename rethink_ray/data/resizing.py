"""Resizes images: bilinear, antialiased.

``detection.resize`` has the same function, because the two packages do not import each other.
Training resizes here, scoring there; a test checks that both give the same bits.
"""

from torch import Tensor
from torch.nn import functional


def resize_picture(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes floats [C, H, W] to [C, height, width]; returns the same tensor if sizes agree.

    Each new pixel is a weighted mean of the old pixels under it (weights fall linearly), which
    prevents aliasing. Values stay in their range up to rounding. Bytes are refused, because torch
    resizes them in integers, with other results.
    """
    assert image.is_floating_point(), "bytes become floats in 0..1 first"
    if image.shape[-2:] == (height, width):
        return image
    resized: Tensor = functional.interpolate(
        image[None].contiguous(),
        size=(height, width),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return resized[0]
