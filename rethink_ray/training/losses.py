"""The losses of a run, and the moment one of them stops being a number.

On a GPU a loss is looked at some updates after it was made, since looking waits for the device; the
step named is the first bad one all the same.
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
"""A rung without a branch of its own reports the mean of this many last losses."""
LOOK_STEPS = 20


class LossTrace:
    """Losses since the trunk was left, and the last few of all."""

    def __init__(self, ctx: WorkerContext, look_every: int | None = None) -> None:
        """``look_every`` updates; ``None``: each one where looking costs nothing."""
        alone = ctx.device.type == "cpu" and ctx.world_size == 1
        self._ctx = ctx
        self._every = look_every or (1 if alone else LOOK_STEPS)
        self._unseen: list[tuple[int, Tensor]] = []
        self._sum, self._count = 0.0, 0
        self._tail: deque[float] = deque(maxlen=TAIL)

    @property
    def last(self) -> float:
        """The newest loss looked at; NaN before the first."""
        return self._tail[-1] if self._tail else math.nan

    @property
    def mean(self) -> float:
        """Over the branch, or over the last few updates if there was none."""
        if self._count:
            return self._sum / self._count
        return math.fsum(self._tail) / len(self._tail) if self._tail else math.nan

    def add(self, step: int, loss: Tensor) -> None:
        """One update's loss.

        Raises:
            Diverged: it, or one not looked at so far, is not finite.
        """
        self._unseen.append((step, loss.detach()))
        if len(self._unseen) >= self._every:
            self.look()

    def look(self) -> None:
        """Look at every loss not seen yet; all workers see the mean of theirs."""
        if not self._unseen:
            return
        steps = [step for step, _ in self._unseen]
        losses = self._ctx.mean(torch.stack([loss.float() for _, loss in self._unseen])).tolist()
        self._unseen.clear()
        for step, loss in zip(steps, losses, strict=True):
            require_finite(loss, step)
            self._tail.append(loss)
            self._sum, self._count = self._sum + loss, self._count + 1

    def start_branch(self) -> None:
        """The branch's mean counts from here."""
        self.look()
        self._sum, self._count = 0.0, 0

    def state(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint; everything has been looked at."""
        self.look()
        return {"sum": self._sum, "count": self._count, "tail": list(self._tail)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint says."""
        self._unseen.clear()
        self._sum, self._count = float(state["sum"]), int(state["count"])
        self._tail = deque(state["tail"], maxlen=TAIL)


def require_finite(value: float, step: int) -> None:
    """Raises ``Diverged`` unless the loss of this update is a finite number."""
    if not math.isfinite(value):
        remedy = "Lower optimizer.lr, set optimizer.clip_norm, or lengthen schedule.warmup."
        raise Diverged(explain(f"update {step}", "the loss must be finite", value, remedy), step)
