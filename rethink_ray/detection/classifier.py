"""The upstream classifier: a detector's backbone, average pooling and one linear layer.

It sees pixels exactly as the detector will (same mean, deviation and channel order), so what it
learned is what the detector gets.
"""

import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import Backbone, build_backbone, normalize
from rethink_ray.detection.norms import classifier_norm
from rethink_ray.spec.recipe import DetectorSpec


class ClassifierNet(nn.Module):
    """Images to class scores, over a backbone that detectors can take."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(backbone.channels[-1], num_classes)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The backbone's maps ``layer1 .. layer4``; images ``[N, 3, H, W]``, RGB in 0..1."""
        maps: dict[str, Tensor] = self.backbone(normalize(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before softmax, ``[N, num_classes]``."""
        last = self.features(images)["layer4"]
        scores: Tensor = self.fc(last.mean(dim=(2, 3)))
        return scores

    def backbone_state(self) -> dict[str, Tensor]:
        """A copy of the backbone's numbers, for ``build_detector(weights=...)``."""
        return {k: v.detach().clone() for k, v in self.backbone.state_dict().items()}


def build_classifier(spec: DetectorSpec, num_classes: int, *, seed: int) -> ClassifierNet:
    """A classifier drawn from ``seed``; ``frozen_bn`` detectors get one trained with ``bn``."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ClassifierNet(build_backbone(spec, classifier_norm(spec.norm)), num_classes)
