"""How often an update makes the host wait for a GPU, counted on a CPU.

A GPU works through its queue while the host fills it. The host has to wait whenever it needs a
number from the GPU: a value, or how many of something there are, which is the size of a tensor. A
constant made on the GPU from a Python number waits too, because it is copied from pageable memory.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

VALUES = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"}
SIZES = {
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave",
    "torchvision::nms",
}
"""Operators whose output has a size that depends on values."""
SELECTS = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
CONSTANTS = (torch.tensor, torch.as_tensor, torch.scalar_tensor)
READS = (Tensor.tolist, Tensor.cpu, Tensor.numpy)
"""Python's ways to values that are no operators on a CPU."""


class HostWaits:
    """Counts while it is entered, by kind: ``value``, ``size``, ``mask`` and ``constant``.

    ``on_host``: tensors that a run leaves on the host, such as the ids of images; reading them
    waits for nothing.
    """

    def __init__(self, on_host: Sequence[Tensor] = ()) -> None:
        self.on_host = {tensor.data_ptr() for tensor in on_host}
        self.by_kind: Counter[str] = Counter()
        self.by_name: Counter[str] = Counter()
        self._modes = ExitStack()

    @property
    def total(self) -> int:
        """Of all kinds."""
        return self.by_kind.total()

    def note(self, kind: str, name: str) -> None:
        self.by_kind[kind] += 1
        self.by_name[name] += 1

    def __enter__(self) -> Self:
        self._modes.enter_context(_PythonCalls(self))
        self._modes.enter_context(_Operators(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._modes.close()


class _Operators(TorchDispatchMode):
    def __init__(self, waits: HostWaits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func._schema.name
        if name in VALUES and args[0].data_ptr() not in self.waits.on_host:
            self.waits.note("value", name)
        elif name in SIZES:
            self.waits.note("size", name)
        elif name in SELECTS and _selects_by_mask(name, args):
            self.waits.note("mask", name)
        return func(*args, **(kwargs or {}))


def _selects_by_mask(name: str, args: Sequence[Any]) -> bool:
    """Setting one number where a mask is true needs no count of the places."""
    by_mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return by_mask and (name == "aten::index" or args[2].numel() != 1)


class _PythonCalls(TorchFunctionMode):
    """What is no operator on a CPU: ``torch.tensor(number, device=device)``, ``tolist``."""

    def __init__(self, waits: HostWaits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        on_device = kwargs.get("device") is not None
        if func in CONSTANTS and on_device and not isinstance(args[0], Tensor):
            self.waits.note("constant", func.__name__)
        if func in READS and args[0].data_ptr() not in self.waits.on_host:
            self.waits.note("value", func.__name__)
        return func(*args, **kwargs)
