"""The exponential moving average of a detector's trained weights: what a run scores and keeps.

It depends on the weights and on the number of the update alone, so all lengths share that of their
trunk. The average is a copy of the trained weights; frozen weights and buffers have none.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rethink_ray.spec.ema import EmaSpec


def decay_at(half_life_steps: float, step: int) -> float:
    """The share of the average that the update numbered ``step`` (from zero) keeps.

    A half-life of 10 updates keeps 0.933 of it. Update 0 keeps at most 1/10, and update n at most
    (1 + n) / (10 + n). Source: tensorflow/tensorflow, python/training/moving_averages.py.
    """
    return min(math.pow(0.5, 1.0 / half_life_steps), (1 + step) / (10 + step))


class WeightAverage:
    """The averages of a detector's trained weights; equal on all workers, as the weights are."""

    def __init__(self, detector: nn.Module, spec: EmaSpec, unit: int) -> None:
        """The averages begin at the present weights.

        Args:
            detector: the live detector.
            spec: the half-life in units of 1x.
            unit: updates in 1x.
        """
        self.half_life_steps = spec.half_life * unit
        self._unit = unit
        self._weights: dict[str, nn.Parameter] = {}
        self._averages: dict[str, Tensor] = {}
        self.track(detector)

    @property
    def half_life(self) -> float:
        """Half-life in units of 1x."""
        return self.half_life_steps / self._unit

    def track(self, detector: nn.Module) -> None:
        """Every trained weight has an average, and no other; a new one begins at its weight."""
        before = self._averages
        self._weights = {n: w for n, w in detector.named_parameters() if w.requires_grad}
        self._averages = {
            name: before[name] if name in before else weight.detach().clone()
            for name, weight in self._weights.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the weights that the update numbered ``step`` has made."""
        torch._foreach_lerp_(
            [*self._averages.values()],
            [*self._weights.values()],
            1.0 - decay_at(self.half_life_steps, step),
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the detector has the averages as its weights; afterwards the live ones again.

        They change places, which copies nothing. It must not be entered twice.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, weight in self._weights.items():
            weight.data, self._averages[name] = self._averages[name], weight.data

    def is_finite(self) -> Tensor:
        """Whether every average is a finite number, as a boolean of no dimension."""
        return torch.stack([torch.isfinite(a).all() for a in self._averages.values()]).all()

    def state(self) -> dict[str, Tensor]:
        """Name of a weight -> its average, for a checkpoint."""
        return dict(self._averages)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint, whose weights the detector has already.

        A weight that did not train then is its own average.
        """
        for name, average in self._averages.items():
            average.copy_(state.get(name, self._weights[name].detach()))
