"""A run's memory: how much it took, and what to try if it does not fit."""

import ctypes
import resource
from contextlib import suppress
from functools import cache

import torch

from rethink_ray.spec.check import check_batch
from rethink_ray.spec.errors import Infeasible, SpecError, explain
from rethink_ray.spec.recipe import DetectorSpec
from rethink_ray.spec.resolve import TrialConfig

OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "_status_alloc_failed",
    "_device_allocation_failed",
    "unable to find an engine",
)
"""Parts of messages, in small letters. cuBLAS and cuDNN say ``CUBLAS_STATUS_ALLOC_FAILED``,
``CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED``, or that they found no engine to run a
convolution: each one needed more working memory than was left."""
CONTEXT_BYTES = 700_000_000
"""What a process takes of a GPU beside the tensors: CUDA's context, and kernels that are loaded."""

MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_THRESHOLD = -1, -3
"""Names of two settings of glibc's ``mallopt``. Source: glibc, ``malloc/malloc.h``."""
KEPT_BYTES, LARGEST_KEPT_BYTES = 2**30, 2**25
"""Freed memory that a process keeps, and the largest piece of it; glibc allows no larger one."""


@cache
def keep_freed_memory() -> None:
    """This process keeps memory that it frees, for the next update, which needs as much again.

    glibc would give large maps back to the system and get them anew, a page at a time, in every
    update. No number depends on it. Other C libraries have no such settings.
    """
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(MALLOC_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        set_option(MALLOC_TRIM_THRESHOLD, KEPT_BYTES)


def measure_peak_memory(device: torch.device) -> int:
    """Bytes at the peak: on a GPU since ``start_counting``, on a CPU of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_counting(device: torch.device) -> None:
    """Peaks of earlier runs in this process no longer count, on devices that can forget them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def count_gpus() -> int:
    """CUDA devices that this process can use."""
    return torch.cuda.device_count()


def share_for_tensors(gpus: float, gpu_bytes: int) -> float:
    """The share of a GPU's memory that this process may fill with tensors.

    A whole GPU is filled up to its end. Of a part of one, ``CONTEXT_BYTES`` stay free.

    Example: a quarter of 16 GB is 4 GB, of which 3.3 GB are for tensors, a share of 0.206.

    Raises:
        SpecError: the part is no larger than ``CONTEXT_BYTES``.
    """
    if gpus >= 1:
        return 1.0
    share = gpus - CONTEXT_BYTES / gpu_bytes
    if share <= 0:
        must = f"must leave more than {CONTEXT_BYTES / 1e9:.1f} GB for each process"
        memory_share = f"{gpus:g} of a GPU of {gpu_bytes / 1e9:.1f} GB"
        remedy = "Give each worker a larger part."
        raise SpecError(explain("resources.gpus_per_worker", must, memory_share, remedy))
    return share


def is_out_of_memory(error: Exception) -> bool:
    """Whether the run asked for more memory than its device has."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)


def too_large(config: TrialConfig, error: Exception) -> Infeasible:
    """The error that says which batch and image size did not fit, and which to try instead."""
    recipe, detector = config.recipe, config.recipe.detector
    at_once = images_at_once(config)
    must = (
        f"must fit the device's memory with {at_once} images at once (batch_size "
        f"{recipe.batch_size}) of {detector.min_side_px} to {detector.max_side_px} px"
    )
    remedy = f"Try {_fewer_images(config, at_once)}{_smaller_images(detector)}."
    first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return Infeasible(explain(f"trial {config.trial_id}", must, first_line, remedy))


def images_at_once(config: TrialConfig) -> int:
    """Images of a worker that pass the network together: its share, or ``images_per_step``."""
    share = config.recipe.batch_size // max(config.resources.workers, 1)
    return min(share, config.resources.images_per_step or share)


def _fewer_images(config: TrialConfig, at_once: int) -> str:
    """The largest ``images_per_step`` up to half that splits no group; else half the batch."""
    recipe = config.recipe
    for fewer in range(at_once // 2, 0, -1):
        resources = config.resources.model_copy(update={"images_per_step": fewer})
        try:
            check_batch(recipe, "", resources)
        except SpecError:
            continue
        is_same = recipe.detector.norm in ("gn", "frozen_bn")
        note = " (the gradient stays that of the whole batch)" if is_same else ""
        return f"resources.images_per_step: {fewer}{note}, or "
    half = recipe.batch_size // 2
    is_shared_evenly = half > 0 and half % max(config.resources.workers, 1) == 0
    return f"batch_size: {half}, or " if is_shared_evenly else ""


def _smaller_images(detector: DetectorSpec) -> str:
    return (
        f"detector.min_side_px: {max(detector.min_side_px // 2, 1)} and "
        f"detector.max_side_px: {max(detector.max_side_px // 2, 1)}"
    )
