"""Drift is the relative distance of all weights together."""

import pytest
import torch

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.drift import backbone_drift
from rethink_ray.spec.recipe import DetectorSpec


def test_weights_a_tenth_larger_have_drifted_by_a_tenth() -> None:
    spec = DetectorSpec(backbone="tiny", norm="bn", width=16)
    backbone = build_classifier(spec, 2, seed=0).backbone
    start = {name: value.clone() for name, value in backbone.state_dict().items()}
    assert backbone_drift(backbone, start) == 0.0

    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1.1)
    backbone.get_buffer("stem.bn1.running_mean").fill_(100.0)

    assert backbone_drift(backbone, start) == pytest.approx(0.1, rel=1e-5)
