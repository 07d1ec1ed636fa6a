"""Two-stage losses and proposals are torchvision's, on the same outputs and the same draws."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import (
    fastrcnn_loss,
    keypointrcnn_loss,
)
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from rethink_ray.detection.box_coding import DeviceBoxCoder
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.families import list_samplers
from rethink_ray.detection.keypoints import KeypointBranch
from rethink_ray.detection.regions import SampledProposals
from rethink_ray.detection.sampling import SamplePosition
from rethink_ray.detection.two_stage import BoxHeads, RegionPool
from rethink_ray.spec.detector import BoxLossKind
from rethink_ray.spec.recipe import InitSpec
from tests.detection.tiny_detectors import annotated, pictures, targets, tiny

GENERATOR_SEED = 4


def random_boxes(num: int, extent: float = 64.0) -> Tensor:
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    corners = torch.rand(num, 2, generator=generator) * extent * 0.6
    sides = 2 + torch.rand(num, 2, generator=generator) * extent * 0.35
    return torch.cat([corners, corners + sides], dim=1)


def prepared(detector: Detector) -> tuple[Any, Any, dict[str, Tensor], list[dict[str, Tensor]]]:
    """The network and two images of it up to the pyramid; the second has no object."""
    network: Any = detector.network
    for sampler in list_samplers(network):
        sampler.position = SamplePosition(seed=1, step=2, image_ids=(40, 41))
    nothing = annotated(torch.zeros(0, 4), [], image_id=41)
    batch, resized = network.transform(pictures(), [targets()[0], nothing])
    return network, batch, network.backbone(batch.tensors), resized


def box_heads(**settings: Any) -> BoxHeads:
    """A box head of three classes, with torchvision's box loss unless ``settings`` say more."""
    spec = tiny("faster_rcnn", **{"box_loss_beta": 1 / 9, **settings})
    heads = build_detector(spec, InitSpec(), 3, seed=0).network.get_submodule("roi_heads")
    assert isinstance(heads, BoxHeads)
    return heads


def test_proposals_and_their_losses_are_torchvisions() -> None:
    network, batch, features, objects = prepared(
        build_detector(tiny("faster_rcnn"), InitSpec(), 3, seed=0)
    )

    ours, losses = network.rpn(batch, features, objects)
    theirs, expected = as_torchvisions(network.rpn)(batch, features, objects)

    assert [len(boxes) for boxes in ours] == [20, 20]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for name, loss in expected.items():
        assert loss.item() > 0
        assert losses[name].item() == pytest.approx(loss.item(), rel=1e-5), name


def as_torchvisions(rpn: Any) -> Any:
    """A network of torchvision's class with the same parts and draws."""
    plain: Any = RegionProposalNetwork(
        rpn.anchor_generator,
        rpn.head,
        rpn.proposal_matcher.high_threshold,
        rpn.proposal_matcher.low_threshold,
        rpn.fg_bg_sampler.batch_size_per_image,
        0.5,
        rpn._pre_nms_top_n,
        rpn._post_nms_top_n,
        rpn.nms_thresh,
    )
    plain.fg_bg_sampler = rpn.fg_bg_sampler
    return plain


def test_small_proposals_are_dropped_as_torchvision_drops_them() -> None:
    network, batch, _, _ = prepared(build_detector(tiny("faster_rcnn"), InitSpec(), 3, seed=0))
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(60).expand(2, 60, 4).clone()
    boxes[0, :5, 2:] = boxes[0, :5, :2]  # no sides
    scores = torch.randn(2, 60, 1, generator=generator)
    arguments = (boxes, scores, batch.image_sizes, [40, 20])

    ours = network.rpn.filter_proposals(*arguments)
    theirs = as_torchvisions(network.rpn).filter_proposals(*arguments)

    for own, expected in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


def test_box_losses_are_torchvisions_with_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 2, 0, 1, 3, 0])
    expected = torch.randn(6, 4, generator=generator)
    drawn = SampledProposals(
        boxes_xyxy=list(random_boxes(6).split(3)),
        matched=[],
        labels=list(labels.split(3)),
        deltas=list(expected.split(3)),
    )
    outputs = [torch.randn(6, size, generator=generator) for size in (4, 16)]
    first, again = ([x.clone().requires_grad_() for x in outputs] for _ in range(2))

    ours = box_heads().losses(first[0], first[1], drawn)
    theirs = fastrcnn_loss(again[0], again[1], drawn.labels, drawn.deltas)
    (ours[0] + ours[1]).backward()
    (theirs[0] + theirs[1]).backward()

    assert [x.item() for x in ours] == pytest.approx([x.item() for x in theirs], rel=1e-6)
    for own, other in zip(first, again, strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad, other.grad, atol=1e-7)


