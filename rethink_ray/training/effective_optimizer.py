"""The optimizer's settings, read from its live parameter groups, and what is frozen."""

import math
from collections.abc import Mapping
from typing import Any

from torch import optim

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.freezing import frozen_stages, list_frozen_above
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.spec.recipe import Frozen, OptimizerSpec
from rethink_ray.training.live import Live
from rethink_ray.training.optimizer import rate_factor, set_rate
from rethink_ray.training.schedule import RungSchedule, lr_at

KINDS = {"weights": "optimizer.weight_decay", "norms": "optimizer.norm_weight_decay"}
"""Kind of a parameter group, a word of its ``part`` -> the path of its weight decay."""


def read_optimizer(live: Live, schedule: RungSchedule) -> dict[str, Any]:
    """The optimizer's settings at the peak of the schedule, the last update of the warm-up."""
    peak = lr_at(schedule, live.recipe.optimizer.lr, max(schedule.warmup_steps - 1, 0))
    set_rate(live.optimizer, peak)
    first = live.optimizer.param_groups[0]
    adamw = isinstance(live.optimizer, optim.AdamW)
    rates = _rates_by_depth(live)
    settings = {
        "optimizer.name": "adamw" if adamw else type(live.optimizer).__name__.lower(),
        "optimizer.lr": _one_of(rates.pop(0)),
        "optimizer.momentum": first["betas"][0] if adamw else first["momentum"],
        "optimizer.clip_norm": live.clip_norm,
        "optimizer.ema": None if live.average is None else {"half_life": live.average.half_life},
    }
    for kind, path in KINDS.items():
        decays = {g["weight_decay"] for g in live.optimizer.param_groups if kind in g["part"]}
        if decays:
            settings[path] = _one_of(decays)
    return settings | _read_factors(settings["optimizer.lr"], rates, live.recipe.optimizer)


def read_freezing(live: Live) -> dict[str, Any]:
    """What is frozen, and when it begins to train."""
    init = live.recipe.init
    expected = "none" if live.is_unfrozen else init.frozen
    frozen = frozen_of(live.detector, expected)
    settings: dict[str, Any] = {"init.frozen": init.frozen if frozen == expected else frozen}
    unit, switch = live.recipe.schedule.unit, live.unfreezes_at
    if init.unfreeze is None or switch is None or init.unfreeze.first_update(unit) != switch:
        settings["init.unfreeze"] = None if switch is None else {"after": switch / unit}
    else:
        settings["init.unfreeze"] = init.unfreeze.model_dump(mode="json")
    return settings


def frozen_of(detector: Detector, configured: Frozen) -> str:
    """The frozen parts of a live detector; ``configured`` if it freezes the same ones."""
    if isinstance(detector.network, OwnNetwork):
        return detector.network.read_frozen()
    frozen = [name for name in _name_parts(detector, "heads") if _is_frozen(detector, name)]
    if frozen == _name_parts(detector, configured):
        return configured
    return "+".join(frozen) or "none"


def describe_groups(optimizer: optim.Optimizer) -> list[dict[str, Any]]:
    """Name, size, factor and weight decay of each parameter group, for ``effective.json``."""
    return [
        {
            "part": group["part"],
            "parameters": sum(parameter.numel() for parameter in group["params"]),
            "rate_factor": group["rate_factor"],
            "weight_decay": group["weight_decay"],
        }
        for group in optimizer.param_groups
    ]


def _rates_by_depth(live: Live) -> dict[int, set[float]]:
    """Depth in the backbone (0: outside) -> the live learning rates of its parameters."""
    depths = live.detector.depths()
    rates: dict[int, set[float]] = {0: set()}
    for group in live.optimizer.param_groups:
        for parameter in group["params"]:
            rates.setdefault(depths.get(parameter, 0), set()).add(group["lr"])
    return rates


def _read_factors(
    lr: Any, rates: Mapping[int, set[float]], configured: OptimizerSpec
) -> dict[str, Any]:
    """The two factors of the backbone; as ``configured`` if the live rates follow from them.

    Empty where the backbone is frozen, or where heads have several rates and are refused already.
    """
    if not rates or not isinstance(lr, float):
        return {}
    factors = {depth: {rate / lr for rate in live} for depth, live in rates.items()}
    follows = all(
        math.isclose(factor, rate_factor(configured, depth), rel_tol=1e-9)
        for depth, at_depth in factors.items()
        for factor in at_depth
    )
    if follows:
        return {
            "optimizer.backbone_rate": configured.backbone_rate,
            "optimizer.layer_decay": configured.layer_decay,
        }
    return {"optimizer.backbone_rate": {d: _one_of(at_depth) for d, at_depth in factors.items()}}


def _one_of(values: set[float]) -> Any:
    """The one value, or all of them in order."""
    return next(iter(values)) if len(values) == 1 else sorted(values)


def _name_parts(detector: Detector, upto: Frozen) -> list[str]:
    """Names in the detector's network of the parts that ``upto`` freezes."""
    stages = [f"backbone.body.{name}" for name in frozen_stages(upto)]
    return [*stages, *list_frozen_above(detector.network, upto)]


def _is_frozen(detector: Detector, name: str) -> bool:
    part = detector.network.get_submodule(name)
    is_trained = any(parameter.requires_grad for parameter in part.parameters())
    return not is_trained and not any(module.training for module in part.modules())
