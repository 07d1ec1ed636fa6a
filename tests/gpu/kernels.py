"""Kernels of CUDA that PyTorch's CPU build of operations lacks: those of ``nn.SyncBatchNorm``.

Tensors are ``[N, C, H, W]``. Statistics of several workers are ``[workers, C]``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PLACES = (0, 2, 3)


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def _stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    var, mean = torch.var_mean(x.float(), dim=PLACES, correction=0)
    return mean, (var + eps).rsqrt()


def _gather(
    x: Tensor,
    mean: Tensor,
    invstd: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    count = counts[:, None]
    total = counts.sum()
    second = ((invstd**-2 - eps + mean**2) * count).sum(0) / total
    whole = (mean * count).sum(0) / total
    var = second - whole**2
    running_mean.lerp_(whole, momentum)
    running_var.lerp_(var * total / (total - 1), momentum)
    return whole, (var + eps).rsqrt()


def _elemt(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, invstd: Tensor, eps: float
) -> Any:
    normalised = (x.float() - _per_channel(mean)) * _per_channel(invstd)
    return (normalised * _per_channel(weight) + _per_channel(bias)).to(x.dtype)


def _backward_reduce(
    gradient: Tensor, x: Tensor, mean: Tensor, invstd: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    by_place = gradient.float()
    sum_dy = by_place.sum(PLACES)
    sum_dy_xmu = (by_place * (x.float() - _per_channel(mean))).sum(PLACES)
    return sum_dy, sum_dy_xmu, sum_dy_xmu * invstd, sum_dy


def _backward_elemt(
    gradient: Tensor,
    x: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor,
    sum_dy: Tensor,
    sum_dy_xmu: Tensor,
    counts: Tensor,
) -> Tensor:
    total = counts.sum()
    centred = (x.float() - _per_channel(mean)) * _per_channel(invstd**2 * sum_dy_xmu / total)
    inner = gradient.float() - _per_channel(sum_dy / total) - centred
    return (inner * _per_channel(weight * invstd)).to(x.dtype)


KERNELS: dict[str, Callable[..., Any]] = {
    "aten::batch_norm_stats": _stats,
    "aten::batch_norm_gather_stats_with_counts": _gather,
    "aten::batch_norm_elemt": _elemt,
    "aten::batch_norm_backward_reduce": _backward_reduce,
    "aten::batch_norm_backward_elemt": _backward_elemt,
}
