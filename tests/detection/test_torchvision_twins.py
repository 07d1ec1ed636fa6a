"""Our recipes of torchvision's detectors find its boxes, to the last bit, on the same tensor."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection as published
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.foreign import rename_to_ours
from rethink_ray.detection.whole import load_whole_detector, require_fitting_detector
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.recipes import build_recipe
from tests.detection.tiny_detectors import pictures, tiny

HW = (96, 128)
NUM_CATEGORIES = 4
BUILDERS = {
    "retinanet_r50_v1": "retinanet_resnet50_fpn",
    "fcos_r50_v1": "fcos_resnet50_fpn",
    "faster_rcnn_r50_v1": "fasterrcnn_resnet50_fpn",
    "mask_rcnn_r50_v1": "maskrcnn_resnet50_fpn",
    "keypoint_rcnn_r50_v1": "keypointrcnn_resnet50_fpn",
    "retinanet_r50_v2": "retinanet_resnet50_fpn_v2",
    "faster_rcnn_r50_v2": "fasterrcnn_resnet50_fpn_v2",
    "mask_rcnn_r50_v2": "maskrcnn_resnet50_fpn_v2",
}
"""Our recipe -> torchvision's network."""
FAST = ("retinanet_r50_v1", "faster_rcnn_r50_v2")


class Prepared(nn.Module):
    """Stands for a detector's resize: it gets its one picture prepared, and keeps its boxes."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        return ImageList(torch.stack(images), [HW]), targets

    def postprocess(self, detections: Any, *_: Any) -> Any:
        return detections


def build_theirs(recipe: str) -> Any:
    """Builds torchvision's network as it is for its COCO weights."""
    name = BUILDERS[recipe]
    one_stage = name.startswith(("retinanet", "fcos"))
    num_classes = NUM_CATEGORIES if one_stage else NUM_CATEGORIES + 1
    network: Any = published.__dict__[name](
        weights=None, weights_backbone=None, num_classes=num_classes
    )
    if not name.endswith("_v2"):
        freeze_norms(network.backbone.body)
    if not name.endswith("_v2") and not name.startswith("fcos"):
        overwrite_eps(network, 0.0)
    return network.eval()


def freeze_norms(body: nn.Module) -> None:
    """torchvision builds frozen norms only where it loads weights."""
    for parent in list(body.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features))


