"""The one way an image gets another size before a network sees it: bilinear, antialiased.

``detection.resize`` has the same two lines, because the two rooms do not see one another. A test
holds them together to the last bit: training resizes here what scoring resizes there.
"""

from torch import Tensor
from torch.nn import functional


def resize_image(image: Tensor, height: int, width: int) -> Tensor:
    """[C, H, W] floats at [C, height, width]; the same tensor if it has that size already.

    Each new pixel is a mean over the old ones that it covers (weights fall linearly), so that
    nothing finer than a new pixel turns into noise. Values stay in their range up to rounding.
    Bytes are refused: torch resizes them in integers, to other numbers.
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
