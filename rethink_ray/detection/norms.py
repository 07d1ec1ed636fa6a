"""Chooses the normalisation layers of backbone, pyramid and heads.

Unless a recipe says otherwise, GroupNorm and (synchronised) batch normalisation are in backbone,
pyramid and heads (He et al. 2018, sec. 3), and frozen batch normalisation in the backbone alone.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from rethink_ray.detection.norm_layers import FrozenBatchNorm2d, GroupNorm
from rethink_ray.detection.sync import SyncBatchNorm
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import DetectorSpec, Norm, UpperNorm

NormLayer = Callable[[int], nn.Module]
MAX_GROUPS = 32


class LevelNorm(nn.Module):
    """Batch normalisation with statistics per pyramid level, in a tower that all levels share.

    Levels differ in scale, so common running statistics would fit no level at evaluation. Scale and
    shift are common, so that they learn on levels without objects too. ``set_level`` selects the
    level.
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
        """Normalises ``[N, C, H, W]`` by the current level's statistics."""
        normalized: Tensor = self.levels[self.level](x)
        scaled = normalized * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(x.dtype)


def set_level(head: nn.Module, level: int) -> None:
    """Sets the current level of every ``LevelNorm`` in the head."""
    for module in head.modules():
        if isinstance(module, LevelNorm):
            module.level = level


def group_norm(channels: int) -> nn.GroupNorm:
    """Builds GroupNorm with 32 groups if each group then has at least two channels.

    Narrower layers get the largest number of groups for which this holds. With one channel per
    group it would be instance normalisation, which turns a map of one pixel into zeros.
    """
    limit = min(MAX_GROUPS, max(1, channels // 2))
    groups = next(g for g in range(limit, 0, -1) if channels % g == 0)
    return GroupNorm(groups, channels)


def backbone_norm(norm: Norm) -> NormLayer:
    """Returns the layer type that follows every convolution of the backbone."""
    layers: dict[Norm, NormLayer] = {
        "gn": group_norm,
        "bn": nn.BatchNorm2d,
        "sync_bn": SyncBatchNorm,
        "frozen_bn": partial(FrozenBatchNorm2d, eps=1e-5),
    }
    return layers[norm]


def replace_batch_norms(net: nn.Module, norm: Norm) -> None:
    """Replaces every batch norm by a layer of this norm, with the same epsilon and momentum.

    EfficientNet and timm have other values than PyTorch's defaults, and their published weights
    were trained with these.
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
    """Replaces a norm layer of timm, which contains its activation."""
    if norm != "gn":
        must = f"must be bn or gn: {type(layer).__name__} has no other form"
        remedy = "With init.frozen: backbone, bn keeps its statistics and scales."
        raise SpecError(explain("detector.norm", must, norm, remedy))
    return nn.Sequential(group_norm(layer.num_features), layer.get_submodule("act"))


def resolve_norm(norm: Norm, upper: UpperNorm) -> Norm | None:
    """Returns the norm that ``upper`` means above a backbone of ``norm``; ``None``: no norm."""
    match upper:
        case "same":
            return None if norm == "frozen_bn" else norm
        case "none":
            return None
        case _:
            return upper


def resolve_neck_norm(spec: DetectorSpec) -> Norm | None:
    """Returns the norm of the pyramid; ``None``: no norm, or (``simple``) layer norms alone."""
    if spec.neck == "simple":
        return None
    return resolve_norm(spec.norm, spec.head_norm if spec.neck_norm is None else spec.neck_norm)


def resolve_head_norm(spec: DetectorSpec) -> Norm | None:
    """Returns the norm of the heads; FCOS has GroupNorm where others have none (Tian et al.)."""
    norm = resolve_norm(spec.norm, spec.head_norm)
    return "gn" if norm is None and spec.family == "fcos" else norm


def neck_norm(spec: DetectorSpec) -> NormLayer | None:
    """Returns the layer type of the pyramid; ``None``: it has no norm."""
    norm = resolve_neck_norm(spec)
    return None if norm is None else backbone_norm(norm)


def head_norm(spec: DetectorSpec) -> NormLayer | None:
    """Returns the layer type of the heads; ``None``: they have no norm."""
    norm = resolve_head_norm(spec)
    return None if norm is None else backbone_norm(norm)


def tower_norm(spec: DetectorSpec, num_levels: int) -> NormLayer | None:
    """Returns the layer type of a shared tower; batch statistics are kept per level."""
    match resolve_head_norm(spec):
        case "bn":
            return partial(LevelNorm, nn.BatchNorm2d, num_levels)
        case "sync_bn":
            return partial(LevelNorm, SyncBatchNorm, num_levels)
        case _:
            return head_norm(spec)


def set_frozen_epsilon(net: nn.Module, epsilon: float | None) -> None:
    """Sets the epsilon of every frozen batch norm; ``None`` leaves each layer its own."""
    for layer in net.modules():
        if epsilon is not None and isinstance(layer, FrozenBatchNorm2d):
            layer.eps = epsilon


def classifier_norm(norm: Norm) -> Norm:
    """Returns the norm of a classifier from whose weights a detector of ``norm`` can start."""
    return "bn" if norm == "frozen_bn" else norm


def is_norm(module: nn.Module) -> bool:
    """Returns whether the module's own parameters are scale and shift of a normalisation."""
    kinds = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase, LevelNorm)
    return isinstance(module, kinds)
