"""Losses of a whole batch from parts of it: passes of one padded size, micro-batches, workers.

A loss divided by a count of its part (such as foreground points) cannot be averaged over parts. So
its sums are added and divided once by the count of the whole batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rethink_ray.detection.peers import Division, Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class Denominator:
    """A loss is divided by ``value``."""

    count: Tensor
    """A number of anchors, proposals, ...; 0-dim."""
    at_least: int
    """What the loss divides by where ``count`` is smaller."""

    @property
    def value(self) -> Tensor:
        """At least one: a sum over nothing is zero, and any divisor keeps it so."""
        return self.count.clamp(min=max(self.at_least, 1))


Denominators = dict[str, Denominator]
"""Name of a loss -> what it is divided by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSums:
    """The losses of a part of a batch before they are divided."""

    sums: dict[str, Tensor]
    denominators: Denominators

    @classmethod
    def of(cls, losses: Mapping[str, Tensor], divisions: Sequence[Division]) -> "LossSums":
        """From the losses of one pass, each named in one of ``divisions``.

        If nothing was counted, the loss may be no number; its sum is then zero.
        """
        sums: dict[str, Tensor] = {}
        denominators: Denominators = {}
        for division in divisions:
            count = division.count
            divisor = count.clamp(min=division.at_least)
            for name in division.names:
                loss = losses[name]
                kept = torch.where(divisor > 0, loss, torch.zeros_like(loss))
                sums[name] = kept * divisor.to(loss.dtype)
                denominators[name] = Denominator(count=count, at_least=division.at_least)
        assert sums.keys() == losses.keys(), "every loss is divided by something"
        return cls(sums=sums, denominators=denominators)

    def divide(self, denominators: Denominators, num_workers: int = 1) -> dict[str, Tensor]:
        """Losses whose mean over the workers is the loss of the whole batch."""
        return {
            name: total * num_workers / denominators[name].value.to(total)
            for name, total in self.sums.items()
        }


def add_sums(parts: Sequence[LossSums]) -> LossSums:
    """The sums of several parts of a batch, all with the same losses."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].sums
    return LossSums(
        sums={name: torch.stack([part.sums[name] for part in parts]).sum() for name in names},
        denominators=add_denominators([part.denominators for part in parts]),
    )


def add_denominators(parts: Sequence[Denominators]) -> Denominators:
    """What the losses of several parts together are divided by."""
    return {
        name: Denominator(
            count=torch.stack([part[name].count for part in parts]).sum(), at_least=one.at_least
        )
        for name, one in parts[0].items()
    }


def sum_over_workers(denominators: Denominators, peers: Peers | None) -> Denominators:
    """What the losses of all workers' parts are divided by, the same on every worker."""
    if peers is None:
        return denominators
    totals = peers.total(torch.stack([one.count.double() for one in denominators.values()]))
    return {
        name: Denominator(count=total, at_least=denominators[name].at_least)
        for name, total in zip(denominators, totals.unbind(), strict=True)
    }
