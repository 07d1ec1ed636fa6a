"""Workers that share one batch: what a loss must know of the whole batch, not of its part alone.

A worker's gradient is averaged with the others', so a loss that is divided by a number of the local
batch has to be divided by the mean of that number over the workers instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The workers of one run, this one among them. All of them call together."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    def total(self, values: Tensor) -> Tensor:
        """The sum of each value over the workers."""

    def largest(self, values: Sequence[float]) -> tuple[float, ...]:
        """The largest of each value over the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Losses that were divided by a number of the local batch, which may be zero."""

    names: tuple[str, ...]
    count: int
    at_least: int = 0
    """What the loss divides by where ``count`` is smaller."""


def over_whole_batch(
    losses: dict[str, Tensor], divisions: Sequence[Division], peers: Peers | None
) -> dict[str, Tensor]:
    """The same losses, divided by the numbers of the whole batch.

    A loss over nothing at all is zero: a worker without a sample then still takes part in every
    gradient, and the mean over an empty set, which is no number, ends no run.
    """
    found = dict(losses)
    factors = _factors(divisions, peers) if peers is not None else [1.0] * len(divisions)
    for division, factor in zip(divisions, factors, strict=True):
        for name in division.names:
            if max(division.count, division.at_least) == 0:
                found[name] = torch.nan_to_num(found[name]) * 0.0
            elif factor != 1.0:
                found[name] = found[name] * factor
    return found


def _factors(divisions: Sequence[Division], peers: Peers) -> list[float]:
    """What turns each division by the local number into one by the workers' mean."""
    if not divisions:
        return []
    counts = torch.tensor([division.count for division in divisions], dtype=torch.float64)
    totals = peers.total(counts).tolist()
    return [
        max(d.count, d.at_least) * peers.world_size / max(total, d.at_least, 1)
        for d, total in zip(divisions, totals, strict=True)
    ]
