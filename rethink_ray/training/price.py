"""What a trial's method costs, measured: trained share, operations of an update, memory."""

from dataclasses import dataclass
from typing import Literal

import torch

from rethink_ray.detection.detectors import parameter_counts
from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.training.live import Live
from rethink_ray.training.memory import is_out_of_memory, start_counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one trial, the same on every machine; the peak of memory is taken rung by rung."""

    trained_share: float
    """Of all parameters, those that move."""
    step_flops: float | None
    """Floating-point operations of one update with the whole batch, at the largest image size,
    without the pass that counts denominators for micro-batches (about a third more);
    ``None`` where counting did not fit the memory."""


def price_of(live: Live) -> Price:
    """Counted once for each method and process; a GPU forgets the memory that counting took."""
    moving, total = parameter_counts(live.detector)
    recipe, device = live.recipe, live.ctx.device
    flops = None
    try:
        per_image = step_flops_per_image(
            recipe.detector, recipe.init.frozen, live.num_categories, device
        )
        flops = per_image * recipe.batch_size
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    start_counting(device)
    return Price(trained_share=moving / total, step_flops=flops)


def memory_kind(device: torch.device) -> Literal["gpu", "process"]:
    """What a peak of memory means there: a GPU's allocations, or all of a process so far."""
    return "gpu" if device.type == "cuda" else "process"
