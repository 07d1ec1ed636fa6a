"""One-stage losses are of the whole batch, and torchvision's where the batch is one image."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import generalized_box_iou_loss

from rethink_ray.detection.box_losses import giou_loss
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.families import list_divisions
from rethink_ray.spec.detector import BoxLossKind
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec
from tests.detection.tiny_detectors import mixed_targets, tiny

ONE_STAGE: list[Family] = ["retinanet", "fcos"]
Targets = list[dict[str, Tensor]]


def detector_of(family: Family, **counts: object) -> Detector:
    return build_detector(tiny(family, **counts), InitSpec(), 3, seed=0)


def annotated(*boxes: Tensor) -> Targets:
    """Labels count from zero here, as inside a one-stage network."""
    return [{"boxes": b, "labels": torch.arange(len(b)) % 3} for b in boxes]


def squares(num: int, side: float = 16.0) -> Tensor:
    """Objects in a row of four and the rows below, 64 x 64 px together at most."""
    lefts = torch.arange(num) % 4 * side
    tops = torch.arange(num) // 4 * side
    return torch.stack([lefts, tops, lefts + side, tops + side], dim=1).float()


def noise(num: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 64, 64, generator=generator) for _ in range(num)]


def numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: loss.item() for name, loss in losses.items()}


def torchvisions_losses(network: Any, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
    """What torchvision's class makes of the same outputs of the same head."""
    batch, resized = network.transform(images, targets)
    features = list(network.backbone(batch.tensors).values())
    outputs, anchors = network.head(features), network.anchor_generator(batch, features)
    losses: dict[str, Tensor]
    if isinstance(network, FCOS):
        sizes = [x.shape[2] * x.shape[3] for x in features]
        network.head.compute_loss = FCOSHead.compute_loss.__get__(network.head)
        losses = FCOS.compute_loss(network, resized, outputs, anchors, sizes)
    else:
        network.head.compute_loss = RetinaNetHead.compute_loss.__get__(network.head)
        # torchvision's smooth_l1 has a beta of 1
        network.head.regression_head._loss_type = network.box_loss.kind
        losses = RetinaNet.compute_loss(network, resized, outputs, anchors)
    return losses


@pytest.mark.parametrize("num_objects", [1, 3, 7])
@pytest.mark.parametrize(
    ("family", "box_loss"),
    [("retinanet", "l1"), ("retinanet", "smooth_l1"), ("retinanet", "giou"), ("fcos", "giou")],
)
def test_one_image_has_torchvisions_losses_and_gradients(
    family: Family, box_loss: BoxLossKind, num_objects: int
) -> None:
    network = detector_of(family, box_loss=box_loss, box_loss_beta=1.0).network
    images, targets = noise(1), annotated(squares(num_objects) + 1.5)

    def losses_and_gradient(losses: dict[str, Tensor]) -> tuple[dict[str, float], Tensor]:
        network.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        grads = [p.grad.flatten().clone() for p in network.parameters() if p.grad is not None]
        return numbers(losses), torch.cat(grads)

    ours, gradient = losses_and_gradient(network(images, targets))
    theirs, expected = losses_and_gradient(torchvisions_losses(network, images, targets))

    assert ours == pytest.approx(theirs, rel=1e-5)
    assert float((gradient - expected).norm() / expected.norm()) < 1e-5


def test_fcos_has_torchvisions_losses_on_any_batch() -> None:
    network = detector_of("fcos").network
    images, targets = noise(3), annotated(squares(7), torch.zeros(0, 4), squares(2, side=30.0))

    ours = network(images, targets)

    theirs = torchvisions_losses(network, images, targets)
    assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-5)


@pytest.mark.parametrize("family", ONE_STAGE)
def test_a_batch_is_the_sum_over_its_images_divided_by_its_foreground(family: Family) -> None:
    """GroupNorm and equal sizes: an image's outputs do not depend on its batch-mates."""
    network = detector_of(family).network
    images, targets = noise(3), annotated(squares(7), torch.zeros(0, 4), squares(1))
    sums: dict[str, float] = {}
    total = 0
    for image, target in zip(images, targets, strict=True):
        alone = network([image], [target])
        [division] = list_divisions(network)
        total += int(division.count)
        for name, loss in alone.items():
            sums[name] = sums.get(name, 0.0) + loss.item() * max(1, int(division.count))

    together = network(images, targets)

    [division] = list_divisions(network)
    assert int(division.count) == total
    assert set(division.names) == set(together)
    for name, loss in together.items():
        assert loss.item() == pytest.approx(sums[name] / total, rel=1e-5), name


