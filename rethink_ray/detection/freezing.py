"""Freezes the first parts of a detector, and groups the trainable parameters.

The order is backbone (stage by stage), neck, heads. With ``requires_grad=False`` alone batch
statistics would still change. So a frozen part also stays in evaluation mode after every
``train()``, and no gradient is recorded in it unless something before it trains.
"""

import re

from torch import nn

from rethink_ray.detection.adapters import is_adapter
from rethink_ray.detection.backbones import STAGES, Backbone
from rethink_ray.detection.norms import is_norm
from rethink_ray.spec.freezing import ABOVE_BACKBONE, WHOLE_BACKBONE
from rethink_ray.spec.recipe import Frozen

HIDDEN_HEAD = re.compile(
    r"head\.(classification|regression)_head\.conv"
    r"|rpn\.head"
    r"|roi_heads\.(stages\.\d+\.)?box_head"
    r"|roi_heads\.branches\.\w+\.head"
    r"|roi_heads\.branches\.masks\.predictor\.conv5_mask"
)
"""Names, inside a network, of everything above the pyramid but the last layers of its branches."""


def frozen_stages(upto: Frozen) -> tuple[str, ...]:
    """Returns the names of the stages that ``upto`` freezes; from ``backbone`` on all stages."""
    if upto == "none":
        return ()
    last = STAGES[-1] if upto in WHOLE_BACKBONE else upto
    return STAGES[: STAGES.index(last) + 1]


def list_frozen_above(network: nn.Module, upto: Frozen) -> tuple[str, ...]:
    """Returns the names of the network's modules above the backbone that ``upto`` freezes."""
    if upto not in ABOVE_BACKBONE:
        return ()
    hidden = (name for name, _ in network.named_modules() if HIDDEN_HEAD.fullmatch(name))
    return ("backbone.fpn", *(hidden if upto == "heads" else ()))


def freeze(backbone: Backbone, upto: Frozen) -> None:
    """Freezes parameters, statistics and mode of all stages up to and including ``upto``.

    Stages behind it that were frozen before train again.
    """
    before, backbone.frozen_stages = backbone.frozen_stages, frozen_stages(upto)
    for name in STAGES:
        if name in before or name in backbone.frozen_stages:
            backbone.get_submodule(name).requires_grad_(name not in backbone.frozen_stages)
    backbone.train(backbone.training)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the trainable parameters: first those outside norms, then those of norms."""
    decayed: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    for module in model.modules():
        chosen = norms if is_norm(module) else decayed
        chosen.extend(p for p in module.parameters(recurse=False) if p.requires_grad)
    return decayed, norms


def derive_depths(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Maps each parameter of the backbone to its depth, counted from the output.

    The last of ``staged.layers`` has depth 1, so with five stages ``stem`` has depth 5. Adapters
    are new layers inside the backbone, and have no depth.
    """
    return {
        parameter: _derive_depth(name, backbone.staged.layers)
        for name, parameter in backbone.named_parameters()
        if not is_adapter(name)
    }


def _derive_depth(name: str, layers: tuple[str, ...]) -> int:
    """Returns the depth of a parameter; one between two layers belongs to its stage's last one."""
    inside = [n for n, layer in enumerate(layers) if name.startswith(f"{layer}.")]
    stage = name.partition(".")[0]
    nearest = [n for n, layer in enumerate(layers) if layer.partition(".")[0] == stage]
    return len(layers) - max(inside or nearest, default=0)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Returns the number of trainable weights and of all weights (buffers are not counted)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, moves in sizes if moves), sum(n for n, _ in sizes)
