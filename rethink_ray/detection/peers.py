"""Workers that share one batch, and the counts by which losses are divided.

Gradients are averaged over workers. So a loss that is divided by a count of the local batch must be
divided by the mean of that count over the workers instead.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The workers of one run, including this one; all of them must call ``total`` together."""

    @property
    def rank(self) -> int:
        """Number of this worker, from zero."""

    @property
    def world_size(self) -> int:
        """Number of workers."""

    def total(self, values: Tensor) -> Tensor:
        """Returns the sum of each value over the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Losses that were divided by a count of the local batch; the count may be zero."""

    names: tuple[str, ...]
    count: Tensor
    """0-dim, on the device of the losses; reading it would wait for a GPU."""
    at_least: int = 0
    """The divisor if ``count`` is smaller."""


def count_on(device: torch.device, count: int) -> Tensor:
    """Returns a count that the host knows as a 0-dim int64 tensor on ``device``."""
    # torch.tensor would wait for a GPU
    return torch.full((), count, dtype=torch.int64, device=device)
