"""Losses of a whole batch from its parts: passes of one padded size, micro-batches, workers.

Losses that are divided by counts of their parts (such as foreground points) cannot be averaged. So
the parts' sums are added and divided once, by the count of the whole batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rethink_ray.detection.peers import Division, Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class Denominator:
    """The divisor of a loss is ``value``."""

    count: Tensor
    """Number of anchors, proposals, ...; 0-dim."""
    at_least: int
    """The divisor if ``count`` is smaller."""

    @property
    def value(self) -> Tensor:
        """At least one: a sum over nothing is zero, and any divisor keeps it so."""
        return self.count.clamp(min=max(self.at_least, 1))


Denominators = dict[str, Denominator]
"""Name of a loss -> its denominator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSums:
    """The losses of a part of a batch before they are divided."""

    sums: dict[str, Tensor]
    denominators: Denominators

    @classmethod
    def of(cls, losses: Mapping[str, Tensor], divisions: Sequence[Division]) -> "LossSums":
        """Multiplies the losses of one pass by their divisors; each is named in one division.

        If the divisor is zero, the loss may be NaN; its sum is then zero.
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
        """Returns losses whose mean over the workers is the loss of the whole batch."""
        return {
            name: total * num_workers / denominators[name].value.to(total)
            for name, total in self.sums.items()
        }


def add_sums(parts: Sequence[LossSums]) -> LossSums:
    """Adds the sums of several parts of a batch; all parts have the same losses."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].sums
    return LossSums(
        sums={name: torch.stack([part.sums[name] for part in parts]).sum() for name in names},
        denominators=add_denominators([part.denominators for part in parts]),
    )


def add_denominators(parts: Sequence[Denominators]) -> Denominators:
    """Adds the denominators of several parts of a batch."""
    return {
        name: Denominator(
            count=torch.stack([part[name].count for part in parts]).sum(), at_least=one.at_least
        )
        for name, one in parts[0].items()
    }


def sum_over_workers(denominators: Denominators, peers: Peers | None) -> Denominators:
    """Sums the denominators over all workers; the result is the same on every worker."""
    if peers is None:
        return denominators
    totals = peers.total(torch.stack([one.count.double() for one in denominators.values()]))
    return {
        name: Denominator(count=total, at_least=denominators[name].at_least)
        for name, total in zip(denominators, totals.unbind(), strict=True)
    }
