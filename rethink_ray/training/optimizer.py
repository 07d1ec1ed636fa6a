"""The optimizer: parameter groups, so that norms and layers of the backbone can learn differently.

Each group carries its name as ``part`` and its factor on the learning rate as ``rate_factor``. With
``backbone_rate`` and ``layer_decay`` at 1 there are two groups, ``weights`` and ``norms``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

from rethink_ray.spec.recipe import OptimizerSpec

ADAM_BETA2 = 0.999

Depths = Mapping[nn.Parameter, int]
"""Parameter of the backbone -> its depth, from 1 at the backbone's output; others are absent."""


def build_optimizer(
    decayed: Sequence[nn.Parameter],
    norms: Sequence[nn.Parameter],
    spec: OptimizerSpec,
    depths: Depths | None = None,
) -> optim.Optimizer:
    """SGD or AdamW over weights and norms, in one group for each rate and weight decay.

    A group without parameters is left out. Frozen parameters belong in neither list.

    Args:
        decayed: trainable parameters outside norms.
        norms: trainable scales and shifts of norms.
        spec: rate, factors and weight decay.
        depths: of the backbone's parameters; ``None``: all have the same rate.
    """
    groups = [
        *_group_by_rate("weights", decayed, spec.weight_decay, spec, depths or {}),
        *_group_by_rate("norms", norms, spec.norm_weight_decay, spec, depths or {}),
    ]
    if spec.name == "adamw":
        return optim.AdamW(groups, lr=spec.lr, betas=(spec.momentum, ADAM_BETA2))
    return optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)


def load_optimizer(optimizer: optim.Optimizer, state: dict[str, Any]) -> None:
    """The optimizer goes on from ``state``. Its moments lie in memory as their parameters do: a
    file has all tensors in the order of their indices."""
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter.detach()).copy_(moment)


def rate_factor(spec: OptimizerSpec, depth: int) -> float:
    """The factor on the learning rate at a depth of the backbone; 0 is outside the backbone."""
    return spec.backbone_rate * spec.layer_decay**depth if depth else 1.0


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Every parameter group has this learning rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


def _group_by_rate(
    kind: str,
    parameters: Sequence[nn.Parameter],
    weight_decay: float,
    spec: OptimizerSpec,
    depths: Depths,
) -> list[dict[str, Any]]:
    """The parameter groups of one kind: first what is outside the backbone, then by depth."""
    by_part: dict[tuple[int, str], list[nn.Parameter]] = {}
    for parameter in parameters:
        depth = depths.get(parameter, 0)
        by_part.setdefault(_name_part(kind, depth, spec), []).append(parameter)
    return [
        {
            "params": members,
            "weight_decay": weight_decay,
            "part": part,
            "rate_factor": rate_factor(spec, depth),
        }
        for (depth, part), members in sorted(by_part.items(), key=lambda item: item[0])
    ]


def _name_part(kind: str, depth: int, spec: OptimizerSpec) -> tuple[int, str]:
    """The depth that a group stands for, and its name."""
    if spec.layer_decay != 1.0 and depth:
        return depth, f"backbone {kind} {depth}"
    if spec.backbone_rate != 1.0 and depth:
        return 1, f"backbone {kind}"
    return 0, kind
