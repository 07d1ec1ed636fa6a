"""Normalisation layers by name, and where each one goes.

GroupNorm and (synchronised) batch normalisation stand in backbone, pyramid and heads (He et al.
2018, sec. 3); frozen batch normalisation stands in the backbone only.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from rethink_ray.detection.norm_layers import FrozenBatchNorm2d, GroupNorm
from rethink_ray.detection.sync import SyncBatchNorm
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import DetectorSpec, Norm

NormLayer = Callable[[int], nn.Module]
MAX_GROUPS = 32


class LevelNorm(nn.Module):
    """One batch normalisation per pyramid level, in a tower whose convolutions they share.

    Levels differ in scale: with one set of running statistics for all of them, evaluation
    normalises no level by its own. Scale and shift are shared, so that a level without objects
    learns too. ``set_level`` says which level comes next.
    """

    def __init__(
        self, layer: type[nn.BatchNorm2d | nn.SyncBatchNorm], num_levels: int, channels: int
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(layer(channels, affine=False) for _ in range(num_levels))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.level = 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[N, C, H, W]`` by the current level's statistics."""
        normalized: Tensor = self.levels[self.level](x)
        scaled = normalized * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(x.dtype)


def set_level(head: nn.Module, level: int) -> None:
    """Every ``LevelNorm`` in the head now stands at this level."""
    for module in head.modules():
        if isinstance(module, LevelNorm):
            module.level = level


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups where that leaves two channels or more in each.

    Narrower layers take the largest divisor that does: a group of one channel would be instance
    normalisation, which wipes out a map of one pixel.
    """
    limit = min(MAX_GROUPS, max(1, channels // 2))
    groups = next(g for g in range(limit, 0, -1) if channels % g == 0)
    return GroupNorm(groups, channels)


def backbone_norm(norm: Norm) -> NormLayer:
    """The layer that follows every convolution of the backbone."""
    layers: dict[Norm, NormLayer] = {
        "gn": group_norm,
        "bn": nn.BatchNorm2d,
        "sync_bn": SyncBatchNorm,
        "frozen_bn": partial(FrozenBatchNorm2d, eps=1e-5),
    }
    return layers[norm]


def replace_batch_norms(net: nn.Module, norm: Norm) -> None:
    """Every batch norm becomes a layer of this norm; its epsilon and momentum stay.

    EfficientNet's and timm's are not PyTorch's defaults, and their classifiers learnt with them.
    """
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _build_replacement(child, norm))


def _build_replacement(layer: nn.BatchNorm2d, norm: Norm) -> nn.Module:
    num = layer.num_features
    if norm == "bn":
        return layer
    if type(layer) is not nn.BatchNorm2d:
        return _replace_fused(layer, norm)
    if norm == "gn":
        return group_norm(num)
    if norm == "sync_bn":
        return SyncBatchNorm(num, layer.eps, layer.momentum)
    frozen: nn.Module = FrozenBatchNorm2d(num, eps=layer.eps)
    return frozen


def _replace_fused(layer: nn.BatchNorm2d, norm: Norm) -> nn.Module:
    """timm's norm layers have their activation inside."""
    if norm != "gn":
        must = f"must be bn or gn: {type(layer).__name__} has no other form"
        remedy = "With init.frozen: backbone, bn keeps its statistics and scales."
        raise SpecError(explain("detector.norm", must, norm, remedy))
    return nn.Sequential(group_norm(layer.num_features), layer.get_submodule("act"))


def head_norm(norm: Norm) -> NormLayer | None:
    """The layer of pyramid and heads; ``None`` under ``frozen_bn``, whose papers have none."""
    return None if norm == "frozen_bn" else backbone_norm(norm)


def tower_norm(norm: Norm, num_levels: int) -> NormLayer | None:
    """The layer of a tower that all levels share: batch statistics are kept level by level."""
    match norm:
        case "bn":
            return partial(LevelNorm, nn.BatchNorm2d, num_levels)
        case "sync_bn":
            return partial(LevelNorm, SyncBatchNorm, num_levels)
        case _:
            return head_norm(norm)


def derive_upper_spec(spec: DetectorSpec) -> DetectorSpec:
    """The settings that pyramid and heads are built by: where they have no norm, as if frozen."""
    return spec if spec.head_norm == "same" else spec.model_copy(update={"norm": "frozen_bn"})


def classifier_norm(norm: Norm) -> Norm:
    """What a classifier must be trained with so that a detector of this norm can start from it."""
    return "bn" if norm == "frozen_bn" else norm


def is_norm(module: nn.Module) -> bool:
    """Whether the module's own parameters are the scale and shift of a normalisation."""
    kinds = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase, LevelNorm)
    return isinstance(module, kinds)
