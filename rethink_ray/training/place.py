"""Where a run happens: one device, or one of several workers that train as one.

The workers of a run share one global batch, so a run of N workers is the same method as a run of
one. Only rank 0 writes files; every rank reads them.
"""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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
        return cls(device=_device(gpus, index=None))

    @classmethod
    def distributed(cls, config: TrialConfig) -> Self:
        """This process's place in the process group that its caller has initialised."""
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
        index = torch.cuda.current_device() if resources.gpus_per_worker else None
        return cls(
            device=_device(resources.gpus_per_worker, index),
            rank=dist.get_rank(),
            world_size=world_size,
        )

    @property
    def writes(self) -> bool:
        """Whether this worker is the one that writes files."""
        return self.rank == 0

    def wrap(self, losses: nn.Module) -> nn.Module:
        """The module whose gradients are averaged over all workers."""
        if self.world_size == 1:
            return losses
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(losses, device_ids=devices)

    def barrier(self) -> None:
        """Returns once every worker has come here."""
        if self.world_size > 1:
            dist.barrier()

    def any_of(self, flags: Sequence[bool]) -> tuple[bool, ...]:
        """Each flag is true if it is true on any worker; all workers get the same answer."""
        if self.world_size == 1:
            return tuple(flags)
        raised = torch.tensor([int(f) for f in flags], device=self.device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return tuple(bool(f) for f in raised.tolist())

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over the workers, the same on all of them."""
        if self.world_size == 1:
            return values
        summed = values.clone()
        dist.all_reduce(summed)
        return summed / self.world_size

    def gather(self, shard: Sequence[T]) -> list[T]:
        """All workers' items, in the order of ranks, on every worker."""
        if self.world_size == 1:
            return list(shard)
        shards: list[Any] = [None] * self.world_size
        dist.all_gather_object(shards, list(shard))
        return [item for part in shards for item in part]

    def share_buffers(self, model: nn.Module) -> None:
        """Every worker's buffers (BN statistics) become rank 0's, as in the file it writes."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


def _prepare_process(threads: int, deterministic: bool) -> None:
    """Thread count and determinism belong to the trial, whatever ran here before."""
    torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False


def _device(gpus: float, index: int | None) -> torch.device:
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
    return torch.device("cuda", index if index is not None else torch.cuda.current_device())
