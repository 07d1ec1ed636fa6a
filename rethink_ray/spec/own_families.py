"""Detectors that are not ours, as families: one table of the settings that each of them reads.

``torchvision:<name>`` and ``transformers:<name>`` ship with this program, and are built by the same
rules as ``package.module:build`` (``rethink_ray.detection.own_network``).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

from rethink_ray.spec.networks import is_own, is_pointer
from rethink_ray.spec.rules.rule import refuse_value

Family = Literal[
    "retinanet",
    "fcos",
    "faster_rcnn",
    "cascade_rcnn",
    "mask_rcnn",
    "cascade_mask_rcnn",
    "keypoint_rcnn",
]
"""Our families; ``detector.family`` can name others too."""
OUR_FAMILIES: tuple[Family, ...] = get_args(Family)
SIDES = frozenset({"min_side_px", "max_side_px"})
"""Keys of ``detector`` that augmentation reads as well, before any detector."""
FOR_ANY = SIDES | {"score_threshold", "nms_iou", "detections"}
"""Keys of ``detector`` that the function of a family may read; studies can set no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyAxes:
    """How a family that is not ours is built, and the settings that mean something to it."""

    build: str
    """``module:function`` that builds it."""
    reads: frozenset[str] = FOR_ANY
    """Keys of ``detector`` beside ``family`` that it reads."""
    square_px: int | None = None
    """The side of its square input, if it has only one."""
    multiple_px: int | None = None
    """Its input is a square whose side is a multiple of this."""
    shares_batches: bool | None = None
    """Whether workers and micro-batches can share its batches; ``None``: the detector says so when
    it is built."""
    nms_iou: float = 0.5
    """The published overlap of its non-maximum suppression, which null stands for."""
    frozen_norms: bool = False
    """Whether its backbone's batch norms never learn, so that random weights would not either."""
    library: str | None = None
    """The package that its numbers depend on; its version is part of ids."""


def _rt_detr(size: str, *, frozen_norms: bool) -> FamilyAxes:
    return FamilyAxes(
        build=f"rethink_ray.detection.rt_detr:build_{size}",
        reads=SIDES | {"score_threshold", "detections"},
        multiple_px=32,
        shares_batches=False,
        frozen_norms=frozen_norms,
        library="transformers",
    )


SHIPPED_FAMILIES: Mapping[str, FamilyAxes] = {
    "torchvision:ssd300_vgg16": FamilyAxes(
        build="rethink_ray.detection.ssd:build_ssd300",
        reads=FOR_ANY | {"candidates"},
        square_px=300,
        shares_batches=True,
        nms_iou=0.45,
    ),
    "torchvision:ssdlite320_mobilenet_v3_large": FamilyAxes(
        build="rethink_ray.detection.ssd:build_ssdlite320",
        reads=FOR_ANY | {"candidates"},
        square_px=320,
        shares_batches=False,
        nms_iou=0.55,
    ),
    "transformers:rtdetr_v2_r18vd": _rt_detr("rtdetr_v2_r18vd", frozen_norms=False),
    "transformers:rtdetr_v2_r50vd": _rt_detr("rtdetr_v2_r50vd", frozen_norms=True),
}
"""Family that ships beside ours -> what it reads. Source: pytorch/vision,
torchvision/models/detection/ssd.py and ssdlite.py; huggingface/transformers,
src/transformers/models/rt_detr_v2; lyuwenyu/RT-DETR, rtdetrv2_pytorch/configs/rtdetrv2 (norms of
ResNet-50 are frozen, those of ResNet-18 are not). The SSD on VGG has no norm, so its losses can be
added up over parts of a batch; SSDlite's batch norms and RT-DETR's denoising queries see all images
of a pass."""


def axes_of(family: str) -> FamilyAxes | None:
    """The settings of a family that is not ours; ``None`` for ours."""
    if not is_own(family):
        return None
    return SHIPPED_FAMILIES.get(family, FamilyAxes(build=family))


def reads_key(family: str, key: str) -> bool:
    """Whether the family may read a key of ``detector``; ours are assumed to read each."""
    axes = axes_of(family)
    return axes is None or key == "family" or key in axes.reads


def network_in_words(family: str, backbone: str) -> str:
    """The detector in words: ``retinanet on resnet50``; a family that is not ours stands alone."""
    return family if is_own(family) else f"{family} on {backbone}"


def _known_family(name: str) -> str:
    ships = name.startswith(("torchvision:", "transformers:"))
    known = (*OUR_FAMILIES, *SHIPPED_FAMILIES)
    if name in known or (is_pointer(name) and not ships):
        return name
    [*close] = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    raise refuse_value(f"must be a family ({hint}), or package.module:build", name)


FamilyName = Annotated[str, AfterValidator(_known_family)]
