"""Counts the multiplications and additions that run inside a block, kernel by kernel.

Every kernel has its own formula here. PyTorch's counter multiplies the backward pass of a grouped
convolution by its number of groups once too often (12 times too much for all of EfficientNet-B0).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten: Any = torch.ops.aten
roi_ops: Any = torch.ops.torchvision
assert torchvision.ops, "importing torchvision registers its operators"

SAMPLE_FLOPS = 8
"""Operations of one bilinear sample of one channel: four neighbours, each weighted and added."""

Formula = Callable[[Sequence[Any], Any], int]
"""(the kernel's arguments, its output) -> floating-point operations."""


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations inside its block, in forward and backward passes.

    A multiplication and an addition are two operations. Convolutions, matrix products, attention
    and ROIAlign are counted; elementwise operations (norms, activations, losses) are not. Kernels
    that PyTorch skips are not counted: there is no backward pass through a frozen prefix, and the
    first trainable layer computes no gradient of its input.

    Example:
        >>> with OperationCounter() as counter:
        ...     torch.ones(2, 3) @ torch.ones(3, 5)
        >>> counter.total
        60
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_kernel: Counter[str] = Counter()
        """Name of a kernel -> its operations; kernels without any have no entry."""

    @property
    def total(self) -> int:
        """All operations so far."""
        return self.by_kernel.total()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs a kernel and counts it; a composite operation is decomposed first."""
        formula = FORMULAS.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {})) if parts is NotImplemented else parts
        out = func(*args, **(kwargs or {}))
        flops = formula(args, out)
        if flops:
            self.by_kernel[func.overloadpacket.__name__] += flops
        return out


@contextmanager
def count_operations() -> Iterator[OperationCounter]:
    """Counts the operations inside the block, with equal counts on all devices and settings.

    PyTorch's fused attention for evaluation and torchvision's ROIAlign for deterministic GPUs have
    no formula, so both are turned off inside the block.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fast: bool = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.use_deterministic_algorithms(False)
        torch.backends.mha.set_fastpath_enabled(False)
        with OperationCounter() as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def convolution_flops(weight: Tensor, outputs: Tensor) -> int:
    """Counts one pass of a convolution: two operations per weight and output location.

    This holds for every stride, dilation, padding and number of groups, because ``weight`` has the
    channels of one group only. Padded locations count too.

    Args:
        weight: [out, in / groups, *kernel]; if transposed [in, out / groups, *kernel].
        outputs: [N, C, *locations], the output, or the input of a transposed convolution.
    """
    return 2 * weight.numel() * outputs.shape[0] * math.prod(outputs.shape[2:])


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return convolution_flops(weight, x if transposed else out)


def _convolution_backward(args: Sequence[Any], out: Any) -> int:
    """Counts one pass each for the gradients of input and weight, if they are computed."""
    grad_out, x, weight, transposed, (by_input, by_weight, _) = (*args[:3], args[7], args[10])
    passes = int(by_input) + int(by_weight)
    return passes * convolution_flops(weight, x if transposed else grad_out)


def _product(args: Sequence[Any], out: Tensor) -> int:
    """Counts ``mm`` and ``bmm``: [..., m, k] by [..., k, n]."""
    return 2 * out.numel() * int(args[0].shape[-1])


def _added_product(args: Sequence[Any], out: Tensor) -> int:
    """Counts ``addmm`` and ``baddbmm`` without their bias."""
    return _product(args[1:], out)


def _attention(args: Sequence[Any], out: Any) -> int:
    return attention_flops(args[0], args[1], args[2])


def _attention_backward(args: Sequence[Any], out: Any) -> int:
    """Counts twice the forward pass, without scores that a kernel recomputes to save memory."""
    return 2 * attention_flops(args[1], args[2], args[3])


def attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Counts the products of queries and keys and of weights and values, without the softmax.

    Args:
        query: [N, heads, queries, channels]
        key: [N, heads, keys, channels]
        value: [N, heads, keys, value channels]
    """
    *batch, num_queries, channels = query.shape
    num_keys, value_channels = value.shape[-2:]
    return 2 * math.prod(batch) * num_queries * num_keys * (channels + value_channels)


def _roi_align(args: Sequence[Any], out: Tensor) -> int:
    _, rois, scale, height, width, ratio, aligned = args
    samples = _count_samples(rois, scale, (height, width), ratio, aligned)
    return SAMPLE_FLOPS * int(out.shape[1]) * samples


def _roi_align_backward(args: Sequence[Any], out: Tensor) -> int:
    _, rois, scale, height, width, _, channels, _, _, ratio, aligned = args
    return (
        SAMPLE_FLOPS * int(channels) * _count_samples(rois, scale, (height, width), ratio, aligned)
    )


def _count_samples(
    rois: Tensor, scale: float, cells_hw: tuple[int, int], ratio: int, aligned: bool
) -> int:
    """Counts the bilinear samples of one channel over all boxes.

    Args:
        rois: [K, 5] float32, image index and xyxy in pixels.
        scale: of the map, relative to the image.
        cells_hw: rows and columns of cells in each box.
        ratio: samples along a side of a cell; 0 or less: about one for each pixel of the map.
        aligned: whether boxes keep their size; otherwise they have at least one pixel.
    """
    cells = cells_hw[0] * cells_hw[1]
    if ratio > 0:
        return len(rois) * cells * ratio**2
    sides = (rois[:, 3:5] - rois[:, 1:3]) * scale
    sides = sides if aligned else sides.clamp(min=1.0)
    width, height = sides.unbind(1)
    along = (height / cells_hw[0]).ceil() * (width / cells_hw[1]).ceil()
    return cells * int(along.clamp(min=0.0).sum())


_ATTENTION = (
    "flash_attention",
    "flash_attention_for_cpu",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
)

FORMULAS: dict[Any, Formula] = {
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.mm: _product,
    aten.bmm: _product,
    aten.addmm: _added_product,
    aten.baddbmm: _added_product,
    roi_ops.roi_align: _roi_align,
    roi_ops._roi_align_backward: _roi_align_backward,
    **{getattr(aten, f"_scaled_dot_product_{name}"): _attention for name in _ATTENTION},
    **{
        getattr(aten, f"_scaled_dot_product_{name}_backward"): _attention_backward
        for name in _ATTENTION
    },
}
