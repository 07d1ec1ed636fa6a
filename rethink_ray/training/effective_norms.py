"""The norms of the live network: of backbone, pyramid and heads, and the epsilon of frozen ones."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.norm_layers import FrozenBatchNorm2d
from rethink_ray.detection.norms import resolve_head_norm, resolve_neck_norm
from rethink_ray.spec.recipe import DetectorSpec
from rethink_ray.training.effective_backbone import name_norms, norm_of
from rethink_ray.training.effective_heads import list_hidden_layers


def read_norms(detector: Detector, spec: DetectorSpec) -> dict[str, Any]:
    """Dotted recipe path -> live value; the recipe's word if it means the layers that are there.

    A backbone without a norm of recipes (Swin, ConvNeXt) shows ``detector.norm`` in its pyramid
    alone, and a plain ViT in its heads. Heads without convolutions have nothing to normalise, and
    no value.
    """
    spec = spec.as_published()
    network: Any = detector.network
    neck, hidden = network.backbone.fpn, list_hidden_layers(network)
    expected = resolve_neck_norm(spec)
    settings = {"detector.neck_norm": _say([neck], expected, spec.neck_norm)}
    if any(isinstance(layer, nn.Conv2d) for part in hidden for layer in part.modules()):
        settings["detector.head_norm"] = _say(hidden, resolve_head_norm(spec), spec.head_norm)
    above = [neck] if expected == spec.norm else []
    if spec.neck == "simple" and resolve_head_norm(spec) == spec.norm:
        above = hidden
    norm = norm_of(detector.backbone, above)
    if norm is not None:
        settings["detector.norm"] = norm
    if spec.norm == "frozen_bn" and spec.norm_epsilon is not None:
        return settings | {"detector.norm_epsilon": _read_epsilon(detector)}
    return settings


def _say(parts: Sequence[nn.Module], expected: str | None, configured: str | None) -> str | None:
    """``configured`` if the parts have the expected norm, else the name of the one they have."""
    live = name_norms(parts)
    return configured if live == expected else live or "none"


def _read_epsilon(detector: Detector) -> Any:
    """The epsilon of all frozen norms; if they differ, the list of all."""
    layers = (layer for layer in detector.modules() if isinstance(layer, FrozenBatchNorm2d))
    epsilons = sorted({float(layer.eps) for layer in layers})
    return epsilons[0] if len(epsilons) == 1 else epsilons
