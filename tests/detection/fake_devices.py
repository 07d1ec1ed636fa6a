"""Networks run without numbers, on a CPU or a GPU that need not be there: types and sizes alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from rethink_ray.detection.detectors import Detector


class TypesOfOperations(TorchDispatchMode):
    """Collects each operation's name and the type of its (first) output, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        first = outputs[0] if isinstance(outputs, tuple | list) else outputs
        if isinstance(first, Tensor) and first.dtype.is_floating_point:
            self.seen.append((func.__name__.split(".")[0], first.dtype))
        return outputs


@contextmanager
def fake_device(device: str, *, bf16: bool) -> Iterator[None]:
    """Inside, tensors are made on this device and hold nothing; autocast as a recipe has it.

    ``torch.autocast`` itself is off where there is no GPU.
    """
    was_on, was = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, bf16)
    torch.set_autocast_dtype(device, torch.bfloat16)
    try:
        with FakeTensorMode(), torch.device(device):
            yield
    finally:
        torch.set_autocast_enabled(device, was_on)
        torch.set_autocast_dtype(device, was)


def emptied(network: nn.Module) -> None:
    """Every parameter and buffer is a new one of its size, on the device that tensors come to."""
    for module in network.modules():
        for name, old in module.named_parameters(recurse=False):
            new = nn.Parameter(torch.empty(old.shape), requires_grad=old.requires_grad)
            module.register_parameter(name, new)
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype))


def forward(detector: Detector, images: Tensor) -> None:
    """Backbone, pyramid and every head once; proposals are made up, since there are no numbers."""
    network: Any = detector.network
    maps = list(network.backbone(images).values())
    if hasattr(network, "head"):
        network.head(maps)
        return
    network.rpn.head(maps)
    channels, heads = network.backbone.out_channels, network.roi_heads
    for stage in getattr(heads, "stages", [heads]):
        side = stage.box_roi_pool.output_size[0]
        stage.box_predictor(stage.box_head(torch.zeros(4, channels, side, side)))
    for branch in getattr(heads, "branches", {}).values():
        side = branch.pool.output_size[0]
        branch.predictor(branch.head(torch.zeros(4, channels, side, side)))


def operations(detector: Detector, device: str, side_px: int) -> list[tuple[str, torch.dtype]]:
    """What a forward pass of two images runs under ``bf16``, without copies of a map as it is."""
    with fake_device(device, bf16=True):
        emptied(detector)
        with TypesOfOperations() as types:
            forward(detector, torch.zeros(2, 3, side_px, side_px))
    return [entry for entry in types.seen if entry[0] != "clone"]


def saved_bytes(build: Callable[[], Detector], images: tuple[int, ...], *, bf16: bool) -> int:
    """What a forward pass on a GPU keeps for the backward pass, parameters not counted."""
    detector = build()
    saved: dict[int, Tensor] = {}
    with fake_device("cuda", bf16=bf16):
        emptied(detector)
        own = {p.untyped_storage()._cdata for p in [*detector.parameters(), *detector.buffers()]}

        def keep(x: Tensor) -> Tensor:
            saved.setdefault(x.untyped_storage()._cdata, x)
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            forward(detector, torch.zeros(images))
    return sum(x.untyped_storage().nbytes() for key, x in saved.items() if key not in own)
