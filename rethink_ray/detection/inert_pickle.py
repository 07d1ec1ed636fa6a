"""Unpickles a file of tensors without running any of its code.

``torch.load`` takes this file as ``pickle_module``: it has the names of the standard ``pickle``. A
pickle can only call what ``find_class`` hands out. That is ``OrderedDict``, a function that puts a
tensor together, or an ``Inert`` object that does nothing, even if the file names something else.
"""

import pickle
import sys
from collections import OrderedDict
from typing import Any, ClassVar

import torch

__all__ = ["Inert", "Unpickler", "load"]
_build_tensor: Any = torch._utils._rebuild_tensor


class Inert:
    """Stands for an object of the file, takes all that a pickle hands over, and keeps nothing."""

    origin = ""
    """The name in the file, as ``argparse.Namespace``."""
    dump_patches = False
    """``torch.load`` asks this of the class of a module in a file from before torch 1.6."""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        """Takes any arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, *_: Any) -> None:
        pass

    def __setitem__(self, *_: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        """Returns another inert object: a file may call the result of a call, as of ``getattr``."""
        return type(self)()

    def append(self, *_: Any) -> None:
        """Takes an item, as a list does."""

    def add(self, *_: Any) -> None:
        """Takes an item, as a set does."""


class TensorBuilder:
    """Calls one of torch's functions that build a tensor from numbers in the file.

    The function itself never lies in the hands of a pickle, which could change its attributes.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any) -> Any:
        """Returns the tensor; its hooks and attributes are left out."""
        match self._name, args:
            case "_rebuild_tensor_v2", (storage, offset, size, stride, *_):
                return _build_tensor(storage, offset, size, stride)
            case "_rebuild_tensor", (storage, offset, size, stride):
                return _build_tensor(storage, offset, size, stride)
            case "_rebuild_parameter" | "_rebuild_parameter_with_state", (data, *_):
                return data
            case "_rebuild_from_type_v2", (TensorBuilder() as build, _, arguments, _):
                return build(*arguments)
        raise pickle.UnpicklingError(f"torch._utils.{self._name} of {len(args)} arguments")

    def __setstate__(self, *_: Any) -> None:
        pass


BUILDERS = {
    *(("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2")),
    *(("torch._utils", name) for name in ("_rebuild_parameter", "_rebuild_parameter_with_state")),
    ("torch._tensor", "_rebuild_from_type_v2"),
}
"""The functions by which tensors and parameters are pickled. Source: pytorch, torch/_tensor.py and
torch/nn/parameter.py."""


class Unpickler(pickle._Unpickler):
    """Resolves names to the three kinds of objects that can run nothing.

    It is the one written in Python, whose memo is a dictionary: that of the one in C is as long as
    the largest number in the file, and a file of 20 bytes could take all memory.
    """

    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)

    def load_bytearray8(self: Any) -> None:
        """Reads bytes before it makes room for them: the file may state any number."""
        num_bytes = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(min(num_bytes, sys.maxsize))))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def find_class(self, module: str, name: str) -> Any:
        """Returns the harmless object that stands for a name of the file; imports nothing."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in BUILDERS:
            return TensorBuilder(name)
        return type("Inert", (Inert,), {"origin": f"{module}.{name}"})


def load(file: Any, **settings: Any) -> Any:
    """Returns the object that an open binary file holds, as ``pickle.load`` does.

    Raises:
        pickle.UnpicklingError: the file is damaged, or builds a tensor from other arguments.
    """
    return Unpickler(file, **settings).load()
