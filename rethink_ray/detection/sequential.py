"""Networks that torchvision builds as one numbered list, cut at the strides detectors read.

EfficientNet's batch norms give way to ``detector.norm``; Swin and ConvNeXt keep their LayerNorms,
and VGG has none.
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
"""Kind of network -> which entries of ``features`` make each of the five stages.

EfficientNet ends before its 1x1 head convolution, as EfficientDet does. VGG's pools open a stage,
so that each map ends in a convolution and ``stem`` is conv1 and conv2, which detectors froze.
"""


def cut_sequential(name: str, norm: Norm) -> StagedBackbone:
    """torchvision's network under our name for it."""
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
        rename=partial(our_name, stage_of),
        **extras.get(kind, {}),  # type: ignore[arg-type]
    )


def our_name(stage_of: Mapping[int, str], name: str) -> str | None:
    """``features.4.1.weight`` -> ``layer3.4.1.weight``; what comes after the stages is dropped."""
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


def _of_efficientnet(net: Any) -> tuple[int, int, int, int]:
    widths = [net.features[part[-1]][-1].out_channels for part in PARTS["efficientnet"][1:]]
    return (widths[0], widths[1], widths[2], widths[3])


CHANNELS: dict[str, Callable[[Any], tuple[int, int, int, int]]] = {
    "efficientnet": _of_efficientnet,
    "swin": lambda _: (96, 192, 384, 768),
    "convnext": lambda _: (96, 192, 384, 768),
    "vgg16": lambda _: (256, 512, 512, 512),
}
