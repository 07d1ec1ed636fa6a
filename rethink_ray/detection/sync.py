"""Batch normalisation over the batch of all workers of a run.

PyTorch has it for GPUs only; on CPUs the workers' sums are added up here.
"""

import torch
from torch import Tensor, nn


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the batch of all workers; alone it is ``BatchNorm2d`` itself.

    Not PyTorch's own layer, which cannot even stand in a group of CPU workers. ``put_on_gpus`` puts
    that one in its place where it can.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[N, C, H, W]`` per channel."""
        if not self.training or _num_workers() == 1:
            return super().forward(input)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        mean, var, count = _moments_of_all(input)
        if not count:
            return super().forward(input)
        self._follow(mean.detach(), var.detach() * count / (count - 1))
        x = input.float()
        normalized = (x - _per_channel(mean)) * _per_channel((var + self.eps).rsqrt())
        if self.affine:
            normalized = normalized * _per_channel(self.weight) + _per_channel(self.bias)
        return normalized.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        """Running statistics as ``BatchNorm2d`` keeps them; ``var`` is the unbiased one."""
        momentum = 0.1 if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            if running is not None:
                running.lerp_(new.to(running.dtype), momentum)


def put_on_gpus(model: nn.Module) -> None:
    """PyTorch's own layer stands for each of ours, with the same parameters and statistics."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is SyncBatchNorm:
                setattr(module, name, _pytorchs(child))


def _pytorchs(layer: SyncBatchNorm) -> nn.SyncBatchNorm:
    converted: nn.SyncBatchNorm = nn.SyncBatchNorm.convert_sync_batchnorm(layer)  # type: ignore[no-untyped-call]
    return converted


class _SumOfAll(torch.autograd.Function):
    """The sum over all workers, and of its gradients: each worker's loss depends on every part."""

    @staticmethod
    def forward(ctx: object, local: Tensor) -> Tensor:
        total = local.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def _moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean and biased variance per channel over all workers, and how many numbers each is of.

    A worker may have none. Sums run in float64, where a variance small against its mean survives
    the subtraction.
    """
    count = x.numel() // x.shape[1]
    if count:
        var, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
    else:
        var = mean = x.float().sum(dim=(0, 2, 3))
    var, mean = var.double(), mean.double()
    parts = [count * mean, count * (var + mean.square()), mean.new_full((1,), count)]
    first, second, counts = _SumOfAll.apply(torch.cat(parts)).split([x.shape[1], x.shape[1], 1])
    whole = float(counts.detach())
    if whole == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    mean = first / max(whole, 1.0)
    var = (second / max(whole, 1.0) - mean.square()).clamp(min=0.0)
    return mean.float(), var.float(), whole


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def _num_workers() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
