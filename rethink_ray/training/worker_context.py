"""Where a run happens: one device, or one of several workers that train as one.

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

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.resolve import TrialConfig

T = TypeVar("T")

SHARE_OF_MEMORY = 0.95
"""Of its part of a GPU a process may fill so much; CUDA itself takes some for each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """One worker's device and its rank among ``world_size``."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @classmethod
    def local(cls, config: TrialConfig) -> Self:
        """This process alone; its thread count is set to what the trial was given."""
        resources = config.resources
        return cls.alone(
            resources.cpus_per_worker, resources.gpus_per_worker, resources.deterministic
        )

    @classmethod
    def alone(cls, threads: int, gpus: float, deterministic: bool = False) -> Self:
        """One process with this many threads, on the GPU if it was given (part of) one."""
        _prepare_process(threads, deterministic)
        return cls(device=_device(gpus))

    @classmethod
    def distributed(cls, config: TrialConfig) -> Self:
        """This process's rank in the process group that its caller has initialised."""
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
        """Whether this worker is the one that writes files."""
        return self.rank == 0

    def wrap(self, losses: nn.Module) -> nn.Module:
        """The module whose gradients are averaged over all workers."""
        if self.world_size == 1:
            return losses
        some_wait = any(getattr(part, "joins_at", 0) for part in losses.modules())
        # inputs stay where the caller put them
        return DistributedDataParallel(losses, find_unused_parameters=some_wait)

    def barrier(self) -> None:
        """Returns once every worker has come here."""
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
        found = self._all_reduce(torch.tensor(values, dtype=torch.float64), dist.ReduceOp.MAX)
        return tuple(found.tolist())

    def any_of(self, flags: Sequence[bool]) -> tuple[bool, ...]:
        """Each flag is true if it is true on any worker; all workers get the same answer."""
        return tuple(flag > 0 for flag in self.largest([float(flag) for flag in flags]))

    def gather(self, shard: Sequence[T]) -> list[T]:
        """All workers' items, in the order of ranks, on every worker."""
        if self.world_size == 1:
            return list(shard)
        shards: list[Any] = [None] * self.world_size
        dist.all_gather_object(shards, list(shard))
        return [item for part in shards for item in part]

    def broadcast(self, value: T) -> T:
        """The value of the worker that writes; the others' own may be stale or absent."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value if self.is_main else None]
        dist.broadcast_object_list(values, src=0, device=self.device)
        found: T = values[0]
        return found

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Every worker's buffers (BN statistics) become rank 0's, as in the file it writes."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def _all_reduce(self, values: Tensor, how: Any) -> Tensor:
        if self.world_size == 1:
            return values
        sent = values.to(self.device, copy=True)  # NCCL sends what lies on a GPU only
        dist.all_reduce(sent, op=how)
        return sent.to(values.device)


def _prepare_process(threads: int, deterministic: bool) -> None:
    """Thread count and determinism belong to the trial, whatever ran here before."""
    torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False


def _device(gpus: float) -> torch.device:
    """The GPU this process was given, or the CPU. Part of a GPU is that part of its memory.

    A process that outlives its runs gives back what the last one took, since another may share
    the GPU.
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
    share = SHARE_OF_MEMORY * gpus if gpus < 1 else 1.0
    torch.cuda.set_per_process_memory_fraction(share, device)
    return device
