"""How far a backbone has moved from where it started."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.stages import Backbone


def backbone_drift(backbone: Backbone, start: Mapping[str, Tensor]) -> float:
    """|w - w0| / |w0| over all parameters of the backbone; 0 for one that never moved.

    Adapters do not count: they are not what the backbone started as.

    Args:
        backbone: as it is now.
        start: its state dict as it was; statistics in it are ignored.
    """
    pairs = [
        (now.detach().double().cpu(), start[name].double().cpu())
        for name, now in backbone.named_parameters()
        if not is_adapter(name)
    ]
    moved = torch.stack([(now - then).square().sum() for now, then in pairs]).sum()
    size = torch.stack([then.square().sum() for _, then in pairs]).sum()
    return float((moved / size).sqrt())
