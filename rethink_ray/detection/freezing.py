"""Freezes the first stages of a backbone, and groups the trainable parameters.

With ``requires_grad=False`` alone batch statistics would still change. So a frozen stage also stays
in evaluation mode after every ``train()``, and runs without gradients.
"""

from torch import nn

from rethink_ray.detection.backbones import STAGES, Backbone
from rethink_ray.detection.norms import is_norm
from rethink_ray.spec.recipe import Frozen


def frozen_stages(upto: Frozen) -> tuple[str, ...]:
    """Returns the names of the stages that ``upto`` freezes; ``backbone`` freezes all stages."""
    if upto == "none":
        return ()
    last = STAGES[-1] if upto == "backbone" else upto
    return STAGES[: STAGES.index(last) + 1]


def freeze(backbone: Backbone, upto: Frozen) -> None:
    """Freezes parameters, statistics and mode of all stages up to and including ``upto``."""
    backbone.frozen_stages = frozen_stages(upto)
    for name in backbone.frozen_stages:
        backbone.get_submodule(name).requires_grad_(False)
    backbone.train(backbone.training)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the trainable parameters: first those outside norms, then those of norms."""
    decayed: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    for module in model.modules():
        chosen = norms if is_norm(module) else decayed
        chosen.extend(p for p in module.parameters(recurse=False) if p.requires_grad)
    return decayed, norms


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Returns the number of trainable weights and of all weights (buffers are not counted)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, moves in sizes if moves), sum(n for n, _ in sizes)
