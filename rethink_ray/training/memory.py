"""A run's memory: how much it took, and telling its own out-of-memory from the machine's faults."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rethink_ray.spec.errors import Infeasible, explain
from rethink_ray.spec.resolve import TrialConfig

OUT_OF_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory")


@contextmanager
def out_of_memory_is_infeasible(config: TrialConfig) -> Iterator[None]:
    """Running out of memory inside is a result of the method, not a fault of the machine."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        recipe = config.recipe
        must = "must fit the device's memory"
        remedy = (
            f"Lower batch_size ({recipe.batch_size}) or detector.min_side_px "
            f"({recipe.detector.min_side_px})."
        )
        came = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        where = f"trial {config.trial_id}"
        raise Infeasible(explain(where, must, came, remedy)) from error


def peak_memory_bytes(device: torch.device) -> int:
    """On a GPU since ``start_counting``; on a CPU this process's largest size so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_counting(device: torch.device) -> None:
    """Forget what earlier runs in this process took, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)
