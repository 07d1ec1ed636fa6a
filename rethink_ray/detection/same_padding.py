"""TensorFlow's SAME padding with fixed amounts, for graphs whose pictures have free sizes.

timm's ``tf_`` networks (``timm/layers/conv2d_same.py``) compute the padding of every convolution
from the size of its map. In a traced graph each size is an expression of all sizes before it, so
PyTorch's exporter takes minutes. Our pictures are padded to multiples of 32 px, so every map
divides by its stride, and the padding is always the same.
"""

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)
_SAME_CONVOLUTION = "Conv2dSame"


class EvenSameConv(nn.Module):
    """A convolution with SAME padding whose input divides by its stride, in height and width."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        sides = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
        height, width = (max((size - 1) * gap + 1 - step, 0) for size, step, gap in sides)
        self.padding = (width // 2, width - width // 2, height // 2, height - height // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the maps ``[N, C, H / stride, W / stride]``."""
        padded = functional.pad(maps, self.padding)
        return functional.conv2d(
            padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def fix_same_padding(network: Network) -> Network:
    """Replaces every SAME convolution of timm inside a network, and returns the network."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and type(child).__name__ == _SAME_CONVOLUTION:
                setattr(parent, name, EvenSameConv(child))
    return network
