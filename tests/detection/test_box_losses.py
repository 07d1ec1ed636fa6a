"""Losses, proposals and heads as a recipe says: numbers that a pencil gives too."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.box_coding import DeviceBoxCoder
from rethink_ray.detection.box_losses import BoxLoss
from rethink_ray.detection.cascade import SharedBoxPredictor
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.families import build_roi_pool
from rethink_ray.detection.heads import BoxPredictor, build_box_head
from rethink_ray.detection.necks import build_pyramid
from rethink_ray.detection.one_stage import FocalLoss
from rethink_ray.spec.detector import BoxLossKind
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec
from tests.detection.tiny_detectors import pictures, targets, tiny

CODER = DeviceBoxCoder((1.0, 1.0, 1.0, 1.0))
SQUARE = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
STILL = torch.zeros(1, 4)


def distance(kind: BoxLossKind, beta: float, expected: list[float], weight: float = 1.0) -> float:
    """The loss of deltas of zero, from a square of 10 px."""
    loss = BoxLoss(kind=kind, beta=beta, weight=weight)
    return loss.measure_boxes(STILL, torch.tensor([expected]), SQUARE, CODER).item()


def network_of(family: Family, **settings: Any) -> Any:
    return build_detector(tiny(family, **settings), InitSpec(), 3, seed=0).network


def losses_of(family: Family, **settings: Any) -> dict[str, float]:
    detector = build_detector(tiny(family, **settings), InitSpec(), 3, seed=0)
    losses = detector.losses(pictures(), targets(), seed=5, step=0)
    return {name: loss.item() for name, loss in losses.items()}


@pytest.mark.parametrize(
    ("gamma", "alpha", "of_object", "of_background"),
    [
        (2.0, 0.25, 0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2)),
        (1.5, 0.25, 0.25 * math.sqrt(1 / 8) * math.log(2), 0.75 * math.sqrt(1 / 8) * math.log(2)),
        (0.0, 0.5, 0.5 * math.log(2), 0.5 * math.log(2)),
    ],
)
def test_the_focal_loss_of_an_even_chance(
    gamma: float, alpha: float, of_object: float, of_background: float
) -> None:
    """A logit of zero is a probability of a half."""
    loss = FocalLoss(gamma=gamma, alpha=alpha)
    logits = torch.zeros(1, 2, 1)

    told = loss.per_anchor(logits, torch.tensor([[0, -1]]))

    assert told[0].tolist() == pytest.approx([of_object, of_background])


@pytest.mark.parametrize(
    ("kind", "beta", "loss"),
    [
        ("l1", 0.0, 0.05 + 0.2),
        ("smooth_l1", 0.0, 0.05 + 0.2),
        ("smooth_l1", 0.1, 0.05**2 / 0.2 + (0.2 - 0.05)),
        ("smooth_l1", 1.0, 0.05**2 / 2 + 0.2**2 / 2),
    ],
)
def test_the_distance_of_deltas(kind: BoxLossKind, beta: float, loss: float) -> None:
    assert distance(kind, beta, [0.05, -0.2, 0.0, 0.0]) == pytest.approx(loss)


def test_a_huber_loss_is_delta_times_smooth_l1_of_the_same_beta() -> None:
    """RetinaNet in tensorflow/tpu: delta 0.1, weight 50, the mean over four deltas."""
    huber = 0.05**2 / 2 + 0.1 * (0.2 - 0.05)

    ours = distance("smooth_l1", 0.1, [0.05, -0.2, 0.0, 0.0], weight=1.25)

    assert 50 * huber / 4 == pytest.approx(0.203125)
    assert ours == pytest.approx(0.203125)


@pytest.mark.parametrize(
    ("to_the_right", "loss"), [(0.0, 0.0), (0.5, 2 / 3), (1.0, 1.0), (2.0, 4 / 3)]
)
def test_the_generalised_iou_of_two_squares(to_the_right: float, loss: float) -> None:
    """Half a side apart they share 50 of 150; two sides apart their hull has 100 of 300 empty."""
    assert distance("giou", 0.0, [to_the_right, 0.0, 0.0, 0.0]) == pytest.approx(loss, abs=1e-6)
    assert distance("giou", 0.0, [to_the_right, 0.0, 0.0, 0.0], weight=2.0) == pytest.approx(
        2 * loss, abs=1e-6
    )


@pytest.mark.parametrize(
    ("family", "weight", "weighted"),
    [
        ("retinanet", "box_loss_weight", {"bbox_regression"}),
        ("fcos", "box_loss_weight", {"bbox_regression"}),
        ("faster_rcnn", "box_loss_weight", {"loss_box_reg"}),
        ("faster_rcnn", "rpn_box_loss_weight", {"loss_rpn_box_reg"}),
        ("cascade_rcnn", "box_loss_weight", {f"loss_box_reg{n}" for n in ("", "_2", "_3")}),
    ],
)
def test_a_weight_multiplies_its_loss_alone(
    family: Family, weight: str, weighted: set[str]
) -> None:
    plain, doubled = losses_of(family), losses_of(family, **{weight: 2.0})

    assert {name for name in plain if doubled[name] != plain[name]} == weighted
    assert all(doubled[name] == pytest.approx(2 * plain[name]) for name in weighted)


@pytest.mark.parametrize(
    ("family", "kind", "beta"),
    [
        ("retinanet", "smooth_l1", 0.11),
        ("fcos", "giou", 0.11),
        ("faster_rcnn", "smooth_l1", 1.0),
        ("mask_rcnn", "smooth_l1", 1.0),
    ],
)
def test_the_losses_of_a_family_are_the_published_ones(
    family: Family, kind: str, beta: float
) -> None:
    network = network_of(family)
    stage = network
    if hasattr(network, "roi_heads"):
        stage = getattr(network.roi_heads, "stages", [network.roi_heads])[0]
        assert network.rpn.box_loss == BoxLoss(kind="smooth_l1", beta=1 / 9, weight=1.0)
    else:
        assert network.focal_loss == FocalLoss(gamma=2.0, alpha=0.25)

    assert (stage.box_loss.kind, stage.box_loss.beta, stage.box_loss.weight) == (kind, beta, 1.0)


def test_every_stage_of_a_cascade_has_the_box_loss_of_the_recipe() -> None:
    stages = network_of("cascade_rcnn", box_loss="giou", box_loss_weight=10.0).roi_heads.stages

    assert {(stage.box_loss.kind, stage.box_loss.weight) for stage in stages} == {("giou", 10.0)}


def test_training_and_scoring_have_proposals_of_their_own() -> None:
    """64 px have 768, 192, 48 and 12 anchors on the four levels of ``tiny``."""
    rpn = network_of(
        "faster_rcnn",
        rpn_pre_nms_train=50,
        rpn_pre_nms_test=10,
        rpn_post_nms_train=20,
        rpn_post_nms_test=7,
    ).rpn
    logits = torch.rand(1, 1020, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(1020.0)[:, None] * 4
    apart = torch.cat([rows, rows, rows + 2, rows + 2], dim=1)[None]  # no box overlaps another
    sizes = [768, 192, 48, 12]

    def count() -> tuple[int, int]:
        best = rpn._get_top_n_idx(logits, sizes)
        [kept], _ = rpn.filter_proposals(apart, logits[..., None], [(5000, 5000)], sizes)
        return best.shape[1], len(kept)

    assert count() == (50 + 50 + 48 + 12, 20)
    rpn.eval()
    assert count() == (4 * 10, 7)


@pytest.mark.parametrize(
    ("family", "in_training"),
    [("faster_rcnn", 1000), ("mask_rcnn", 1000), ("cascade_rcnn", 2000)],
)
def test_a_cascade_trains_with_two_thousand_proposals(family: Family, in_training: int) -> None:
    with torch.device("meta"):
        spec = DetectorSpec(family=family, backbone="resnet18", neck_channels=32)
        rpn: Any = build_detector(spec, InitSpec(), 3, seed=0).network.get_submodule("rpn")

    assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (2000, in_training)
    rpn.eval()
    assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (1000, 1000)


def test_box_heads_have_as_many_parameters_as_their_names_say() -> None:
    def count(name: str) -> int:
        with torch.device("meta"):
            spec = DetectorSpec.model_validate({"family": "faster_rcnn", "box_head": name})
            return sum(p.numel() for p in build_box_head(spec).parameters())

    convolutions = 4 * (256 * 256 * 9 + 2 * 256)  # with GroupNorm, so without bias
    first, second = 256 * 7 * 7 * 1024 + 1024, 1024 * 1024 + 1024
    assert count("2fc") == first + second
    assert count("4conv1fc") == convolutions + first
    assert count("4conv2fc") == convolutions + first + second == 16_257_024


@pytest.mark.parametrize("anchor_base_px", [16, 32, 64])
@pytest.mark.parametrize(("neck", "first_level"), [("fpn", 2), ("nas_fpn", 3)])
def test_a_region_of_224_px_is_pooled_from_p4_whatever_the_anchors(
    neck: str, first_level: int, anchor_base_px: int
) -> None:
    settings = {"family": "faster_rcnn", "backbone": "resnet18", "neck": neck}
    spec = DetectorSpec.model_validate(settings | {"anchor_base_px": anchor_base_px})
    with torch.device("meta"):
        pool: Any = build_roi_pool(spec, build_pyramid(spec, build_backbone(spec)), 7)
    sides = torch.tensor([111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 2000.0])
    boxes = torch.stack([torch.zeros(7), torch.zeros(7), sides, sides], dim=1)

    levels = pool.map_levels([boxes]) + first_level

    assert levels.tolist() == [max(first_level, level) for level in (2, 3, 3, 4, 4, 5, 5)]


def test_the_canonical_scale_of_the_tiny_recipes_uses_levels_that_small_images_have() -> None:
    pool = network_of("faster_rcnn", canonical_scale_px=112).roi_heads.box_roi_pool
    sides = torch.tensor([20.0, 55.0, 56.0, 64.0])
    boxes = torch.stack([torch.zeros(4), torch.zeros(4), sides, sides], dim=1)

    assert pool.map_levels([boxes]).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("family", "nms_iou"), [("fcos", 0.6), ("retinanet", 0.5)])
def test_fcos_keeps_detections_that_overlap_by_less_than_six_tenths(
    family: Family, nms_iou: float
) -> None:
    assert network_of(family).nms_thresh == nms_iou
    assert network_of(family, nms_iou=0.3).nms_thresh == 0.3


@pytest.mark.parametrize("neck_channels", [256, 512])
def test_p6_is_computed_from_the_map_that_the_recipe_names(neck_channels: int) -> None:
    """ResNet-18's last map has 512 channels, which a pyramid may have too."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    channels, changed = {}, {}
    for source in ("p5", "c5"):
        settings = {"backbone": "resnet18", "neck_channels": neck_channels, "p6_from": source}
        spec = DetectorSpec.model_validate(settings)
        pyramid: Any = build_pyramid(spec, build_backbone(spec)).eval()
        channels[source] = pyramid.fpn.extra_blocks.p6.in_channels
        with torch.no_grad():
            before = pyramid(images)["p6"]
            nn.init.zeros_(pyramid.fpn.layer_blocks[-1][0].weight)  # P5 without its input
            changed[source] = not torch.equal(pyramid(images)["p6"], before)

    assert channels == {"p5": neck_channels, "c5": 512}
    assert changed == {"p5": True, "c5": False}


@pytest.mark.parametrize("predictor", [BoxPredictor, SharedBoxPredictor])
def test_box_predictors_are_drawn_as_in_detectron(predictor: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        drawn = predictor(1024, 81)

    deviations = [
        float(layer.weight.detach().std()) for layer in (drawn.cls_score, drawn.bbox_pred)
    ]
    assert deviations == pytest.approx([0.01, 0.001], rel=0.05)
    assert not any(layer.bias.any() for layer in (drawn.cls_score, drawn.bbox_pred))


def test_fully_connected_layers_are_drawn_between_plus_and_minus_the_root_of_three_by_width() -> (
    None
):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        head = build_box_head(tiny("faster_rcnn", box_head="4conv2fc"))

    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [16 * 5 * 5, 32]
    for layer in layers:
        largest = largest_of(layer.weight)
        assert 0.95 < largest / math.sqrt(3 / layer.in_features) <= 1
        assert largest_of(layer.bias) == 0


def largest_of(values: Tensor) -> float:
    return float(values.detach().abs().max())
