"""Backbones by name: any network, cut into the five stages of ``detection.stages``."""

from rethink_ray.detection.adapters import add_adapters
from rethink_ray.detection.norms import backbone_norm
from rethink_ray.detection.plugins import cut_plugin
from rethink_ray.detection.residual import cut_residual, cut_tiny
from rethink_ray.detection.sequential import cut_sequential
from rethink_ray.detection.staged_backbone import (
    IMAGE_MEAN,
    IMAGE_STD,
    STAGES,
    Backbone,
    StagedBackbone,
    normalize,
)
from rethink_ray.spec.networks import RESIDUAL, is_own
from rethink_ray.spec.recipe import DetectorSpec, Norm

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "STAGES", "Backbone", "build_backbone", "normalize"]


def build_backbone(spec: DetectorSpec, norm: Norm | None = None) -> Backbone:
    """A backbone with weights drawn from the current global generator (callers fork it)."""
    backbone = Backbone(_cut(spec, norm or spec.norm))
    if spec.adapters:
        add_adapters(backbone, spec)
    return backbone


def _cut(spec: DetectorSpec, norm: Norm) -> StagedBackbone:
    if spec.backbone == "tiny":
        return cut_tiny(spec.width, backbone_norm(norm))
    if spec.backbone in RESIDUAL:
        return cut_residual(spec.backbone, backbone_norm(norm))
    if is_own(spec.backbone):
        return cut_plugin(spec, norm)
    return cut_sequential(spec.backbone, norm)
