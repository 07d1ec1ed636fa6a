"""Backbones in five stages, ``stem`` and ``layer1 .. layer4``.

All networks have these stages, so that freezing and loading of weights work alike for all of them.
The strides of their maps are 4, 8, 16 and 32; those of plain ViTs are 16 throughout.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rethink_ray.detection.norm_layers import layer_norm

STAGES: tuple[str, ...] = ("stem", "layer1", "layer2", "layer3", "layer4")


def keep_name(name: str) -> str | None:
    """Returns the name as it is, for files with our names."""
    return name


def keep_tensors(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Returns the tensors as they are, for files with a network's own shapes."""
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """An image as the blocks of a plain ViT see it, between two stages."""

    values: Tensor
    """``[N, num_prefix + H * W, C]``."""
    grid_hw: tuple[int, int]
    """Height and width of the map in patches."""
    num_prefix: int
    """Tokens before those of the map: class and register tokens."""
    rotation: Tensor | None = None
    """Rotary position embedding, which every block applies again."""

    def with_values(self, values: Tensor) -> "Tokens":
        """Returns other values at the same positions."""
        return replace(self, values=values)

    def to_map(self) -> Tensor:
        """Returns the tokens of the map as ``[N, C, H, W]``."""
        num_images, _, channels = self.values.shape
        inside = self.values[:, self.num_prefix :]
        return inside.reshape(num_images, *self.grid_hw, channels).movedim(-1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBackbone:
    """A network in five stages, without its classifier."""

    stages: Mapping[str, nn.Module]
    """Each reads the output of the one before: a map, or ``Tokens``."""
    channels: tuple[int, int, int, int]
    """Output channels of ``layer1 .. layer4``."""
    strides: tuple[int, int, int, int] = (4, 8, 16, 32)
    """Strides of the maps of ``layer1 .. layer4``."""
    rename: Callable[[str], str | None] = keep_name
    """Maps the source's name of a tensor to ours; ``None`` for the classifier's tensors."""
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = keep_tensors
    """Converts a file's tensors, without a prefix in their names, to the source's names and the
    network's shapes."""
    channels_last: bool = False
    """Whether stages return ``[N, H, W, C]``."""
    norm_eps: float | None = None
    """Epsilon with which each map is layer-normalised for the pyramid, as in detectors on
    transformers; ``None``: it is not. The 1x1 convolution behind it has scale and shift."""
    layers: tuple[str, ...] = STAGES
    """Paths of the layers that ``optimizer.layer_decay`` tells apart, in the order in which they
    run: the stages, or the blocks of a plain transformer (``layer1.0``, ``layer1.1``, ...)."""
    origin: str | None = None
    """The recipe's name of the backbone, if its structure does not determine it."""

    @property
    def has_one_stride(self) -> bool:
        """Whether all maps have one stride, as those of a plain ViT."""
        return len(set(self.strides)) == 1


class Backbone(nn.Module):
    """Five stages, the first of which may be frozen: without gradient, with fixed statistics.

    Attributes:
        staged: the network in stages; ``channels`` are its output channels.
        adapters: block -> a small trainable module behind it, while the block is frozen.
        frozen_stages: names of the frozen stages; set by ``freezing.freeze``.
    """

    def __init__(self, staged: StagedBackbone) -> None:
        super().__init__()
        for name in STAGES:
            self.add_module(name, staged.stages[name])
        self.staged = staged
        self.channels = staged.channels
        self.adapters: nn.ModuleDict | None = None
        self.frozen_stages: tuple[str, ...] = ()

    @property
    def is_frozen(self) -> bool:
        """Whether no parameter trains and every module is in evaluation mode."""
        return self.frozen_stages == STAGES and self.adapters is None

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Returns the maps of ``layer1 .. layer4`` for normalised images ``[N, 3, H, W]``."""
        features: OrderedDict[str, Tensor] = OrderedDict()
        x: Any = images
        for name in STAGES:
            is_still = name in self.frozen_stages and self.adapters is None
            with torch.no_grad() if is_still else nullcontext():
                x = self._run_stage(name, self.get_submodule(name), x)
                if name != STAGES[0]:
                    features[name] = self._to_map(x)
        return features

    def _run_stage(self, path: str, module: nn.Module, x: Any) -> Any:
        """Runs a stage; if there are adapters, block by block."""
        if self.adapters is None:
            return module(x)
        if isinstance(module, nn.Sequential):
            for name, child in module.named_children():
                x = self._run_stage(f"{path}_{name}", child, x)
        else:
            x = module(x)
        if path in self.adapters:
            x = self.adapters[path](x)
        return x

    def _to_map(self, x: Tensor | Tokens) -> Tensor:
        """Returns a stage's output as ``[N, C, H, W]``, normalised if ``norm_eps`` is set."""
        if isinstance(x, Tokens):
            return x.to_map()
        if self.staged.norm_eps is not None:
            last = x if self.staged.channels_last else x.movedim(1, -1)
            return layer_norm(last, last.shape[-1:], eps=self.staged.norm_eps).movedim(-1, 1)
        return x.movedim(-1, 1) if self.staged.channels_last else x

    def train(self, mode: bool = True) -> "Backbone":
        """Sets the mode of the trainable stages; frozen stages stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen_stages:
            self.get_submodule(name).eval()
        return self
