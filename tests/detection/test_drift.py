"""Drift is the relative distance of all weights together."""

import pytest
import torch

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.drift import backbone_drift, record_origin
from rethink_ray.detection.freezing import freeze
from rethink_ray.spec.recipe import DetectorSpec


def test_weights_a_tenth_larger_have_drifted_by_a_tenth() -> None:
    spec = DetectorSpec(backbone="tiny", norm="bn", width=16)
    backbone = build_classifier(spec, 2, seed=0).backbone
    start = record_origin(backbone)
    assert backbone_drift(backbone, start) == 0.0

    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1.1)
    backbone.get_buffer("stem.bn1.running_mean").fill_(100.0)

    assert backbone_drift(backbone, start) == pytest.approx(0.1, rel=1e-5)


def test_a_frozen_stage_counts_as_weights_that_did_not_move() -> None:
    spec = DetectorSpec(backbone="tiny", norm="gn", width=16)
    backbone = build_classifier(spec, 2, seed=0).backbone
    freeze(backbone, "layer3")
    start = record_origin(backbone)
    with torch.no_grad():
        for parameter in backbone.get_submodule("layer4").parameters():
            parameter.mul_(2.0)

    size = sum(float(p.detach().square().sum()) for p in backbone.parameters())
    last = backbone.get_submodule("layer4").parameters()
    moved = sum(float((p.detach() / 2).square().sum()) for p in last)

    assert set(start.moving) == {n for n, _ in backbone.named_parameters() if "layer4" in n}
    # layer4 doubled: it moved by what it was, and now holds four times its square
    assert backbone_drift(backbone, start) == pytest.approx((moved / (size - 3 * moved)) ** 0.5)


def test_a_backbone_that_may_not_move_at_all_does_not_drift() -> None:
    backbone = build_classifier(DetectorSpec(backbone="tiny", width=16), 2, seed=0).backbone
    freeze(backbone, "backbone")

    assert record_origin(backbone).moving == {}
    assert backbone_drift(backbone, record_origin(backbone)) == 0.0
