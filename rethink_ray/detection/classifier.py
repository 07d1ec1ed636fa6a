"""The upstream classifier: a detector's backbone, average pooling and one linear layer.

Its pixels are normalised as the detector's (same mean, deviation and channel order), so that its
weights fit the detector.
"""

import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import Backbone, build_backbone
from rethink_ray.detection.norms import classifier_norm
from rethink_ray.detection.pixel_norm import PixelNorm
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import DetectorSpec


class ClassifierNet(nn.Module):
    """Classifies images with a backbone that detectors can load."""

    def __init__(self, backbone: Backbone, num_classes: int, pixels: InputSpec) -> None:
        super().__init__()
        self.pixel_norm = PixelNorm(pixels)
        self.backbone = backbone
        self.fc = nn.Linear(backbone.channels[-1], num_classes)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the maps ``layer1 .. layer4`` of images ``[N, 3, H, W]``, RGB in 0..1."""
        maps: dict[str, Tensor] = self.backbone(self.pixel_norm(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Returns class scores before softmax, ``[N, num_classes]``."""
        last = self.features(images)["layer4"]
        scores: Tensor = self.fc(last.mean(dim=(2, 3)))
        return scores

    def backbone_state(self) -> dict[str, Tensor]:
        """Returns a copy of the backbone's state, for ``build_detector(weights=...)``."""
        return {k: v.detach().clone() for k, v in self.backbone.state_dict().items()}


def build_classifier(
    spec: DetectorSpec, num_classes: int, *, seed: int, pixels: InputSpec = IMAGENET
) -> ClassifierNet:
    """Returns a classifier drawn from ``seed``; for ``frozen_bn`` it is one with ``bn``."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = build_backbone(spec, classifier_norm(spec.norm))
        return ClassifierNet(backbone, num_classes, pixels)
