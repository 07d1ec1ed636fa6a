"""Builds networks that torchvision defines as one list of layers, divided into five stages.

EfficientNet's batch norms are replaced by ``detector.norm``. Swin and ConvNeXt keep their
LayerNorms; VGG has no norms.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torchvision
from torch import nn

from rethink_ray.detection.norm_layers import keep_input_types
from rethink_ray.detection.norms import replace_batch_norms
from rethink_ray.detection.staged_backbone import STAGES, StagedBackbone
from rethink_ray.spec.networks import from_torchvision
from rethink_ray.spec.recipe import Norm

PARTS: dict[str, Sequence[range]] = {
    "efficientnet": (range(2), range(2, 3), range(3, 4), range(4, 6), range(6, 8)),
    "swin": (range(1), range(1, 2), range(2, 4), range(4, 6), range(6, 8)),
    "convnext": (range(1), range(1, 2), range(2, 4), range(4, 6), range(6, 8)),
    "vgg16": (range(9), range(9, 16), range(16, 23), range(23, 30), range(30, 31)),
}
"""Kind of network -> the entries of ``features`` in each of the five stages.

EfficientNet ends before its 1x1 head convolution, as in EfficientDet. VGG's stages begin with a
pool, so that each map is the output of a convolution, and ``stem`` is conv1 and conv2, the layers
that published detectors freeze.
"""


def build_sequential(name: str, norm: Norm) -> StagedBackbone:
    """Builds torchvision's network by our name for it."""
    kind = next(kind for kind in PARTS if name.startswith(kind))
    net: Any = getattr(torchvision.models, from_torchvision(name) or name)(weights=None)
    replace_batch_norms(net, norm)
    keep_input_types(net)
    parts = PARTS[kind]
    stages: Mapping[str, nn.Module] = {
        stage: nn.Sequential(OrderedDict((str(i), net.features[i]) for i in part))
        for stage, part in zip(STAGES, parts, strict=True)
    }
    stage_of = {i: stage for stage, part in zip(STAGES, parts, strict=True) for i in part}
    extras = {
        "swin": {"channels_last": True, "norm_eps": 1e-5},
        "convnext": {"norm_eps": 1e-6},
    }
    return StagedBackbone(
        stages=stages,
        channels=CHANNELS[kind](net),
        rename=partial(rename_sequential, stage_of),
        **extras.get(kind, {}),  # type: ignore[arg-type]
    )


def rename_sequential(stage_of: Mapping[int, str], name: str) -> str | None:
    """Renames ``features.4.1.weight`` to ``layer3.4.1.weight``; ``None`` behind the stages."""
    if name.startswith(STAGES):
        return name
    if name.startswith(("classifier.", "head.", "norm.")):
        return None
    group, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    if group != "features" or not number.isdigit():
        return name
    stage = stage_of.get(int(number))
    return None if stage is None else f"{stage}.{rest}"


def _read_efficientnet_channels(net: Any) -> tuple[int, int, int, int]:
    widths = [net.features[part[-1]][-1].out_channels for part in PARTS["efficientnet"][1:]]
    return (widths[0], widths[1], widths[2], widths[3])


CHANNELS: dict[str, Callable[[Any], tuple[int, int, int, int]]] = {
    "efficientnet": _read_efficientnet_channels,
    "swin": lambda _: (96, 192, 384, 768),
    "convnext": lambda _: (96, 192, 384, 768),
    "vgg16": lambda _: (256, 512, 512, 512),
}
