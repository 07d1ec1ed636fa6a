"""Backbones by name, and which normalisation each carries."""

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator

from rethink_ray.spec.rules.rule import refuse_value

RESIDUAL = (
    "tiny",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext101_32x8d",
    "resnext152_32x8d",
)
"""``resnext152_32x8d`` is the X152 of He et al. 2018: blocks 3, 8, 36, 3. No weights are public."""
EFFICIENT = tuple(f"efficientnet_b{size}" for size in range(8))
OWN_NORM = ("swin_t", "convnext_t", "vgg16")
"""They keep their LayerNorms, or have no norm: ``detector.norm`` sets that of neck and heads. So do
plain ViTs of timm (``has_own_norm``)."""
BACKBONES = (*RESIDUAL, *EFFICIENT, *OWN_NORM)

TIMM = "timm:"
"""``timm:<name>`` is a network of the timm library, which must be installed; ``timm:<name>.<tag>``
is the same network, and says which of timm's weights the file holds."""
_TIMM_NAME = re.compile(r"timm:[A-Za-z_]\w*(?P<tag>\.\w+)?")


_PLAIN_VIT = re.compile(r"timm:(test_)?(vit\d?|deit3?|eva|eva02|flexivit)(_\w+)?(\.\w+)?")


def is_plain_vit_name(name: str) -> bool:
    """Whether timm names plain ViTs like this: one map at one stride, and norms of their own.

    Networks of such a name that are none, with convolutions before the patches, are refused when
    they are built.
    """
    return _PLAIN_VIT.fullmatch(name) is not None


def has_own_norm(name: str) -> bool:
    """Whether ``detector.norm`` leaves the backbone's norms as they are, by its name alone."""
    return name in OWN_NORM or is_plain_vit_name(name)


def is_own(name: str) -> bool:
    """Whether the name, of a backbone or a family, is of other code: ``timm:<name>``,
    ``torchvision:<name>`` or ``package.module:build``."""
    return ":" in name


def has_timm_tag(name: str) -> bool:
    """Whether the name says which of timm's weights it means: timm then knows their input."""
    known = _TIMM_NAME.fullmatch(name)
    return known is not None and known["tag"] is not None


def from_torchvision(name: str) -> str | None:
    """torchvision's name for a backbone; ``None`` if torchvision has no weights of it."""
    if is_own(name) or name in ("tiny", "resnext152_32x8d"):
        return None
    return {"convnext_t": "convnext_tiny"}.get(name, name)


WEIGHTS_OF_TORCHVISION = {
    **dict.fromkeys(("resnet18", "resnet34"), ("IMAGENET1K_V1",)),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152"), ("IMAGENET1K_V1", "IMAGENET1K_V2")),
    "resnext101_32x8d": ("IMAGENET1K_V1", "IMAGENET1K_V2"),
    **dict.fromkeys(EFFICIENT, ("IMAGENET1K_V1",)),
    "efficientnet_b1": ("IMAGENET1K_V1", "IMAGENET1K_V2"),
    **dict.fromkeys(("swin_t", "convnext_t"), ("IMAGENET1K_V1",)),
    "vgg16": ("IMAGENET1K_V1", "IMAGENET1K_FEATURES"),
}
"""Backbone -> the names of torchvision's weights. Source: vision, torchvision/models/."""


def names_weights_of_torchvision(backbone: str, name: str) -> bool:
    """Whether torchvision has weights of this name, ``IMAGENET1K_V1`` or
    ``ResNet50_Weights.IMAGENET1K_V1``."""
    group, dot, last = name.rpartition(".")
    model = (from_torchvision(backbone) or "").replace("_", "").lower()
    is_of_model = not dot or group.replace("_", "").lower() == f"{model}weights"
    return is_of_model and last in WEIGHTS_OF_TORCHVISION.get(backbone, ())


def _known(name: str) -> str:
    if name in BACKBONES or is_pointer(name):
        return name
    [*close] = difflib.get_close_matches(name, BACKBONES, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(BACKBONES)}"
    raise refuse_value(
        f"must be a backbone ({hint}), timm:<name>, or package.module:function", name
    )


def is_pointer(name: str) -> bool:
    """Whether the name has the form ``timm:<name>`` or ``package.module:function``."""
    if name.startswith(TIMM):
        return _TIMM_NAME.fullmatch(name) is not None
    module, colon, rest = name.partition(":")
    words = [*module.split("."), rest]
    return bool(colon and rest) and all(word.isidentifier() for word in words)


BackboneName = Annotated[str, AfterValidator(_known)]
