"""The settings of the live backbone: its name, norm and adapters."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import nn
from torchvision.models.convnext import CNBlock
from torchvision.models.efficientnet import MBConv
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.swin_transformer import SwinTransformerBlock

from rethink_ray.detection.adapters import Adapter, bottleneck
from rethink_ray.detection.backbones import STAGES, Backbone
from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.drift import BackboneStart
from rethink_ray.detection.norm_layers import FrozenBatchNorm2d, GroupNorm
from rethink_ray.detection.residual import last_norm
from rethink_ray.detection.sync import SyncBatchNorm
from rethink_ray.spec.pixel_input import InputSpec

NORM_OF: dict[type[nn.Module], str] = {
    GroupNorm: "gn",
    nn.GroupNorm: "gn",
    nn.BatchNorm2d: "bn",
    SyncBatchNorm: "sync_bn",
    nn.SyncBatchNorm: "sync_bn",
    FrozenBatchNorm2d: "frozen_bn",
}
BLOCKS = (BasicBlock, Bottleneck, MBConv, SwinTransformerBlock, CNBlock)
BACKBONE_OF: dict[tuple[object, ...], str] = {
    ("BasicBlock", (1, 1, 1, 1), 1): "tiny",
    ("BasicBlock", (2, 2, 2, 2), 1): "resnet18",
    ("BasicBlock", (3, 4, 6, 3), 1): "resnet34",
    ("Bottleneck", (3, 4, 6, 3), 1): "resnet50",
    ("Bottleneck", (3, 4, 23, 3), 1): "resnet101",
    ("Bottleneck", (3, 8, 36, 3), 1): "resnet152",
    ("Bottleneck", (3, 4, 23, 3), 32): "resnext101_32x8d",
    ("Bottleneck", (3, 8, 36, 3), 32): "resnext152_32x8d",
    ("MBConv", (2, 2, 6, 5), 320): "efficientnet_b0",
    ("MBConv", (3, 3, 8, 7), 320): "efficientnet_b1",
    ("MBConv", (3, 3, 8, 7), 352): "efficientnet_b2",
    ("MBConv", (3, 3, 10, 8), 384): "efficientnet_b3",
    ("MBConv", (4, 4, 12, 10), 448): "efficientnet_b4",
    ("MBConv", (5, 5, 14, 12), 512): "efficientnet_b5",
    ("MBConv", (6, 6, 16, 14), 576): "efficientnet_b6",
    ("MBConv", (7, 7, 20, 17), 640): "efficientnet_b7",
    ("SwinTransformerBlock", (2, 2, 6, 2), 768): "swin_t",
    ("CNBlock", (3, 3, 9, 3), 768): "convnext_t",
    ("Conv2d", (3, 3, 3, 0), 512): "vgg16",
}
"""(kind of block, blocks per stage, groups of a residual block or channels of ``layer4``) -> name.
"""


def read_backbone(backbone: Backbone, adapters: float) -> dict[str, Any]:
    """Dotted recipe path -> live value. ``adapters``: the recipe's ``detector.adapters``."""
    name = name_of(backbone)
    settings: dict[str, Any] = {
        "detector.backbone": name,
        "detector.adapters": _read_adapters(backbone, adapters),
    }
    if name == "tiny":
        settings["detector.width"] = backbone.channels[-1]
    return settings


def name_of(backbone: Backbone) -> str:
    """The backbone's name in recipes; for an unknown structure, that structure."""
    if backbone.staged.origin is not None:
        return backbone.staged.origin
    stages = [list(backbone.get_submodule(name).modules()) for name in STAGES[1:]]
    blocks = [[m for m in stage if isinstance(m, BLOCKS)] for stage in stages]
    if not any(blocks):
        blocks = [[m for m in stage if isinstance(m, nn.Conv2d)] for stage in stages]
    kinds = Counter(type(block).__name__ for stage in blocks for block in stage)
    first = next((block for stage in blocks for block in stage), None)
    last: int = backbone.channels[-1]
    if isinstance(first, BasicBlock | Bottleneck):
        last = first.conv2.groups if isinstance(first, Bottleneck) else 1
    shape = ("+".join(sorted(kinds)), tuple(len(stage) for stage in blocks), last)
    return BACKBONE_OF.get(shape, repr(shape))


def input_of(detector: Detector, configured: InputSpec | None) -> dict[str, Any] | None:
    """The live mean, deviation and order of channels; as ``configured`` if they agree with it."""
    if configured is None:
        return None  # known by the weights themselves
    norm = detector.pixel_norm
    live = configured if norm.is_set_to(configured) else norm.read_input()
    return live.model_dump(mode="json")


def norm_of(backbone: Backbone, above: Iterable[nn.Module] = ()) -> str | None:
    """The norm of the stages; if recipes have no name for it, that of the modules ``above``."""
    return name_norms(backbone.get_submodule(name) for name in STAGES) or name_norms(above)


def name_norms(parts: Iterable[nn.Module]) -> str | None:
    """The norm of all layers in these parts; ``None``: none that recipes have a name for."""
    kinds = {_norm(layer) for part in parts for layer in part.modules()} - {None}
    return "+".join(sorted(str(kind) for kind in kinds)) or None


def starts_at_zero(backbone: Backbone, origin: BackboneStart) -> bool:
    """Whether every residual block began as its shortcut, by the weights before update 0."""
    blocks = [
        f"{name}.{last_norm(module)}.weight"
        for name, module in backbone.named_modules()
        if isinstance(module, BasicBlock | Bottleneck)
    ]
    weights = [origin.moving.get(name) for name in blocks]
    return bool(weights) and all(w is not None and not w.any() for w in weights)


def _norm(module: nn.Module) -> str | None:
    if type(module) in NORM_OF:
        return NORM_OF[type(module)]
    return "bn" if isinstance(module, nn.BatchNorm2d) else None


def _read_adapters(backbone: Backbone, configured: float) -> float:
    """The adapters' share of channels; ``configured`` if it rounds to their widths."""
    live = [m for m in backbone.modules() if isinstance(m, Adapter)]
    if not live:
        return 0.0
    if all(m.width == bottleneck(m.channels, configured) for m in live):
        return configured
    return _mean(m.width / m.channels for m in live)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
