"""The settings a run really trains with, read back from the live optimizer, detector and batch.

A sampled value that never reaches the optimizer is the commonest bug of hyperparameter searches. So
any live value that differs from the recipe ends the trial as *misconfigured*.
"""

import math
import platform
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn

from rethink_ray.data.loader import TrainBatches
from rethink_ray.detection.bifpn import BiFpn
from rethink_ray.detection.detectors import Detector, parameter_counts
from rethink_ray.detection.nas_fpn import NasFpn
from rethink_ray.detection.necks import Fpn
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.simple_pyramid import SimplePyramid
from rethink_ray.spec.detector import PUBLISHED_REPEATS
from rethink_ray.spec.errors import Misconfigured, explain
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.settings import flatten, with_published
from rethink_ray.training.effective_backbone import (
    NORM_OF,
    input_of,
    read_backbone,
    starts_at_zero,
)
from rethink_ray.training.effective_heads import name_box_head, read_family, read_heads
from rethink_ray.training.effective_norms import read_norms
from rethink_ray.training.effective_optimizer import (
    describe_groups,
    read_freezing,
    read_optimizer,
)
from rethink_ray.training.effective_start import describe_start, read_keep_classes
from rethink_ray.training.gpus import describe_gpu
from rethink_ray.training.live import Live
from rethink_ray.training.precision import read_precision, use_precision
from rethink_ray.training.price import Price
from rethink_ray.training.schedule import RungSchedule

NECK_OF: dict[type[nn.Module], str] = {
    Fpn: "fpn",
    NasFpn: "nas_fpn",
    BiFpn: "bifpn",
    SimplePyramid: "simple",
}


def read_back(
    live: Live, schedule: RungSchedule, batches: TrainBatches, batch_images: int
) -> dict[str, Any]:
    """Dotted recipe path -> live value. ``batch_images``: in one worker's batch."""
    settings = read_optimizer(live, schedule) | read_freezing(live)
    if isinstance(live.detector.network, OwnNetwork):
        settings |= read_own_network(live.detector.network)
    else:
        settings |= _read_our_network(live, batch_images)
    for name, value in batches.source.augment.model_dump().items():
        settings[f"augment.{name}"] = value
    if not live.detector.sized_by_loader:
        settings["augment.short_side_px"] = None
    settings["batch_size"] = batch_images * live.ctx.world_size
    with use_precision(live.recipe, live.ctx.device):
        settings["precision"] = read_precision(live.ctx.device)
    return settings


def read_own_network(network: OwnNetwork) -> dict[str, Any]:
    """The settings of a detector that is not ours, as far as it tells them."""
    live_values = {f"detector.{key}": value for key, value in network.read_settings().items()}
    return {
        "detector.family": network.family,
        "detector.min_side_px": network.transform.min_size[0],
        "detector.max_side_px": network.transform.max_size,
        **live_values,
    }


def _read_our_network(live: Live, batch_images: int) -> dict[str, Any]:
    """The settings of a network of ours and of its input."""
    spec = live.recipe.detector
    settings = read_detector(live.detector) | read_backbone(live.detector.backbone, spec.adapters)
    settings |= read_norms(live.detector, spec)
    if spec.box_head is not None:
        del settings["detector.head_convs"]
        settings["detector.box_head"] = name_box_head(live.detector.network)
    settings["init.zero_init_residual"] = starts_at_zero(live.detector.backbone, live.origin)
    settings["init.input"] = input_of(live.detector, live.recipe.init.input)
    if live.kept is not None:
        settings["init.keep_classes"] = read_keep_classes(live)
    if spec.norm_batch is not None and settings.get("detector.norm") in ("bn", "sync_bn"):
        settings["detector.norm_batch"] = live.images_normalised_together(batch_images)
    if live.detector.padding_group.num_images is not None:
        settings["detector.padding_group"] = live.detector.padding_group.num_images
    if spec.neck_repeats is not None and settings["detector.neck"] in PUBLISHED_REPEATS:
        neck: Any = live.detector.network.get_submodule("backbone.fpn")
        settings["detector.neck_repeats"] = len(neck.cells)
    return settings


def read_detector(detector: Detector) -> dict[str, Any]:
    """The settings that can be read from the network itself."""
    network: Any = detector.network
    neck = network.backbone.fpn
    settings = {
        "detector.family": read_family(network),
        "detector.neck": NECK_OF.get(type(neck), type(neck).__name__),
        "detector.neck_channels": network.backbone.out_channels,
        "detector.min_side_px": network.transform.min_size[0],
        "detector.max_side_px": network.transform.max_size,
    }
    if isinstance(neck, NasFpn):
        settings["detector.neck_merge"] = neck.merge
    return settings | read_heads(network)


def require_recipe_values(recipe: Recipe, settings: Mapping[str, Any]) -> None:
    """Every live value is the recipe's.

    Raises:
        Misconfigured: names the first path that differs and both values.
    """
    configured = flatten(with_published(recipe))
    for path, value in settings.items():
        if not _is_same(value, configured[path]):
            must = f"must be {configured[path]!r} as in the recipe"
            raise Misconfigured(explain(path, must, value, "This is a fault of the program."))


def _is_same(value: Any, configured: Any) -> bool:
    """Equal, and floats up to rounding, also those of a group."""
    if isinstance(value, Mapping) and isinstance(configured, Mapping):
        return value.keys() == configured.keys() and all(
            _is_same(value[key], configured[key]) for key in value
        )
    if isinstance(value, float) and isinstance(configured, float):
        return math.isclose(value, configured, rel_tol=1e-9, abs_tol=0.0)
    return bool(value == configured)


def describe(
    live: Live, settings: Mapping[str, Any], batches: TrainBatches, price: Price
) -> dict[str, Any]:
    """Content of ``effective.json``: live settings, the size of the model, and the machine."""
    num_trained, num_parameters = parameter_counts(live.detector)
    norms = Counter(
        type(m).__name__ for m in live.detector.modules() if isinstance(m, tuple(NORM_OF))
    )
    return {
        "effective": dict(settings),
        "images": len(batches.source.image_ids),
        "model": {
            "parameters": num_parameters,
            "trainable_parameters": num_trained,
            "trainable_share": round(price.trained_share, 6),
            "step_flops": price.step_flops,
            "unfrozen_step_flops": price.unfrozen_step_flops,
            "norm_layers": dict(sorted(norms.items())),
            "frozen_parts": list(live.detector.frozen_parts),
            "unfreezes_at": live.unfreezes_at,
            "parameter_groups": describe_groups(live.optimizer),
            "input": live.detector.pixel_norm.read_input().model_dump(mode="json"),
        },
        **({} if live.kept is None else {"start": describe_start(live.kept)}),
        "environment": environment(live.ctx.device)
        | {"workers": live.ctx.world_size, "images_per_step": live.images_per_step},
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Facts beside the recipe that can change the last bits of a result."""
    return {
        "device": describe_gpu(device) or "cpu",
        "threads": torch.get_num_threads(),
        "instruction_set": instruction_set(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }


def instruction_set() -> str:
    """The CPU instructions torch computes with (``AVX512``, ``AVX2``, ...)."""
    name: str = torch.backends.cpu.get_cpu_capability()
    return name
