"""A run's memory: how much it took, and what to try where it does not fit."""

import resource

import torch

from rethink_ray.spec.errors import Infeasible, explain
from rethink_ray.spec.resolve import TrialConfig

OUT_OF_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory")


def peak_memory_bytes(device: torch.device) -> int:
    """On a GPU since ``start_counting``; on a CPU this process's largest size so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_counting(device: torch.device) -> None:
    """Forget what earlier runs in this process took, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the run asked for more memory than its device has."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in told for words in OUT_OF_MEMORY)


def too_large(config: TrialConfig, error: Exception) -> Infeasible:
    """The method does not fit; says what it was and what would be half as much."""
    recipe = config.recipe
    detector = recipe.detector
    must = (
        f"must fit the device's memory with batch_size {recipe.batch_size} and images of "
        f"{detector.min_side_px} to {detector.max_side_px} px"
    )
    smaller = f"detector.min_side_px: {max(detector.min_side_px // 2, 1)} and "
    smaller += f"detector.max_side_px: {max(detector.max_side_px // 2, 1)}"
    half = recipe.batch_size // 2
    if half and half % max(config.resources.workers, 1) == 0:
        smaller = f"batch_size: {half}, or {smaller}"
    came = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return Infeasible(explain(f"trial {config.trial_id}", must, came, f"Try {smaller}."))
