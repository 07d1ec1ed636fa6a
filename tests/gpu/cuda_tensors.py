"""Tensors that say they are on ``cuda:0`` and keep their numbers on the CPU.

Every operation passes ``Rules``. It refuses what CUDA refuses: an operation of a CUDA tensor and a
CPU tensor. It notes each operation for which CUDA makes the host wait.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import rethink_ray
from tests.gpu.kernels import KERNELS

OUR_CODE = str(Path(rethink_ray.__file__).parent)
GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
VALUES = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"}
SIZES = {
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::histc",
    "torchvision::nms",
}
"""Operations whose output has a size that depends on values."""
SELECTS = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
CROSSES = {"aten::_to_copy", "aten::copy_", "aten::copy"}
"""Operations whose tensors may be on two devices."""
NOT_DETERMINISTIC = {
    "aten::adaptive_max_pool2d_backward",
    "aten::_adaptive_avg_pool2d_backward",
    "aten::upsample_linear1d_backward",
    "aten::upsample_bilinear2d_backward",
    "aten::upsample_bicubic2d_backward",
    "aten::_upsample_bilinear2d_aa_backward",
    "aten::reflection_pad2d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::nll_loss2d_forward",
    "aten::histc",
    "aten::put_",
    "aten::scatter_reduce",
    "torchvision::_roi_align_backward",
    "torchvision::_roi_pool_backward",
}
"""Operations that CUDA refuses under deterministic algorithms. Source: PyTorch's and torchvision's
documentation."""
TAKES_CPU_NUMBERS = {"aten::where", "aten::masked_fill", "aten::masked_fill_", "aten::fill_"}
"""Beside pointwise operations: these take a CPU tensor without dimensions, as a number."""


class MixedDevices(RuntimeError):
    """An operation got tensors of both devices."""


class NotDeterministic(RuntimeError):
    """An operation that CUDA refuses under deterministic algorithms."""


class CudaTensor(Tensor):
    """A tensor without numbers of its own; ``on_host`` has them."""

    on_host: Tensor

    @staticmethod
    def __new__(cls: Any, on_host: Tensor, requires_grad: bool = False) -> "CudaTensor":
        tensor: CudaTensor = Tensor._make_wrapper_subclass(
            cls,
            on_host.shape,
            strides=on_host.stride(),
            storage_offset=on_host.storage_offset(),
            dtype=on_host.dtype,
            device=GPU,
            requires_grad=requires_grad,
        )
        tensor.on_host = on_host
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Reached where no ``Rules`` are in force: such a tensor has outlived its GPU."""
        raise RuntimeError(f"{func} met a tensor of a GPU that is no longer pretended")

    def __repr__(self, **_: Any) -> str:
        return f"CudaTensor({list(self.shape)}, {self.dtype})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["on_host"], None

    @staticmethod
    def __tensor_unflatten__(parts: Any, meta: Any, size: Any, stride: Any) -> "CudaTensor":
        return CudaTensor(parts["on_host"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Files get the numbers; they are read with ``map_location="cpu"``."""
        return self.on_host.detach().__reduce_ex__(protocol)


@dataclass(frozen=True)
class Wait:
    """One wait of the host for the GPU."""

    operation: str
    line: str
    """``rethink_ray/room/file.py:12``, the innermost line of our code."""


class Waits:
    """The waits since ``forget``."""

    def __init__(self) -> None:
        self.all: list[Wait] = []

    def note(self, operation: str) -> None:
        self.all.append(Wait(operation, line_of_ours()))

    def forget(self) -> None:
        self.all.clear()

    def by_line(self) -> Counter[str]:
        return Counter(f"{wait.line} {wait.operation}" for wait in self.all)


def line_of_ours() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        is_ours = frame.f_code.co_filename.startswith(OUR_CODE)
        if is_ours and frame.f_code.co_name != "__torch_dispatch__":
            path = Path(frame.f_code.co_filename).relative_to(Path(OUR_CODE).parent)
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "no line of ours"


class Rules(TorchDispatchMode):
    """Runs every operation on the numbers, as CUDA would run it."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits
        self._pinned: WeakValueDictionary[int, Tensor] = WeakValueDictionary()

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy, as in pinned memory; CUDA reads from it while the host goes on."""
        copy = tensor.clone()
        self._pinned[id(copy)] = copy
        return copy

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether ``pin`` returned this very tensor."""
        return self._pinned.get(id(tensor)) is tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        cuda = [x for x in tensors if isinstance(x, CudaTensor)]
        goes_to = kwargs.get("device")
        if not cuda and goes_to is None and not name.startswith("c10d::"):
            return func(*args, **kwargs)
        self._refuse_mixed(func, name, tensors, cuda)
        if name in NOT_DETERMINISTIC and torch.are_deterministic_algorithms_enabled():
            raise NotDeterministic(f"{name} does not have a deterministic implementation")
        self._note_wait(name, args, kwargs, cuda)
        on_gpu = bool(cuda) if goes_to is None else torch.device(goes_to).type == "cuda"
        if name == "aten::copy_":
            on_gpu = isinstance(args[0], CudaTensor)
        if goes_to is not None:
            kwargs["device"] = CPU
        if name == "aten::_to_copy":
            kwargs["non_blocking"] = False
        inner_args, inner_kwargs = tree_map_only(CudaTensor, _numbers, (args, kwargs))
        out = KERNELS.get(name, func)(*inner_args, **inner_kwargs)
        if not on_gpu:
            return out
        wrapped_before = {id(x.on_host): x for x in cuda}

        def wrap(x: Tensor) -> Tensor:
            known = wrapped_before.get(id(x))
            assert known is None or known.shape == x.shape, f"{name} changed a tensor's shape"
            return CudaTensor(x) if known is None else known

        return tree_map_only(Tensor, wrap, out)

    def _refuse_mixed(
        self, func: Any, name: str, tensors: Sequence[Tensor], cuda: Sequence[Tensor]
    ) -> None:
        if name.startswith("c10d::"):
            if len(cuda) < len(tensors):
                raise MixedDevices(f"{name}: No backend type associated with device type cpu")
            return
        if not cuda or len(cuda) == len(tensors) or name in CROSSES:
            return
        on_cpu = [x for x in tensors if not isinstance(x, CudaTensor)]
        if name in SELECTS and isinstance(cuda[0], CudaTensor) and tensors[0] is cuda[0]:
            on_cpu = [x for x in on_cpu if x.dim() and x.dtype not in (torch.int64, torch.bool)]
        elif torch.Tag.pointwise in func.tags or name in TAKES_CPU_NUMBERS:
            on_cpu = [x for x in on_cpu if x.dim()]
        if on_cpu:
            shapes = ", ".join(str(list(x.shape)) for x in on_cpu)
            where = line_of_ours()
            raise MixedDevices(f"{where}: {name} got CUDA tensors, and CPU tensors of {shapes}")

    def _note_wait(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], cuda: Sequence[Tensor]
    ) -> None:
        if name in CROSSES:
            self._note_copy(name, args, kwargs)
        elif not cuda:
            return
        elif (
            name in VALUES
            or name in SIZES
            or (name in SELECTS and _selects_by_values(name, args))
            or (name == "aten::repeat_interleave" and kwargs.get("output_size") is None)
        ):
            self.waits.note(name)

    def _note_copy(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """A copy to the CPU waits always.

        One to the GPU does as well, unless it is asked not to and reads from pinned memory.
        """
        if name == "aten::_to_copy":
            source: Any = args[0]
            device = kwargs.get("device")
            from_gpu = isinstance(source, CudaTensor)
            to_gpu = from_gpu if device is None else torch.device(device).type == "cuda"
            non_blocking = bool(kwargs.get("non_blocking"))
        else:
            source = args[1]
            to_gpu, from_gpu = isinstance(args[0], CudaTensor), isinstance(source, CudaTensor)
            non_blocking = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking"))
        if from_gpu == to_gpu:
            return
        if from_gpu:
            self.waits.note("copy to the CPU")
        elif not non_blocking:
            self.waits.note("copy to the GPU")
        elif not self.is_pinned(source):
            self.waits.note("copy of memory that is not pinned")


def _numbers(tensor: CudaTensor) -> Tensor:
    return tensor.on_host


def _selects_by_values(name: str, args: Sequence[Any]) -> bool:
    """A mask has to be counted, and an index on the CPU has to be copied.

    Setting one number where a mask is true needs no count of the places.
    """
    indices = [i for i in args[1] if i is not None]
    if any(not isinstance(i, CudaTensor) and i.dim() for i in indices):
        return True
    by_mask = any(i.dtype in (torch.bool, torch.uint8) for i in indices)
    return by_mask and (name == "aten::index" or args[2].numel() != 1)
