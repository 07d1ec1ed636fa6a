"""One worker of a run: its device, its rank, and its messages to the other workers.

The workers of a run share one global batch, so a run of N workers is the same method as a run of
one. Only rank 0 writes files; every rank reads them.
"""

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.memory import keep_freed_memory, share_for_tensors

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """One worker's device and its rank among ``world_size``."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @classmethod
    def local(cls, config: TrialConfig) -> Self:
        """This process alone, with the thread count and the device that the trial was given."""
        resources = config.resources
        return cls.alone(
            resources.cpus_per_worker, resources.gpus_per_worker, resources.deterministic
        )

    @classmethod
    def alone(cls, threads: int, gpus: float, deterministic: bool = False) -> Self:
        """This process alone, with this many threads, on a GPU if ``gpus`` is above zero."""
        _prepare_process(threads, deterministic)
        return cls(device=_device(gpus))

    @classmethod
    def distributed(cls, config: TrialConfig) -> Self:
        """One rank of the process group that the caller has initialised.

        Raises:
            SpecError: the batch does not divide among the workers.
        """
        resources = config.resources
        _prepare_process(resources.cpus_per_worker, resources.deterministic)
        world_size = dist.get_world_size()
        if config.recipe.batch_size % world_size:
            raise SpecError(
                explain(
                    "batch_size",
                    f"must divide by the {world_size} workers",
                    config.recipe.batch_size,
                    "Change batch_size or resources.workers.",
                )
            )
        return cls(
            device=_device(resources.gpus_per_worker), rank=dist.get_rank(), world_size=world_size
        )

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files."""
        return self.rank == 0

    def wrap(self, losses: nn.Module, *, is_static: bool = False) -> nn.Module:
        """``losses`` as a module whose gradients are averaged over all workers.

        Buffers are not exchanged in each update: ours are constants, or statistics that no loss
        reads and that ``broadcast_buffers`` makes equal before anything does. Those of other code
        are, as its losses may read them.

        ``is_static``: each update runs one backward pass over the same parameters.
        """
        if self.world_size == 1:
            return losses
        # heads of a cascade that join later have no gradient before
        has_unused = any(getattr(part, "joins_at", 0) for part in losses.modules())
        has_own = any(isinstance(part, OwnNetwork) for part in losses.modules())
        return DistributedDataParallel(
            losses,
            find_unused_parameters=has_unused,
            broadcast_buffers=has_own,
            static_graph=is_static and not has_unused and not has_own,
        )

    def barrier(self) -> None:
        """Return when every worker has called this."""
        self.total(torch.zeros(1))

    def total(self, values: Tensor) -> Tensor:
        """The sum of each value over the workers, the same on all of them."""
        return self._all_reduce(values, dist.ReduceOp.SUM)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over the workers, the same on all of them."""
        return values if self.world_size == 1 else self.total(values) / self.world_size

    def largest(self, values: Sequence[float]) -> tuple[float, ...]:
        """The largest of each value over the workers, the same on all of them."""
        if self.world_size == 1:
            return tuple(values)
        largest = self._all_reduce(torch.tensor(values, dtype=torch.float64), dist.ReduceOp.MAX)
        return tuple(largest.tolist())

    def any_of(self, flags: Sequence[bool]) -> tuple[bool, ...]:
        """For each flag: whether it is true on any worker. All workers get the same answer."""
        return tuple(flag > 0 for flag in self.largest([float(flag) for flag in flags]))

    def gather(self, shard: Sequence[_T]) -> list[_T]:
        """All workers' items in the order of ranks, on every worker."""
        if self.world_size == 1:
            return list(shard)
        shards: list[Any] = [None] * self.world_size
        dist.all_gather_object(shards, list(shard))
        return [item for part in shards for item in part]

    def broadcast(self, value: _T) -> _T:
        """Rank 0's value, on every worker; the values of the others are ignored."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value if self.is_main else None]
        dist.broadcast_object_list(values, src=0, device=self.device)
        received: _T = values[0]
        return received

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Every worker's buffers (BN statistics) are rank 0's, as in the files it writes."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def _all_reduce(self, values: Tensor, operation: Any) -> Tensor:
        if self.world_size == 1:
            return values
        reduced = values.to(self.device, copy=True)  # NCCL needs tensors on a GPU
        dist.all_reduce(reduced, op=operation)
        return reduced.to(values.device)


def _prepare_process(threads: int, deterministic: bool) -> None:
    """Thread count and determinism are this trial's, whichever ran here before."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False


def _device(gpus: float) -> torch.device:
    """The GPU that this process was given, or the CPU. Part of a GPU means that part of its memory.

    Memory that an earlier run of this process took is given back first, since another process may
    share the GPU.
    """
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SpecError(
            explain(
                "resources.gpus_per_worker",
                "needs a GPU that torch can use",
                gpus,
                "Set resources.gpus_per_worker: 0, or run where torch.cuda.is_available() is true.",
            )
        )
    device = torch.device("cuda", torch.cuda.current_device())
    gc.collect()
    torch.cuda.empty_cache()
    gpu_bytes = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(share_for_tensors(gpus, gpu_bytes), device)
    return device
