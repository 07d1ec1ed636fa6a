"""The optimizer: two parameter groups, so that norms can decay differently from weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn, optim

from rethink_ray.spec.recipe import OptimizerSpec

ADAM_BETA2 = 0.999


def build_optimizer(
    decayed: Sequence[nn.Parameter], norms: Sequence[nn.Parameter], spec: OptimizerSpec
) -> optim.Optimizer:
    """SGD or AdamW over weights and norms; each group carries its name as ``part``.

    A group without parameters is left out. Frozen parameters belong in neither list.
    """
    groups: list[dict[str, Any]] = [
        {"params": list(decayed), "weight_decay": spec.weight_decay, "part": "weights"},
        {"params": list(norms), "weight_decay": spec.norm_weight_decay, "part": "norms"},
    ]
    groups = [group for group in groups if group["params"]]
    if spec.name == "adamw":
        return optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, ADAM_BETA2))
    return optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Every parameter group has this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
