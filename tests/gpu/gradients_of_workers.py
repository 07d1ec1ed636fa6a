"""Stands for ``DistributedDataParallel``, whose C++ part exchanges gradients inside of PyTorch's
engine for backward passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import nn


class PretendedDdp(nn.Module):
    """After each backward pass, every gradient is the mean of the workers' gradients.

    As in PyTorch's, it is an error if a parameter that trains got no gradient, unless
    ``find_unused_parameters``; and with ``broadcast_buffers`` buffers are those of rank 0 before
    each forward pass. A ``static_graph`` must have one backward pass over the same parameters in
    each update.
    """

    alive: ClassVar[WeakSet["PretendedDdp"]] = WeakSet()

    def __init__(
        self,
        module: nn.Module,
        *,
        find_unused_parameters: bool = False,
        broadcast_buffers: bool = True,
        static_graph: bool = False,
    ) -> None:
        super().__init__()
        self.module = module
        self.find_unused_parameters = find_unused_parameters
        self.broadcast_buffers = broadcast_buffers
        self.static_graph = static_graph
        self.is_due = False
        self._shares = True
        for value in module.state_dict().values():
            dist.broadcast(value, src=0)
        type(self).alive.add(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._shares and torch.is_grad_enabled():
            self.is_due = True
            for buffer in self.module.buffers() if self.broadcast_buffers else ():
                dist.broadcast(buffer, src=0)
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        assert not self.static_graph, "a static graph has one backward pass in each update"
        self._shares = False
        try:
            yield
        finally:
            self._shares = True

    @classmethod
    def share_gradients(cls) -> None:
        for wrapper in cls.alive:
            if wrapper.is_due:
                wrapper._share()

    @torch.no_grad()
    def _share(self) -> None:
        self.is_due = False
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                assert self.find_unused_parameters, f"{name} has no gradient"
                continue
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
