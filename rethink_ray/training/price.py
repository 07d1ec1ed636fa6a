"""What a trial's method costs: the share of parameters it trains, and operations per update."""

from dataclasses import dataclass
from typing import Literal

import torch

from rethink_ray.detection.detectors import parameter_counts
from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.training.live import Live
from rethink_ray.training.memory import is_out_of_memory, start_counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The costs of one trial that are the same on every machine."""

    trained_share: float
    """Trained parameters as a share of all."""
    step_flops: float | None
    """Floating-point operations of one update with the whole batch, at the largest image size,
    without the pass that counts denominators for micro-batches (about a third more);
    ``None`` where counting did not fit the memory."""


def measure_price(live: Live) -> Price:
    """The price of an update. Memory that counting takes does not enter the run's peak on a GPU."""
    num_trained, num_parameters = parameter_counts(live.detector)
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
    return Price(trained_share=num_trained / num_parameters, step_flops=flops)


def memory_kind(device: torch.device) -> Literal["gpu", "process"]:
    """What ``peak_memory_bytes`` counts: a GPU's allocations, or a whole process so far."""
    return "gpu" if device.type == "cuda" else "process"
