"""Builds backbones by name; each is divided into the five stages of ``staged_backbone``."""

from rethink_ray.detection.adapters import add_adapters
from rethink_ray.detection.norms import backbone_norm
from rethink_ray.detection.plugins import build_plugin
from rethink_ray.detection.residual import build_residual, build_tiny
from rethink_ray.detection.sequential import build_sequential
from rethink_ray.detection.staged_backbone import STAGES, Backbone, StagedBackbone
from rethink_ray.spec.networks import RESIDUAL, is_own
from rethink_ray.spec.recipe import DetectorSpec, Norm

__all__ = ["STAGES", "Backbone", "build_backbone"]


def build_backbone(spec: DetectorSpec, norm: Norm | None = None) -> Backbone:
    """Returns a backbone with weights drawn from the global generator, which callers fork."""
    backbone = Backbone(_build_stages(spec, norm or spec.norm))
    if spec.adapters:
        add_adapters(backbone, spec)
    return backbone


def _build_stages(spec: DetectorSpec, norm: Norm) -> StagedBackbone:
    if spec.backbone == "tiny":
        return build_tiny(spec.width, backbone_norm(norm))
    if spec.backbone in RESIDUAL:
        return build_residual(spec.backbone, backbone_norm(norm))
    if is_own(spec.backbone):
        return build_plugin(spec, norm)
    return build_sequential(spec.backbone, norm)
