"""Makes operations that PyTorch's autocast treats differently on CPU and GPU keep their types."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

NARROW = (torch.bfloat16, torch.float16)
"""Types precise enough for a map, but not for a sum over it."""


def keep_types(x: Tensor) -> AbstractContextManager[object]:
    """Turns autocast off on the device of ``x``, so that operations keep their input types.

    On GPUs autocast makes sums and resampling return float32; on CPUs it does not.
    """
    device = x.device.type
    has_autocast = torch.amp.is_autocast_available(device)  # not on meta, where sizes are counted
    return torch.autocast(device, enabled=False) if has_autocast else nullcontext()


def to_wide(x: Tensor) -> Tensor:
    """Returns ``x`` as contiguous float32, which sums over a map need."""
    return x.float().contiguous()
