"""The arithmetic that a recipe sets, in training and in detection.

PyTorch's switches belong to the process, which runs one trial after another. Its defaults are
neither fp32 nor tf32: on GPUs convolutions round their inputs to TF32 and matrix products do not.
So the switches are set while something is computed, and then restored.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch.nn import functional

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import Precision, Recipe

_P = ParamSpec("_P")
_T = TypeVar("_T")
NUM_GPU_SWITCHES = 3
"""The first of ``_switches``. The others are for CPUs, which have no TF32."""


@contextmanager
def use_precision(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Inside, a network's forward pass computes in the recipe's precision.

    ``bf16`` is autocast. It leaves losses and statistics in float32, which is not rounded to TF32.

    Raises:
        SpecError: the device has no such arithmetic.
    """
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
    with use_float32_precision(recipe.precision, device), autocast:
        yield


@contextmanager
def use_float32_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inside, all products of float32 numbers round their inputs to TF32, or none does.

    Sums of bfloat16 products run in float32 either way, as they do on CPUs.

    Raises:
        SpecError: ``tf32`` on a CPU.
    """
    if precision == "tf32" and device.type == "cpu":
        must, remedy = "must be fp32 or bf16 on a CPU", "Set precision: fp32, or give it a GPU."
        raise SpecError(explain("precision", must, precision, remedy))
    products: Any = torch.backends.cuda.matmul
    before = [switch.fp32_precision for switch in _switches()]
    reduced = products.allow_bf16_reduced_precision_reduction
    on_gpu = "tf32" if precision == "tf32" else "ieee"
    needed = [on_gpu] * NUM_GPU_SWITCHES + ["ieee"] * (len(before) - NUM_GPU_SWITCHES)
    if before == needed and not reduced:  # within an update that has set them
        yield
        return
    try:
        _set(needed)
        products.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        _set(before)
        products.allow_bf16_reduced_precision_reduction = reduced


def run_in_precision(
    update: Callable[Concatenate[Any, _P], _T],
) -> Callable[Concatenate[Any, _P], _T]:
    """A method that runs with the switches of ``self.recipe`` on ``self.ctx.device``.

    A backward pass runs outside of autocast; it must run inside of these switches.
    """

    @wraps(update)
    def run_switched(run: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with use_float32_precision(run.recipe.precision, run.ctx.device):
            return update(run, *args, **kwargs)

    return run_switched


def read_precision(device: torch.device) -> str:
    """The arithmetic of products now: ``fp32``, ``tf32``, ``bf16``, or a phrase if they differ.

    The type is that of a small convolution and of a matrix product; TF32 is read from the switches.
    """
    one = torch.ones(1, 1, 1, 1, device=device)
    of_gpu, of_cpu = _switches()[:NUM_GPU_SWITCHES], _switches()[NUM_GPU_SWITCHES:]
    matmul, conv, _ = of_gpu if device.type == "cuda" else of_cpu
    convolutions = _name_of(functional.conv2d(one, one).dtype, conv.fp32_precision)
    products = _name_of((one[0, 0] @ one[0, 0]).dtype, matmul.fp32_precision)
    if convolutions == products:
        return products
    return f"{convolutions} in convolutions, {products} in matrix products"


def _name_of(computed: torch.dtype, float32: str) -> str:
    float32_name = "fp32" if float32 in ("ieee", "none") else float32
    if computed == torch.float32:
        return float32_name
    name = {torch.bfloat16: "bf16"}.get(computed, str(computed))
    return name if float32_name == "fp32" else f"{name} beside {float32_name}"


def _switches() -> list[Any]:
    """Each has ``fp32_precision``: ``ieee``, ``tf32``, ``bf16``, or ``none`` for the default."""
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    of_gpu = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    return [*of_gpu, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]


def _set(values: Sequence[str]) -> None:
    """Set every switch, and PyTorch's two older ones: reading those raises if they disagree."""
    _silence_advice_on_older_switches()
    of_gpu, convolutions, _, of_cpu, *_ = values
    older = "medium" if of_cpu == "bf16" else "high" if of_gpu == "tf32" else "highest"
    torch.set_float32_matmul_precision(older)
    torch.backends.cudnn.allow_tf32 = convolutions == "tf32"
    for switch, value in zip(_switches(), values, strict=True):
        switch.fp32_precision = value


@cache
def _silence_advice_on_older_switches() -> None:
    """Some versions of PyTorch warn once in a process that there are newer switches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
