"""How far a backbone has moved from where it started."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.staged_backbone import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a backbone stood before its first update: what can move of it, and its size."""

    moving: Mapping[str, Tensor]
    squared_norm: float
    """Over all parameters, frozen ones too. Adapters do not count: they are not what it was."""


def origin_of(backbone: Backbone) -> Origin:
    """Copies on the CPU, and of nothing that is frozen."""
    parameters = {name: p for name, p in backbone.named_parameters() if not is_adapter(name)}
    squares = [p.detach().double().square().sum().cpu() for p in parameters.values()]
    return Origin(
        moving={n: p.detach().cpu().clone() for n, p in parameters.items() if p.requires_grad},
        squared_norm=float(torch.stack(squares).sum()) if squares else 0.0,
    )


def backbone_drift(backbone: Backbone, origin: Origin) -> float:
    """|w - w0| / |w0| over all parameters of the backbone; 0 for one that never moved."""
    now = backbone.state_dict()
    moved = [
        (now[name].double().cpu() - then.double()).square().sum()
        for name, then in origin.moving.items()
    ]
    if not moved or origin.squared_norm == 0.0:
        return 0.0
    return float((torch.stack(moved).sum() / origin.squared_norm).sqrt())
