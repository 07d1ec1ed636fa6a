"""torchvision's SSDs as families: their losses, their detections and their weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.ssd import TorchvisionSsd
from rethink_ray.spec.recipe import InitSpec
from tests.detection.own_example import small
from tests.detection.tiny_detectors import mixed_pictures, mixed_targets

SSDLITE = "torchvision:ssdlite320_mobilenet_v3_large"
SSD300 = "torchvision:ssd300_vgg16"


class TinyBackbone(nn.Sequential):
    out_channels = (8,)


@pytest.fixture
def tiny() -> Iterator[TorchvisionSsd]:
    """An SSD of one level: 8 x 8 cells of 8 px with four default boxes each, 16 to 32 px wide."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = TinyBackbone(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
        boxes = DefaultBoxGenerator([[2]], scales=[0.25, 0.5])
        yield TorchvisionSsd(SSD(backbone, boxes, (64, 64), 4), ("head.*",), shares_batches=True)


def test_losses_are_torchvisions_and_divided_by_the_matched_boxes(tiny: TorchvisionSsd) -> None:
    losses, [division] = tiny.losses(mixed_pictures(), mixed_targets(), seed=1, step=0)
    expected = tiny.network(mixed_pictures(), mixed_targets())
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in expected.items()
    }
    assert division.names == tuple(losses)
    assert division.at_least == 1
    counts = []
    for image, target in zip(mixed_pictures(), mixed_targets(), strict=True):
        _, [one] = tiny.losses([image], [target], seed=1, step=0)
        counts.append(int(one.count))
    assert int(division.count) == sum(counts)
    assert counts[2] == 0  # the third picture has no object
    assert min(counts[:2]) >= 2  # every object has at least its best box


def test_detections_are_torchvisions(tiny: TorchvisionSsd) -> None:
    tiny.eval()
    expected = tiny.network(mixed_pictures())
    for one, theirs in zip(tiny.detect(mixed_pictures()), expected, strict=True):
        assert torch.equal(one["boxes_xyxy"], theirs["boxes"])
        assert torch.equal(one["labels"], theirs["labels"])


def start_from_coco(family: str, network: SSD, side_px: int, folder: Path) -> None:
    """A file of torchvision's 91 classes fills all but the heads that have rows for classes."""
    torch.save(network.state_dict(), folder / "coco.pth")
    spec = small(family, side_px)
    init = InitSpec(source="file", weights=str(folder / "coco.pth"))
    started = build_detector(spec, init, 3, seed=0).state_dict()
    fresh = build_detector(spec, InitSpec(), 3, seed=0).state_dict()
    differing = []
    for name, value in network.state_dict().items():
        ours = f"network.model.network.{name}"
        if not torch.equal(started[ours], value):
            differing.append(name)
            assert torch.equal(started[ours], fresh[ours])
    assert differing
    assert all(name.startswith("head.classification_head.module_list") for name in differing)
    assert len(differing) == 2 * 6  # weights and biases of six levels


def test_ssdlite_starts_from_torchvisions_file(tmp_path: Path) -> None:
    network = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    start_from_coco(SSDLITE, network, 320, tmp_path)


@pytest.mark.slow
def test_ssd300_starts_from_torchvisions_file(tmp_path: Path) -> None:
    network = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=91)
    start_from_coco(SSD300, network, 300, tmp_path)
