"""What a trial's method costs: the share of parameters it trains, and operations per update."""

from dataclasses import dataclass
from typing import Literal

import torch

from rethink_ray.detection.detectors import parameter_counts
from rethink_ray.detection.flops import step_flops_per_image
from rethink_ray.spec.recipe import Frozen
from rethink_ray.training.live import Live
from rethink_ray.training.memory import is_out_of_memory, start_counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The costs of one trial that are the same on every machine."""

    trained_share: float
    """Trained parameters as a share of all; with ``init.unfreeze`` those that train at the end."""
    step_flops: float | None
    """Floating-point operations of the first update with the whole batch, at the largest image
    size, without the pass that counts denominators for micro-batches (about a third more);
    ``None`` where counting did not fit the memory."""
    unfreezes_at: int | None = None
    """Number of the first update in which every part trains; ``None``: there is none."""
    unfrozen_step_flops: float | None = None
    """As ``step_flops``, of the updates from ``unfreezes_at`` on."""

    def mean_step_flops(self, num_updates: int) -> float | None:
        """Operations of an update, on average over the first ``num_updates`` updates."""
        if self.unfreezes_at is None:
            return self.step_flops
        if self.step_flops is None or self.unfrozen_step_flops is None:
            return None
        num_frozen = min(self.unfreezes_at, num_updates)
        frozen_flops = num_frozen * self.step_flops
        return (frozen_flops + (num_updates - num_frozen) * self.unfrozen_step_flops) / num_updates


def measure_price(live: Live) -> Price:
    """The price of an update. Memory that counting takes does not enter the run's peak on a GPU."""
    num_trained, num_parameters = parameter_counts(live.detector)
    device, thaws = live.ctx.device, live.unfreezes_at is not None
    step_flops = _count_step_flops(live, live.recipe.init.frozen)
    unfrozen_step_flops = _count_step_flops(live, "none") if thaws else None
    if device.type == "cuda":
        torch.cuda.empty_cache()
    start_counting(device)
    return Price(
        trained_share=(live.detector.count_thawed() if thaws else num_trained) / num_parameters,
        step_flops=step_flops,
        unfreezes_at=live.unfreezes_at,
        unfrozen_step_flops=unfrozen_step_flops,
    )


def _count_step_flops(live: Live, frozen: Frozen) -> float | None:
    """Operations of an update while the parts up to ``frozen`` are; ``None``: too little memory."""
    recipe, device = live.recipe, live.ctx.device
    try:
        per_image = step_flops_per_image(recipe.detector, frozen, live.num_categories, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return per_image * recipe.batch_size


def memory_kind(device: torch.device) -> Literal["gpu", "process"]:
    """What ``peak_memory_bytes`` counts: a GPU's allocations, or a whole process so far."""
    return "gpu" if device.type == "cuda" else "process"
