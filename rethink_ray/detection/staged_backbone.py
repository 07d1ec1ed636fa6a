"""The five stages that freezing and weights are named by, whatever the network.

All have ``stem, layer1 .. layer4`` at strides 1-4, 4, 8, 16, 32, so that one freezing rule and one
weight mapping serve them all.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rethink_ray.detection.norm_layers import layer_norm

STAGES: tuple[str, ...] = ("stem", "layer1", "layer2", "layer3", "layer4")

IMAGE_MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet, RGB, for pixels in 0..1: classifier and detector normalise alike."""
IMAGE_STD = (0.229, 0.224, 0.225)


def keep_name(name: str) -> str | None:
    """The rule for a file that uses our names already."""
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBackbone:
    """A network in five stages, without its classifier."""

    stages: Mapping[str, nn.Module]
    channels: tuple[int, int, int, int]
    """Output channels of ``layer1 .. layer4``."""
    rename: Callable[[str], str | None] = keep_name
    """From the source's name of a tensor to ours; ``None``: it belongs to the classifier."""
    channels_last: bool = False
    """Whether stages hand on ``[N, H, W, C]``."""
    norm_eps: float | None = None
    """If set, each stage's map is layer-normalised for the pyramid, as detectors on transformers
    do; without scale and shift, which the 1x1 convolution behind it has anyway."""
    origin: str | None = None
    """What the recipe calls it, if its structure does not tell."""


class Backbone(nn.Module):
    """Five stages, of which a prefix may be frozen: no gradient, fixed statistics.

    Attributes:
        cut: what it was made from; ``channels`` are its output channels.
        adapters: block -> a small module behind it that learns while the block is frozen.
        frozen_stages: names of the stages that never move; set by ``freezing.freeze``.
    """

    def __init__(self, cut: StagedBackbone) -> None:
        super().__init__()
        for name in STAGES:
            self.add_module(name, cut.stages[name])
        self.cut = cut
        self.channels = cut.channels
        self.adapters: nn.ModuleDict | None = None
        self.frozen_stages: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Feature maps of ``layer1 .. layer4`` for normalised images ``[N, 3, H, W]``."""
        features: OrderedDict[str, Tensor] = OrderedDict()
        x = images
        for name in STAGES:
            is_still = name in self.frozen_stages and self.adapters is None
            with torch.no_grad() if is_still else nullcontext():
                x = self._run_stage(name, self.get_submodule(name), x)
                if name != STAGES[0]:
                    features[name] = self._to_map(x)
        return features

    def _run_stage(self, path: str, module: nn.Module, x: Tensor) -> Tensor:
        """One stage; where adapters stand, block by block."""
        if self.adapters is None:
            whole: Tensor = module(x)
            return whole
        if isinstance(module, nn.Sequential):
            for name, child in module.named_children():
                x = self._run_stage(f"{path}_{name}", child, x)
        else:
            x = module(x)
        if path in self.adapters:
            x = self.adapters[path](x)
        return x

    def _to_map(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``, as the pyramid reads it."""
        if self.cut.norm_eps is not None:
            last = x if self.cut.channels_last else x.movedim(1, -1)
            return layer_norm(last, last.shape[-1:], eps=self.cut.norm_eps).movedim(-1, 1)
        return x.movedim(-1, 1) if self.cut.channels_last else x

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode of the stages that move; frozen ones stay in evaluation."""
        super().train(mode)
        for name in self.frozen_stages:
            self.get_submodule(name).eval()
        return self


def normalize(images: Tensor) -> Tensor:
    """Images ``[N, 3, H, W]`` in 0..1 as the backbone wants them."""
    mean = torch.tensor(IMAGE_MEAN, dtype=images.dtype, device=images.device)
    std = torch.tensor(IMAGE_STD, dtype=images.dtype, device=images.device)
    return (images - mean[:, None, None]) / std[:, None, None]
