"""Workers that share one batch: what a loss must know of the whole batch, not of its part alone.

A worker's gradient is averaged with the others', so a loss that is divided by a number of the local
batch has to be divided by the mean of that number over the workers instead.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The workers of one run, this one among them. All of them call together."""

    @property
    def rank(self) -> int:
        """The number of this one, from zero."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    def total(self, values: Tensor) -> Tensor:
        """The sum of each value over the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Losses that were divided by a number of the local batch, which may be zero."""

    names: tuple[str, ...]
    count: Tensor
    """0-dim, on the device where the losses are: reading it there would wait for the GPU."""
    at_least: int = 0
    """What the loss divides by where ``count`` is smaller."""


def count_on(device: torch.device, count: int) -> Tensor:
    """A count that the host knows, as ``Division`` keeps it; 0-dim, int64."""
    # torch.tensor would wait for a GPU
    return torch.full((), count, dtype=torch.int64, device=device)
