"""Builds residual networks in five stages; ``tiny`` is one for images of 64 to 128 pixels."""

from collections import OrderedDict
from collections.abc import Callable

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from rethink_ray.detection.norms import NormLayer
from rethink_ray.detection.staged_backbone import STAGES, StagedBackbone


def build_residual(name: str, norm: NormLayer) -> StagedBackbone:
    """Builds torchvision's network of this name, or X152 (He et al. 2018), which it lacks."""
    if name == "resnext152_32x8d":
        net: ResNet = ResNet(
            Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=8, norm_layer=norm
        )
    else:
        builder: Callable[..., ResNet] = getattr(torchvision.models, name)
        net = builder(weights=None, norm_layer=norm)
    stem = nn.Sequential(
        OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool)
    )
    last = net.fc.in_features
    stages: dict[str, nn.Module] = {"stem": stem}
    stages.update({name: net.get_submodule(name) for name in STAGES[1:]})
    channels = (last // 8, last // 4, last // 2, last)
    return StagedBackbone(stages=stages, channels=channels, rename=rename_residual)


def build_tiny(width: int, norm: NormLayer) -> StagedBackbone:
    """Builds one residual block per stage, with ``width`` channels in the last two stages."""
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
        stages[name] = nn.Sequential(_build_halving_block(num_in, num_out, norm))
    for stage in stages.values():
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return StagedBackbone(stages=stages, channels=widths, rename=rename_residual)


def rename_residual(name: str) -> str | None:
    """Renames torchvision's and timm's ``conv1.weight`` to ``stem.conv1.weight``, and so on."""
    if name.startswith("fc."):
        return None
    return f"stem.{name}" if name.startswith(("conv1.", "bn1.")) else name


def zero_last_norms(module: nn.Module) -> int:
    """Makes every residual branch start at zero (Goyal et al. 2017); returns their number."""
    blocks = [m for m in module.modules() if isinstance(m, BasicBlock | Bottleneck)]
    for block in blocks:
        nn.init.zeros_(block.get_parameter(f"{last_norm(block)}.weight"))
    return len(blocks)


def last_norm(block: nn.Module) -> str:
    """Returns the name of the norm that ends a block's residual branch."""
    return "bn3" if isinstance(block, Bottleneck) else "bn2"


def _build_halving_block(num_in: int, num_out: int, norm: NormLayer) -> BasicBlock:
    shortcut = nn.Sequential(
        nn.Conv2d(num_in, num_out, 1, stride=2, bias=False),
        norm(num_out),
    )
    return BasicBlock(num_in, num_out, stride=2, downsample=shortcut, norm_layer=norm)
