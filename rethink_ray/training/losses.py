"""The losses of a run; a loss that is not finite ends the run.

Reading a loss from a GPU waits for the device, so it is read some updates later. The error names
the first bad update all the same.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rethink_ray.spec.errors import Diverged, explain
from rethink_ray.training.worker_context import WorkerContext

TAIL = 50
"""A rung without a branch reports the mean of this many last losses."""
READ_STEPS = 20
"""Losses are read once in this many updates on GPUs and in groups of workers."""


class LossTrace:
    """The mean loss since the trunk was left, and the last few losses."""

    def __init__(self, ctx: WorkerContext, read_every: int | None = None) -> None:
        """``read_every``: updates between two readings; ``None``: one if reading costs nothing."""
        alone = ctx.device.type == "cpu" and ctx.world_size == 1
        self._ctx = ctx
        self._every = read_every or (1 if alone else READ_STEPS)
        self._unread: list[tuple[int, Tensor]] = []
        self._sum, self._count = 0.0, 0
        self._tail: deque[float] = deque(maxlen=TAIL)

    @property
    def last(self) -> float:
        """The newest loss that was read; NaN before the first."""
        return self._tail[-1] if self._tail else math.nan

    @property
    def mean(self) -> float:
        """The mean loss of the branch, or of the last few updates if there was no branch."""
        if self._count:
            return self._sum / self._count
        return math.fsum(self._tail) / len(self._tail) if self._tail else math.nan

    def add(self, step: int, loss: Tensor) -> None:
        """Append one update's loss.

        Raises:
            Diverged: this loss, or one that was not read before, is not finite.
        """
        self._unread.append((step, loss.detach()))
        if len(self._unread) >= self._every:
            self.read_losses()

    def read_losses(self) -> None:
        """Read every loss that was not read yet, averaged over the workers.

        Raises:
            Diverged: one of them is not finite.
        """
        if not self._unread:
            return
        steps = [step for step, _ in self._unread]
        losses = self._ctx.mean(torch.stack([loss.float() for _, loss in self._unread])).tolist()
        self._unread.clear()
        for step, loss in zip(steps, losses, strict=True):
            require_finite(loss, step)
            self._tail.append(loss)
            self._sum, self._count = self._sum + loss, self._count + 1

    def start_branch(self) -> None:
        """``mean`` counts from here on."""
        self.read_losses()
        self._sum, self._count = 0.0, 0

    def state(self) -> dict[str, Any]:
        """Plain numbers for a checkpoint, after every loss was read."""
        self.read_losses()
        return {"sum": self._sum, "count": self._count, "tail": list(self._tail)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._unread.clear()
        self._sum, self._count = float(state["sum"]), int(state["count"])
        self._tail = deque(state["tail"], maxlen=TAIL)


def require_finite(value: float, step: int) -> None:
    """Raises ``Diverged`` unless the loss of this update is a finite number."""
    if not math.isfinite(value):
        remedy = "Lower optimizer.lr, set optimizer.clip_norm, or lengthen schedule.warmup."
        raise Diverged(explain(f"update {step}", "the loss must be finite", value, remedy), step)
