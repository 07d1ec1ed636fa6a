"""Backbones: residual networks cut into the five stages that freezing and weights are named by.

All have ``stem, layer1 .. layer4`` at strides 2-4, 4, 8, 16, 32, so that one freezing rule and one
weight mapping serve them all. ``tiny`` is a small residual net for images of 64 to 128 pixels.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from rethink_ray.detection.norms import NormLayer, backbone_norm
from rethink_ray.spec.recipe import DetectorSpec, Norm

STAGES: tuple[str, ...] = ("stem", "layer1", "layer2", "layer3", "layer4")

IMAGE_MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet, RGB, for pixels in 0..1: classifier and detector normalise alike."""
IMAGE_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Five stages, of which a prefix may be frozen: no gradient, fixed statistics.

    Attributes:
        channels: output channels of ``layer1 .. layer4``.
        frozen_stages: names of the stages that never move; set by ``freezing.freeze``.
    """

    def __init__(self, stages: dict[str, nn.Module], channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        for name in STAGES:
            self.add_module(name, stages[name])
        self.channels = channels
        self.frozen_stages: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Feature maps of ``layer1 .. layer4`` for normalised images ``[N, 3, H, W]``."""
        features: OrderedDict[str, Tensor] = OrderedDict()
        x = images
        for name in STAGES:
            with torch.no_grad() if name in self.frozen_stages else nullcontext():
                x = self.get_submodule(name)(x)
            features[name] = x
        del features["stem"]
        return features

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode of the stages that move; frozen ones stay in evaluation."""
        super().train(mode)
        for name in self.frozen_stages:
            self.get_submodule(name).eval()
        return self


def build_backbone(spec: DetectorSpec, norm: Norm | None = None) -> Backbone:
    """A backbone with weights drawn from the current global generator (callers fork it)."""
    layer = backbone_norm(norm or spec.norm)
    if spec.backbone == "tiny":
        return _tiny(spec.width, layer)
    builder: Callable[..., ResNet] = getattr(torchvision.models, spec.backbone)
    return _cut(builder(weights=None, norm_layer=layer))


def normalize(images: Tensor) -> Tensor:
    """Images ``[N, 3, H, W]`` in 0..1 as the backbone wants them."""
    mean = torch.tensor(IMAGE_MEAN, dtype=images.dtype, device=images.device)
    std = torch.tensor(IMAGE_STD, dtype=images.dtype, device=images.device)
    return (images - mean[:, None, None]) / std[:, None, None]


def _cut(net: ResNet) -> Backbone:
    """A torchvision residual network without its classifier, as five named stages."""
    stem = nn.Sequential(
        OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool)
    )
    last = net.fc.in_features
    stages: dict[str, nn.Module] = {"stem": stem}
    stages.update({name: net.get_submodule(name) for name in STAGES[1:]})
    return Backbone(stages, (last // 8, last // 4, last // 2, last))


def _tiny(width: int, norm: NormLayer) -> Backbone:
    """One residual block per stage; ``width`` channels in the last two stages."""
    widths = (max(8, width // 4), max(8, width // 2), width, width)
    stem = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            bn1=norm(widths[0]),
            relu=nn.ReLU(inplace=True),
        )
    )
    stages: dict[str, nn.Module] = {"stem": stem}
    inputs = (widths[0], *widths[:3])
    for name, num_in, num_out in zip(STAGES[1:], inputs, widths, strict=True):
        stages[name] = nn.Sequential(_halving_block(num_in, num_out, norm))
    backbone = Backbone(stages, widths)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return backbone


def _halving_block(num_in: int, num_out: int, norm: NormLayer) -> BasicBlock:
    shortcut = nn.Sequential(
        nn.Conv2d(num_in, num_out, 1, stride=2, bias=False),
        norm(num_out),
    )
    return BasicBlock(num_in, num_out, stride=2, downsample=shortcut, norm_layer=norm)
