"""The graph that is exported finds the boxes of ``detect``, before any exporter is involved."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.onnx_file import require_exportable
from rethink_ray.detection.onnx_graph import OnnxDetector, suppress
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, EvaluationSpec, InitSpec, Recipe
from tests.detection.tiny_detectors import tiny
from tests.golden_words import assert_says

SIZES_HW = ((64, 64), (50, 64), (64, 41))
"""A multiple of 32, and two sizes that are padded."""


def build(spec: DetectorSpec, num_classes: int = 3) -> Detector:
    """A detector whose scores lie on both sides of its threshold."""
    detector = build_detector(spec, InitSpec(), num_classes, seed=3).eval()
    generator = torch.Generator().manual_seed(5)
    state = detector.state_dict()
    for name, value in state.items():
        if "cls_logits" in name or "cls_score" in name:
            state[name] = 0.5 * torch.randn(value.shape, generator=generator)
    detector.load_state_dict(state)
    return detector


def seen(detector: Detector, picture: Tensor) -> tuple[Any, Any]:
    """The detections of ``detect`` and of the graph, for a picture of its final size."""
    with torch.no_grad(), detector.sizes_as_given():
        [expected] = detector.detect([picture])
    with torch.no_grad():
        return expected, OnnxDetector(detector)(picture)


@pytest.mark.parametrize(
    "spec",
    [
        tiny("retinanet"),
        tiny("retinanet", candidates=30, detections=7),
        tiny("fcos"),
        tiny("faster_rcnn"),
        tiny("faster_rcnn", box_head="2fc", detections=5),
        tiny("cascade_rcnn"),
        tiny("mask_rcnn"),
        tiny("cascade_mask_rcnn", cascade_class_agnostic=False),
    ],
    ids=lambda spec: f"{spec.family}-{spec.detections}",
)
def test_the_graph_finds_the_boxes_of_detect_in_its_fixed_places(spec: DetectorSpec) -> None:
    detector = build(spec)
    generator = torch.Generator().manual_seed(1)
    total = 0
    for hw in SIZES_HW:
        expected, (boxes, scores, labels, *masks) = seen(
            detector, torch.rand(3, *hw, generator=generator)
        )
        num = len(expected["labels"])
        total += num
        assert len(labels) == spec.detections
        assert labels[:num].tolist() == expected["labels"].tolist()
        torch.testing.assert_close(boxes[:num], expected["boxes_xyxy"], atol=1e-4, rtol=0)
        torch.testing.assert_close(scores[:num], expected["scores"], atol=1e-6, rtol=0)
        assert labels[num:].tolist() == [0] * (spec.detections - num)
        assert scores[num:].tolist() == [0.0] * (spec.detections - num)
        if masks:
            torch.testing.assert_close(masks[0][:num], expected["masks"], atol=1e-5, rtol=0)
    assert total > 10


def test_suppression_goes_group_by_group_and_fills_up_with_nothing() -> None:
    near = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [50.0, 50.0, 60.0, 60.0]])
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.7, -1.0]])
    # group 0 keeps box 0, and box 2; group 1 keeps box 1 alone, because box 0 overlaps by 0.9
    rows = suppress(near[None], scores, 0.5, 0.0, 5)
    assert rows.tolist() == [[0, 0], [1, 1], [0, 2], [-1, -1], [-1, -1]]
    assert suppress(near[None], scores, 0.5, 0.0, 2).tolist() == [[0, 0], [1, 1]]
    own = torch.stack([near, near.flip(0)])
    assert suppress(own, scores, 0.5, 0.0, 3).tolist() == [[0, 0], [1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("key", "recipe"),
    [
        ("keypoints", Recipe(detector=tiny("keypoint_rcnn"))),
        ("views", Recipe(detector=tiny(), evaluation=EvaluationSpec(flip=True))),
        ("other code", Recipe(detector=DetectorSpec(family="torchvision:ssd300_vgg16"))),
    ],
)
def test_what_has_no_fixed_graph_is_refused_by_name(key: str, recipe: Recipe) -> None:
    with pytest.raises(SpecError) as caught:
        require_exportable(recipe)
    assert_says("detection", f"onnx: {key}", str(caught.value))