def pulls(network: Any, losses_of: Callable[[], dict[str, Tensor]], num_images: int) -> list[float]:
    """Length of the part of a batch's gradient that comes from each of its images."""

    def only(chosen: int) -> Callable[[Any, Any, dict[str, Tensor]], dict[str, Tensor]]:
        """Outputs of the head that have a gradient in one image alone."""
        is_chosen = (torch.arange(num_images) == chosen)[:, None, None]
        return lambda _, __, outputs: {
            name: torch.where(is_chosen, x, x.detach()) for name, x in outputs.items()
        }

    lengths = []
    for chosen in range(num_images):
        network.zero_grad()
        hook = network.head.register_forward_hook(only(chosen))
        torch.stack(list(losses_of().values())).sum().backward()
        hook.remove()
        grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        lengths.append(float(torch.cat(grads).norm()))
    return lengths


def test_an_empty_image_pulls_as_hard_as_its_background_in_any_image() -> None:
    """Every score is 0.2, as after some updates: background is not yet told from objects.

    torchvision divides the background of the empty image by one and takes the mean over two
    images. Here the batch's foreground divides it, as it does the other image's.
    """
    network: Any = detector_of("retinanet", box_loss="l1").network
    nn.init.constant_(network.head.classification_head.cls_logits.bias, math.log(0.2 / 0.8))
    images, targets = noise(2), annotated(torch.zeros(0, 4), squares(7))

    theirs = pulls(network, lambda: torchvisions_losses(network, images, targets), 2)
    empty, seven = pulls(network, lambda: network(images, targets), 2)

    foreground = int(network.num_foreground)
    assert foreground > 7
    assert theirs[0] / empty == pytest.approx(foreground / 2, rel=1e-4)
    assert theirs[1] / seven == pytest.approx(1 / 2, rel=1e-4)
    assert theirs[0] > 3 * theirs[1]
    assert empty < seven


@pytest.mark.parametrize("family", ONE_STAGE)
def test_a_batch_without_objects_is_background_over_one(family: Family) -> None:
    network = detector_of(family).network
    losses = network(noise(2), annotated(torch.zeros(0, 4), torch.zeros(0, 4)))

    torch.stack(list(losses.values())).sum().backward()

    assert losses["classification"].item() > 0
    assert losses["bbox_regression"].item() == 0
    grads = [p.grad for p in network.parameters()]
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads)


SPECS: dict[str, dict[str, object]] = {
    "three levels": {},
    "five levels": {"backbone": "resnet18", "norm": "bn"},
    "searched neck": {"backbone": "resnet18", "norm": "bn", "neck": "bifpn", "neck_repeats": 1},
}


@pytest.mark.parametrize("padded_hw", [(64, 64), (96, 160), (224, 96)])
@pytest.mark.parametrize("levels", SPECS)
@pytest.mark.parametrize("family", ONE_STAGE)
def test_foreground_is_counted_without_running_the_network(
    family: Family, levels: str, padded_hw: tuple[int, int]
) -> None:
    """224 px has 7 cells at stride 32 and 4 at stride 64: levels are rounded up."""
    spec = tiny(family).model_copy(update={"min_side_px": 64, "max_side_px": 999})
    spec = DetectorSpec.model_validate(spec.model_dump() | SPECS[levels])
    detector = build_detector(spec, InitSpec(), 3, seed=0)
    network: Any = detector.network
    targets = annotated(squares(5), torch.zeros(0, 4), squares(1, side=50.0))
    with detector.sizes_as_given():
        network([torch.rand(3, *padded_hw) for _ in targets], targets)

    counted = network.count_foreground(padded_hw, targets)

    assert counted.shape == ()
    assert int(counted) == int(network.num_foreground) > 0


def test_foreground_of_mixed_sizes_adds_up_over_passes() -> None:
    detector = detector_of("retinanet", max_side_px=96)
    sums = detector.loss_sums(
        [torch.rand(3, *t["masks"].shape[1:]) for t in mixed_targets()],
        mixed_targets(),
        seed=0,
        step=0,
    )
    by_size = {(64, 96): mixed_targets()[:2], (96, 96): mixed_targets()[2:]}

    network: Any = detector.network
    counts = [network.count_foreground(hw, targets) for hw, targets in by_size.items()]

    assert {int(d.count) for d in sums.denominators.values()} == {int(sum(counts))}


def test_overlaps_are_torchvisions_with_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 200, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + 1 + torch.rand(2, 200, 2, generator=generator) * 9], -1)
    first, again = (boxes[0].clone().requires_grad_() for _ in range(2))

    ours, theirs = giou_loss(first, boxes[1]), generalized_box_iou_loss(again, boxes[1])
    ours.sum().backward()
    theirs.sum().backward()

    assert torch.allclose(ours, theirs, atol=1e-6)
    assert first.grad is not None
    assert again.grad is not None
    assert torch.allclose(first.grad, again.grad, atol=1e-6)
    assert 0 < int((ours > 1).sum()) < 200  # some pairs lie apart, some overlap