def draw_state(network: nn.Module) -> dict[str, Tensor]:
    """Statistics and scales that a mix-up would show, and scores on both sides of a threshold."""
    generator = torch.Generator().manual_seed(3)
    state = dict(network.state_dict())
    for name, value in state.items():
        drawn = torch.rand(value.shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = 0.5 + drawn
        elif name.endswith("running_mean"):
            state[name] = 0.2 * drawn - 0.1
        elif name.endswith(".weight") and value.ndim == 1:
            state[name] = (0.5 + drawn) * (0.1 if ".bn3." in name else 1.0)
        elif name.endswith(("classification_head.cls_logits.weight", "cls_score.weight")):
            state[name] = 0.4 * drawn - 0.2
        elif name.endswith("classification_head.cls_logits.bias"):
            state[name] = 2.0 * drawn - 4.0
    return state


def build_ours(recipe: str) -> Detector:
    spec = build_recipe(recipe).detector
    return build_detector(spec, InitSpec(), NUM_CATEGORIES, seed=0).eval()


def read_settings(network: Any) -> dict[str, Any]:
    """What decides about boxes beside weights."""
    norms = {(type(m).__name__, m.eps) for m in network.modules() if hasattr(m, "eps")}
    names = ("score_thresh", "nms_thresh", "detections_per_img", "topk_candidates")
    parts = [getattr(network, name, network) for name in ("rpn", "roi_heads")]
    parts += [*getattr(parts[1], "stages", [])]
    return {
        "size": (network.transform.min_size[-1], network.transform.max_size),
        "epsilons": {eps for _, eps in norms},
        "anchors": [p.anchor_generator.sizes for p in parts if hasattr(p, "anchor_generator")],
        "proposals": [
            (p._pre_nms_top_n, p._post_nms_top_n) for p in parts if hasattr(p, "_pre_nms_top_n")
        ],
        **{name: {getattr(p, name) for p in parts if hasattr(p, name)} for name in names},
    }


@pytest.mark.parametrize("recipe", BUILDERS)
def test_a_recipe_has_torchvisions_tensors_and_settings(recipe: str) -> None:
    with torch.device("meta"):
        theirs, ours = build_theirs(recipe), build_ours(recipe)
        require_fitting_detector(
            ours.state_dict(), rename_to_ours(theirs.state_dict(), ours.state_dict()), recipe
        )
    assert read_settings(ours.network) == read_settings(theirs)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow], id=name)
        for name in BUILDERS
    ],
)
@torch.no_grad()
def test_a_recipe_finds_torchvisions_boxes_to_the_last_bit(recipe: str) -> None:
    """With 100 proposals and 20 detections; more of them take minutes."""
    theirs, ours = build_theirs(recipe), build_ours(recipe)
    state = draw_state(theirs)
    theirs.load_state_dict(state)
    load_whole_detector(ours, rename_to_ours(state, ours.state_dict()), recipe)
    for network in (theirs, ours.network):
        network.transform = Prepared()
        if hasattr(network, "rpn"):
            network.rpn._post_nms_top_n = {"testing": 100}
            stages = getattr(network.roi_heads, "stages", [network.roi_heads])
            stages[0].detections_per_img = 20
    picture = torch.randn(3, *HW, generator=torch.Generator().manual_seed(1))

    [expected], [found] = theirs([picture]), ours.network([picture])

    assert len(expected["boxes"]) >= 20
    for name in ("labels", "boxes", "scores"):
        assert torch.equal(found[name], expected[name]), name
    if "masks" in expected:
        assert torch.equal(found["masks"], expected["masks"][:, 0])
    if "keypoints" in expected:
        assert torch.equal(found["keypoints"][..., :2], expected["keypoints"][..., :2])
        assert torch.equal(found["keypoints"][..., 2], expected["keypoints_scores"])


def name_as_before(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of torchvision before 0.13, which its first COCO files have."""
    older = {}
    for name, value in state.items():
        name = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", name)
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        name = re.sub(r"mask_head\.(\d)\.0", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}", name)
        name = re.sub(r"(_head\.conv)\.(\d)\.0", lambda m: f"{m[1]}.{2 * int(m[2])}", name)
        older[name] = value
    return older


@pytest.mark.parametrize("recipe", ["retinanet_r50_v1", "fcos_r50_v1", "mask_rcnn_r50_v1"])
def test_files_of_older_names_are_renamed_as_torchvision_does(recipe: str) -> None:
    with torch.device("meta"):
        theirs, ours = build_theirs(recipe), build_ours(recipe).state_dict()
    state = theirs.state_dict()
    older = name_as_before(state)
    assert len(state.keys() - older.keys()) > 10
    theirs.load_state_dict(older, assign=True)  # it knows these names
    assert rename_to_ours(older, ours).keys() == rename_to_ours(state, ours).keys()
    shapes = {name: value.shape for name, value in rename_to_ours(older, ours).items()}
    assert shapes == {name: value.shape for name, value in rename_to_ours(state, ours).items()}


@torch.no_grad()
def test_a_detector_with_frozen_norms_finds_what_it_found_when_they_learnt() -> None:
    """torchvision's second Faster R-CNN in small: batch norm in backbone, pyramid and box head."""
    learnt = tiny("faster_rcnn", "bn", box_head="4conv1fc", rpn_convs=2, score_threshold=0.0)
    frozen = learnt.model_copy(update={"norm": "frozen_bn", "head_norm": "frozen_bn"})
    source, twin = (
        build_detector(s, InitSpec(), 3, seed=n) for n, s in enumerate((learnt, frozen))
    )
    source.load_state_dict(draw_state(source))
    load_whole_detector(twin, source.state_dict(), "twin")

    [expected], [found] = source.detect(pictures(1)), twin.detect(pictures(1))

    assert torch.equal(found["labels"], expected["labels"])
    torch.testing.assert_close(found["boxes_xyxy"], expected["boxes_xyxy"], atol=1e-3, rtol=0)
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-5, rtol=0)