@pytest.mark.parametrize("kind", get_args(BoxLossKind))
def test_box_losses_of_nothing_are_zero_and_have_a_gradient(kind: BoxLossKind) -> None:
    scores, deltas = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 16, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.int64)
    no_boxes = torch.zeros(0, 4)
    drawn = SampledProposals(boxes_xyxy=[no_boxes], matched=[], labels=[nothing], deltas=[no_boxes])

    losses = box_heads(box_loss=kind).losses(scores, deltas, drawn)
    sum(losses, torch.zeros(())).backward()

    assert [loss.item() for loss in losses] == [0.0, 0.0]


def test_regions_are_pooled_as_torchvision_pools_them_bit_for_bit() -> None:
    detector = build_detector(tiny("faster_rcnn"), InitSpec(), 3, seed=0)
    _, batch, features, _ = prepared(detector)
    network: Any = detector.network
    pool = network.roi_heads.box_roi_pool
    assert isinstance(pool, RegionPool)
    # at a canonical scale of 112 px the second level begins at 56 px, the third at 112 px
    boxes = [random_boxes(30), random_boxes(7, extent=500.0)]
    levels = pool.map_levels(boxes)
    assert len(set(levels.tolist())) > 2

    ours = pool(features, boxes, batch.image_sizes)

    assert torch.equal(ours, MultiScaleRoIAlign.forward(pool, features, boxes, batch.image_sizes))


def test_boxes_are_coded_as_torchvision_codes_them_bit_for_bit() -> None:
    weights = (10.0, 10.0, 5.0, 5.0)
    ours, theirs = DeviceBoxCoder(weights), BoxCoder(weights)
    boxes, references = random_boxes(50), random_boxes(50).flip(0)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(50, 12, generator=generator) * 9  # some beyond what is cut off

    assert torch.equal(
        ours.encode_single(boxes, references), theirs.encode_single(boxes, references)
    )
    assert torch.equal(
        ours.decode_single(codes, references), theirs.decode_single(codes, references)
    )


def test_the_keypoint_loss_is_torchvisions() -> None:
    detector = build_detector(tiny("keypoint_rcnn"), InitSpec(), 3, seed=0)
    network, batch, features, objects = prepared(detector)
    branch = network.roi_heads.branches["keypoints"]
    assert isinstance(branch, KeypointBranch)
    boxes = [objects[0]["boxes"] + 1.0, torch.zeros(0, 4)]
    matched = [torch.tensor([0, 1]), torch.zeros(0, dtype=torch.int64)]
    labels = [torch.ones(len(b), dtype=torch.int64) for b in boxes]
    drawn = SampledProposals(boxes_xyxy=boxes, matched=matched, labels=labels, deltas=[])

    ours = branch.losses(features, drawn, objects, batch.image_sizes)["loss_keypoint"]

    logits = branch(features, boxes, batch.image_sizes)
    points = [target["keypoints"] for target in objects]
    assert ours.item() == pytest.approx(
        keypointrcnn_loss(logits, boxes, points, matched).item(), rel=1e-6
    )
    assert int(branch.division().count) == 4  # two of each object, the third is not annotated


@pytest.mark.parametrize("kind", get_args(BoxLossKind))
def test_a_region_without_area_in_an_image_without_objects_leaves_the_gradient_a_number(
    kind: BoxLossKind,
) -> None:
    """Its deltas are log(0 / 0): a stage of a cascade can move a region out of the image."""
    scores = torch.zeros(2, 3, requires_grad=True)
    deltas = torch.zeros(2, 12, requires_grad=True)
    drawn = SampledProposals(
        boxes_xyxy=[torch.tensor([[0.0, 0.0, 0.0, 5.0], [1.0, 1.0, 9.0, 9.0]])],
        matched=[torch.tensor([0, 0])],
        labels=[torch.tensor([0, 1])],
        deltas=[torch.tensor([[float("nan")] * 4, [1.0, 0.0, 0.0, 0.0]])],
    )
    classifier, box_reg = box_heads(box_loss=kind).losses(scores, deltas, drawn)
    (classifier + box_reg).backward()
    assert deltas.grad is not None
    assert deltas.grad[0].tolist() == [0.0] * 12
    assert deltas.grad[1, 4].item() < 0, "the positive one learns"
