"""Where PyTorch's autocast treats devices differently: there a map's own type decides."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

NARROW = (torch.bfloat16, torch.float16)
"""Types that hold a map but no sum over it."""


def keep_types(x: Tensor) -> AbstractContextManager[object]:
    """Inside, operations on ``x``'s device compute in the types they are given.

    On GPUs autocast makes sums and resampling return float32, on CPUs it does not.
    """
    device = x.device.type
    has_autocast = torch.amp.is_autocast_available(device)  # not on meta, where sizes are counted
    return torch.autocast(device, enabled=False) if has_autocast else nullcontext()


def widen(x: Tensor) -> Tensor:
    """The same numbers in float32 and in one piece, as sums over a map need them."""
    return x.float().contiguous()
