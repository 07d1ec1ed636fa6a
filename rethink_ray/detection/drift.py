"""Measures how far a backbone's weights have moved from their start."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethink_ray.detection.adapters import is_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneStart:
    """A backbone's trainable weights before the first update, and the norm of all its weights."""

    moving: Mapping[str, Tensor]
    squared_norm: float
    """Over all parameters but adapters, frozen ones included."""


def record_origin(backbone: nn.Module, *, is_unfrozen_later: bool = False) -> BackboneStart:
    """Records a backbone's trainable weights (copied to the CPU) and its norm.

    ``is_unfrozen_later``: weights that are frozen now will train as well.
    """
    parameters = {name: p for name, p in backbone.named_parameters() if not is_adapter(name)}
    squares = [p.detach().double().square().sum().cpu() for p in parameters.values()]
    return BackboneStart(
        moving={
            name: p.detach().cpu().clone()
            for name, p in parameters.items()
            if p.requires_grad or is_unfrozen_later
        },
        squared_norm=float(torch.stack(squares).sum()) if squares else 0.0,
    )


def backbone_drift(backbone: nn.Module, origin: BackboneStart) -> float:
    """Returns |w - w0| / |w0| over all parameters of the backbone; 0 if none has moved."""
    now = backbone.state_dict()
    moved = [
        (now[name].double().cpu() - then.double()).square().sum()
        for name, then in origin.moving.items()
    ]
    if not moved or origin.squared_norm == 0.0:
        return 0.0
    return float((torch.stack(moved).sum() / origin.squared_norm).sqrt())
