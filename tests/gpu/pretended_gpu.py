"""``pretend_gpu``: inside, ``cuda:0`` is there. What it computes is computed on the CPU."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.gpu.backward import run_backward
from tests.gpu.cuda_tensors import GPU, CudaTensor, Rules, Waits
from tests.gpu.gradients_of_workers import PretendedDdp

MADE_OF_NUMBERS = (torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.asarray)
PEAK_BYTES = 2**30
NAME = "Pretended GPU"


@contextmanager
def pretend_gpu() -> Iterator[Waits]:
    """Yields the list of the host's waits for it.

    Autocast is CUDA's own: PyTorch chooses types by the device that a tensor names. Memory is not
    counted, kernels are the CPU's, and nothing runs at the same time as the host.
    """
    assert not torch.cuda.is_available(), "run these tests where there is no GPU"
    torch._C._ensureCUDADeviceGuardSet()  # PyTorch's own, for tensors of a GPU that is not there
    waits = Waits()
    rules = Rules(waits)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as modes:
        _patch(patch, rules)
        modes.enter_context(_PythonCalls(waits))
        modes.enter_context(rules)
        yield waits


def _patch(patch: pytest.MonkeyPatch, rules: Rules) -> None:
    """PyTorch's questions about GPUs are answered; its CUDA runtime is not there to answer them."""
    generator = torch.default_generator
    answers: dict[str, Any] = {
        "_lazy_init": None,
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": NAME,
        "get_device_capability": (9, 0),
        "get_device_properties": SimpleNamespace(
            name=NAME, total_memory=80 * 2**30, major=9, minor=0
        ),
        "mem_get_info": (80 * 2**30, 80 * 2**30),
        "max_memory_allocated": PEAK_BYTES,
        "reset_peak_memory_stats": None,
        "empty_cache": None,
        "set_per_process_memory_fraction": None,
        "set_device": None,
        "synchronize": None,
        "manual_seed": None,
        "manual_seed_all": None,
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, _always(answer))
    patch.setattr(torch.cuda, "default_generators", (generator,))
    patch.setattr(torch.cuda, "get_rng_state", lambda device=None: generator.get_state())
    patch.setattr(torch.cuda, "set_rng_state", lambda state, device=None: None)
    patch.setattr(torch.accelerator, "is_available", _always(True))
    patch.setattr(torch.accelerator, "current_accelerator", _always(torch.device("cuda")))
    patch.setattr(torch.backends.cudnn, "enabled", False)  # its norms have kernels of their own
    patch.setattr(Tensor, "pin_memory", lambda tensor, device=None: rules.pin(tensor))
    patch.setattr(torch.distributed.distributed_c10d, "_get_object_coll_device", _always("cuda:0"))
    roi_align = import_module("torchvision.ops.roi_align")
    patch.setattr(roi_align, "_roi_align", roi_align._roi_align.__wrapped__)  # else it is compiled
    for module in ("worker_context", "micro_batches"):
        name = f"rethink_ray.training.{module}.DistributedDataParallel"
        patch.setattr(name, PretendedDdp)


def _always(answer: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: answer


class _PythonCalls(TorchFunctionMode):
    """What does not reach the operations, or would reach a CUDA runtime."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in MADE_OF_NUMBERS and _names_gpu(kwargs.get("device")):
            if isinstance(args[0], Tensor):
                return func(args[0].to(GPU), **{**kwargs, "device": None})
            return func(*args, **{**kwargs, "device": "cpu"}).to(GPU)
        if func is Tensor.backward:
            assert not any(kwargs.values()), "gradients of a scalar, once"
            if isinstance(args[0], CudaTensor):
                run_backward(args[0])
                PretendedDdp.share_gradients()
                return None
        if func is Tensor.tolist and isinstance(args[0], CudaTensor):
            self.waits.note("tolist")
            return args[0].on_host.tolist()
        if func is Tensor.numpy and isinstance(args[0], CudaTensor):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy; copy it to host first"
            )
        if func is Tensor.resize_ and isinstance(args[0], CudaTensor):
            resized = CudaTensor(args[0].on_host.resize_(*args[1:]))
            args[0].data, args[0].on_host = resized, resized.on_host
            return args[0]
        if func is Tensor.new_tensor and isinstance(args[0], CudaTensor):
            kwargs = {"dtype": args[0].dtype, **kwargs}
            return torch.tensor(*args[1:], **kwargs).to(GPU)
        if func == Tensor.data.__set__ and isinstance(args[0], CudaTensor):  # type: ignore[attr-defined]
            args[0].on_host = args[1].on_host
            return None
        return func(*args, **kwargs)


def _names_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"
