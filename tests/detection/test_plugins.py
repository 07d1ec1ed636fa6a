"""Backbones of others: a function in a package, and timm's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rethink_ray.detection.backbones import STAGES, build_backbone
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.weights import load_backbone
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, Norm
from rethink_ray.training.effective_backbone import name_of, norm_of

MODULE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, strides, channels):
        super().__init__()
        self.channels = channels
        inputs = (3, 4, *channels[:3])
        outputs = (4, *channels)
        for name, i, o, s in zip(["stem", "layer1", "layer2", "layer3", "layer4"],
                                 inputs, outputs, strides):
            conv = nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False)
            self.add_module(name, nn.Sequential(conv, nn.BatchNorm2d(o, eps=0.01), nn.ReLU()))


def build(spec):
    return Net((2, 2, 2, 2, 2), (4, 8, 8, spec.width))


def coarse(spec):
    return Net((4, 2, 2, 2, 2), (4, 8, 8, 8))


def headless(spec):
    return nn.Conv2d(3, 3, 1)


class SquareAlone(nn.Conv2d):
    def forward(self, x):
        assert x.shape[-1] == x.shape[-2], "squares alone"
        return super().forward(x)


def for_one_size(spec):
    net = build(spec)
    net.layer1 = SquareAlone(4, 4, 3, stride=2, padding=1)
    return net


def breaks(spec):
    net = build(spec)
    net.layer2 = nn.Linear(1, 1)
    return net
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "our_nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("our_nets", None)


def spec(name: str, norm: Norm = "bn") -> DetectorSpec:
    return DetectorSpec(
        backbone=name, norm=norm, width=16, neck_channels=16, min_side_px=64, max_side_px=64
    )


@pytest.mark.parametrize("norm", ["gn", "bn", "sync_bn", "frozen_bn"])
def test_a_function_in_a_package_is_a_backbone(norm: Norm) -> None:
    backbone = build_backbone(spec("our_nets:build", norm))

    maps = backbone(torch.zeros(1, 3, 64, 64))

    assert tuple(n for n, _ in backbone.named_children()) == STAGES
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (4, 16, 16),
        (8, 8, 8),
        (8, 4, 4),
        (16, 2, 2),
    ]
    assert (name_of(backbone), norm_of(backbone)) == ("our_nets:build", norm)
    assert backbone.training


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("our_nets:coarse", r"layer1 \(stride 4\), but got \[1, 4, 28, 28\]"),
        ("our_nets:headless", "no stem, layer1, layer2, layer3, layer4"),
        ("our_nets:breaks", "must run on a blank image of 224 x 224"),
        ("our_nets:for_one_size", "must run on a blank image of 256 x 320"),
        ("our_nets:nothing", "has no attribute 'nothing'"),
        ("no_such_package:build", "No module named 'no_such_package'"),
    ],
)
def test_what_breaks_the_contract_is_refused_by_name(name: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        build_backbone(spec(name))


def test_the_stages_of_such_a_backbone_freeze_and_learn_like_any() -> None:
    state = build_backbone(spec("our_nets:build")).state_dict()
    init = InitSpec(source="upstream", frozen="layer2")

    detector = build_detector(spec("our_nets:build"), init, 3, seed=0, weights=state)

    moving = {
        name.split(".")[0] for name, p in detector.backbone.named_parameters() if p.requires_grad
    }
    assert moving == {"layer3", "layer4"}


@pytest.mark.parametrize(
    "name", ["resnet50x", "our_nets", "timm:", "a b:build", ":build", "our_nets:"]
)
def test_an_unknown_backbone_names_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match="must be a backbone"):
        DetectorSpec(backbone=name)


def test_the_nearest_name_is_proposed() -> None:
    with pytest.raises(ValueError, match="did you mean 'resnet50'"):
        DetectorSpec(backbone="resnet_50")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("timm:resnet18", (64, 128, 256, 512)),
        ("timm:regnety_002", (24, 56, 152, 368)),
        ("timm:convnext_atto", (40, 80, 160, 320)),
        ("timm:efficientnet_b0", (24, 40, 112, 320)),
        ("timm:swin_tiny_patch4_window7_224", (96, 192, 384, 768)),
        ("timm:densenet121", (256, 512, 1024, 1024)),
    ],
)
def test_timms_networks_are_backbones_and_take_timms_weights(
    name: str, channels: tuple[int, ...]
) -> None:
    timm = pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    with torch.device("meta"):
        backbone = build_backbone(spec(name))
        original = timm.create_model(name.removeprefix("timm:"), pretrained=False)
    assert backbone.channels == channels
    backbone.to_empty(device="cpu")

    state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in original.state_dict().items()}
    load_backbone(backbone, state, "test")

    assert name_of(backbone) == name
    assert not any(value.any() for value in backbone.state_dict().values())


def test_a_network_of_timm_without_four_maps_is_refused() -> None:
    pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    with pytest.raises(SpecError, match="maps at strides 4, 8, 16 and 32"):
        build_backbone(spec("timm:no_such_network"))
