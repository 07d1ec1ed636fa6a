"""Counts the multiplications and additions that run inside a block, kernel by kernel.

Every kernel has a formula of its own here. PyTorch's counter multiplies the backward pass of a
grouped convolution by its groups once too often (12 times too much for a whole EfficientNet-B0).
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
"""Of one bilinear sample of one channel: four neighbours, each weighed and added."""

Formula = Callable[[Sequence[Any], Any], int]
"""(the kernel's arguments, what it gave) -> floating-point operations."""


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs inside its block, forward and backward passes alike.

    A multiplication and an addition are two operations. Convolutions, matrix products, attention
    and ROIAlign count; what works element by element (norms, activations, losses) does not. What
    PyTorch leaves out is left out here: nothing runs backward through a frozen prefix, and the
    first trainable layer needs no gradient by its input.

    Example:
        >>> with OperationCounter() as counter:
        ...     torch.ones(2, 3) @ torch.ones(3, 5)
        >>> counter.total
        60
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_kernel: Counter[str] = Counter()
        """Name of a kernel -> its operations; a kernel that ran without any has no entry."""

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
        """Runs the kernel and books it; what is no kernel yet is taken apart first."""
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
def counting() -> Iterator[OperationCounter]:
    """Inside the block operations are counted, the same on every device and under every setting.

    PyTorch has a fused attention for evaluation, and torchvision a ROIAlign of small steps for
    deterministic GPUs. Neither would be recognised, so neither is used here.
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
    """Operations of one pass of a convolution: two for each weight at each place it is put to.

    Holds for every stride, dilation, padding and number of groups, because ``weight`` has the
    channels of one group only. Padded places count as others do.

    Args:
        weight: [out, in / groups, *kernel], transposed convolutions: [in, out / groups, *kernel].
        outputs: [N, C, *places], the output, or the input of a transposed convolution.
    """
    return 2 * weight.numel() * outputs.shape[0] * math.prod(outputs.shape[2:])


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return convolution_flops(weight, x if transposed else out)


def _convolution_backward(args: Sequence[Any], out: Any) -> int:
    """The gradient by the input and the one by the weight cost one pass each, where asked for."""
    grad_out, x, weight, transposed, (by_input, by_weight, _) = (*args[:3], args[7], args[10])
    passes = int(by_input) + int(by_weight)
    return passes * convolution_flops(weight, x if transposed else grad_out)


def _product(args: Sequence[Any], out: Tensor) -> int:
    """``mm`` and ``bmm``: [..., m, k] by [..., k, n]."""
    return 2 * out.numel() * int(args[0].shape[-1])


def _added_product(args: Sequence[Any], out: Tensor) -> int:
    """``addmm`` and ``baddbmm``: the same behind a bias, which is not counted."""
    return _product(args[1:], out)


def _attention(args: Sequence[Any], out: Any) -> int:
    return attention_flops(args[0], args[1], args[2])


def _attention_backward(args: Sequence[Any], out: Any) -> int:
    """Twice the forward pass; scores that a kernel computes again to save memory do not count."""
    return 2 * attention_flops(args[1], args[2], args[3])


def attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Operations of queries by keys, and of weights by values, without the softmax between.

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
    samples = _samples(rois, scale, (height, width), ratio, aligned)
    return SAMPLE_FLOPS * int(out.shape[1]) * samples


def _roi_align_backward(args: Sequence[Any], out: Tensor) -> int:
    _, rois, scale, height, width, _, channels, _, _, ratio, aligned = args
    return SAMPLE_FLOPS * int(channels) * _samples(rois, scale, (height, width), ratio, aligned)


def _samples(
    rois: Tensor, scale: float, cells_hw: tuple[int, int], ratio: int, aligned: bool
) -> int:
    """Bilinear samples of one channel, all boxes together.

    Args:
        rois: [K, 5] float32, image index and xyxy in pixels.
        scale: of the map, against the image.
        cells_hw: rows and columns that each box is cut into.
        ratio: samples along a side of a cell; 0 or less: about one for each pixel of the map.
        aligned: boxes keep their size; else they are at least one pixel.
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
    *("flash_attention", "flash_attention_for_cpu", "efficient_attention"),
    *("cudnn_attention", "fused_attention_overrideable"),
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
