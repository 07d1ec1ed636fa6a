"""Freezing: a prefix of the backbone that never moves, and who is left to train.

``requires_grad=False`` alone leaves batch statistics moving, so a frozen stage also stays in
evaluation mode after every ``train()`` and runs without a gradient tape.
"""

from torch import nn

from rethink_ray.detection.backbones import STAGES, Backbone
from rethink_ray.detection.norms import is_norm
from rethink_ray.spec.recipe import Frozen


def frozen_stages(upto: Frozen) -> tuple[str, ...]:
    """Names of the stages that ``upto`` freezes; ``backbone`` is all of them (not the pyramid)."""
    if upto == "none":
        return ()
    last = STAGES[-1] if upto == "backbone" else upto
    return STAGES[: STAGES.index(last) + 1]


def freeze(backbone: Backbone, upto: Frozen) -> None:
    """Everything up to and including this stage is fixed: parameters, statistics, mode."""
    backbone.frozen_stages = frozen_stages(upto)
    for name in backbone.frozen_stages:
        backbone.get_submodule(name).requires_grad_(False)
    backbone.train(backbone.training)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters: all but norms, and norms' scales and shifts. Frozen ones in neither."""
    decayed: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    for module in model.modules():
        chosen = norms if is_norm(module) else decayed
        chosen.extend(p for p in module.parameters(recurse=False) if p.requires_grad)
    return decayed, norms


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Numbers that train, and all numbers that are parameters (buffers are not)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, moves in sizes if moves), sum(n for n, _ in sizes)
