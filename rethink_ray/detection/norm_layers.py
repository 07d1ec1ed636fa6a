"""Normalisation layers that compute in float32 and return the type of their input.

Under autocast PyTorch's group and layer norms return float32 on GPUs and bfloat16 on CPUs, and
frozen batch norm returns float32 on both. Here a bfloat16 map stays bfloat16 in memory, statistics
are float32, and both devices run the same operations. float32 maps go through PyTorch's own layers.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d as TorchvisionFrozenBatchNorm2d

from rethink_ray.detection.autocast import NARROW, to_wide

NORM_LIBRARIES = ("torch", "torchvision", "timm")


class GroupNorm(nn.GroupNorm):
    """PyTorch's group norm with output in the input's type, also under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``[N, C, ...]`` within groups of channels."""
        if input.dtype not in NARROW:
            return super().forward(input)
        normalized: Tensor = _NarrowGroupNorm.apply(
            input, self.weight, self.bias, self.num_groups, self.eps
        )
        return normalized


class LayerNorm(nn.LayerNorm):
    """PyTorch's layer norm with output in the input's type, also under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises over the last dimensions, those of ``normalized_shape``."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class LayerNorm2d(LayerNorm):
    """Layer norm over the channels of maps ``[N, C, H, W]``."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises the channels of each location."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FrozenBatchNorm2d(TorchvisionFrozenBatchNorm2d):  # type: ignore[misc]  # untyped
    """torchvision's frozen batch norm with output in the input's type."""

    def forward(self, x: Tensor) -> Tensor:
        """Scales and shifts ``[N, C, H, W]`` per channel, in float32."""
        normalized: Tensor = super().forward(x)
        return normalized.to(x.dtype)


def layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer-normalises like PyTorch, with output in the input's type, also under autocast."""
    if x.dtype not in NARROW:
        return F.layer_norm(x, list(shape), weight, bias, eps)
    normalized: Tensor = _NarrowLayerNorm.apply(x, list(shape), weight, bias, eps)
    return normalized


def keep_input_types(net: nn.Module) -> None:
    """Replaces the libraries' group, layer and frozen batch norms by the layers of this module.

    Parameters, their names and all float32 results stay the same.
    """
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if type(child).__module__.partition(".")[0] in NORM_LIBRARIES:
                setattr(parent, name, _build_replacement(child))


def _build_replacement(layer: nn.Module) -> nn.Module:
    ours: nn.GroupNorm | nn.LayerNorm
    if type(layer) is TorchvisionFrozenBatchNorm2d:
        scales = layer.get_buffer("weight")
        frozen: nn.Module = FrozenBatchNorm2d(len(scales), layer.eps)
        frozen.load_state_dict(layer.state_dict())
        return frozen
    match type(layer).__name__, layer:
        case "GroupNorm", nn.GroupNorm():
            ours = GroupNorm(layer.num_groups, layer.num_channels, layer.eps, affine=False)
        case "LayerNorm", nn.LayerNorm():
            ours = LayerNorm(layer.normalized_shape, layer.eps, elementwise_affine=False)
        case "LayerNorm2d", nn.LayerNorm():
            ours = LayerNorm2d(layer.normalized_shape, layer.eps, elementwise_affine=False)
        case _:
            return layer
    ours.weight, ours.bias = layer.weight, layer.bias
    return ours.train(layer.training)


class _NarrowGroupNorm(torch.autograd.Function):
    """Keeps the narrow input for the backward pass, and no float32 copy of it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
    ) -> Tensor:
        ctx.sizes = (x.shape[0], x.shape[1], math.prod(x.shape[2:]), groups)
        normalize: Any = torch.native_group_norm
        y, mean, rstd = normalize(to_wide(x), weight, bias, *ctx.sizes, eps)
        ctx.save_for_backward(x, mean, rstd, weight)
        narrow: Tensor = y.to(x.dtype)
        return narrow

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
            to_wide(gradient), to_wide(x), mean, rstd, weight, *ctx.sizes, ctx.needs_input_grad[:3]
        )
        return None if of_x is None else of_x.to(x.dtype), of_weight, of_bias, None, None


class _NarrowLayerNorm(torch.autograd.Function):
    """Keeps the narrow input for the backward pass, and no float32 copy of it."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shape: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(to_wide(x), shape, weight, bias, eps)
        ctx.shape = shape
        ctx.save_for_backward(x, mean, rstd, weight, bias)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, weight, bias = ctx.saved_tensors
        x_needs, _, weight_needs, bias_needs, _ = ctx.needs_input_grad
        of_x, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
            to_wide(gradient),
            to_wide(x),
            ctx.shape,
            mean,
            rstd,
            weight,
            bias,
            [x_needs, weight_needs, bias_needs],
        )
        return None if of_x is None else of_x.to(x.dtype), None, of_weight, of_bias, None
