"""Stages, strides, classifiers and the weights that pass between them."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from rethink_ray.detection.backbones import STAGES, build_backbone
from rethink_ray.detection.classifier import ClassifierNet, build_classifier
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.norms import group_norm
from rethink_ray.detection.weights import load_backbone
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import Backbone, DetectorSpec, InitSpec, Norm


def tiny(norm: Norm = "gn") -> DetectorSpec:
    return DetectorSpec(
        backbone="tiny", norm=norm, width=16, neck_channels=16, min_side_px=64, max_side_px=64
    )


def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("tiny", (16, 32, 64, 64)),
        ("resnet18", (64, 128, 256, 512)),
        ("resnet34", (64, 128, 256, 512)),
        ("resnet50", (256, 512, 1024, 2048)),
        ("resnet101", (256, 512, 1024, 2048)),
        ("resnext101_32x8d", (256, 512, 1024, 2048)),
    ],
)
def test_every_backbone_has_five_stages_down_to_stride_32(
    name: Backbone, channels: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        backbone = build_backbone(DetectorSpec(backbone=name, norm="gn"))
        maps = backbone(torch.zeros(1, 3, 64, 64))

    assert tuple(n for n, _ in backbone.named_children()) == STAGES
    assert backbone.channels == channels
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (c, 64 // s, 64 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 32), (64, 32), (48, 24), (32, 16), (16, 8), (2, 1), (7, 1)]
)
def test_group_norm_has_at_most_32_groups_of_two_channels_or_more(
    channels: int, groups: int
) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize("norm", ["gn", "bn", "frozen_bn", "sync_bn"])
def test_a_detector_sees_what_its_classifier_saw(norm: Norm) -> None:
    """Mean, deviation, channel order and every weight: the maps agree to the last bit."""
    classifier = build_classifier(tiny(norm), 5, seed=1)
    classifier.train()
    classifier(pictures())  # moves the statistics of bn away from their start
    detector = build_detector(
        tiny(norm),
        InitSpec(source="upstream", frozen="backbone"),
        3,
        seed=2,
        weights=classifier.backbone_state(),
    )
    classifier.eval()

    seen = classifier.features(pictures())
    maps = detector.features(list(pictures()))

    if norm == "frozen_bn":  # x * scale + shift rounds differently from (x - mean) * scale
        assert all(torch.allclose(maps[k], seen[k], atol=1e-4) for k in seen)
    else:
        assert all(torch.equal(maps[k], seen[k]) for k in seen)
    logits = classifier.fc(maps["layer4"].mean(dim=(2, 3)))
    assert torch.allclose(logits, classifier(pictures()), atol=1e-4)


def test_a_torchvision_backbone_computes_what_torchvision_computes() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        original = torchvision.models.resnet18(weights=None).eval()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(
                module.running_var, 0.5, 2.0, generator=torch.Generator().manual_seed(0)
            )
    backbone = build_classifier(DetectorSpec(backbone="resnet18", norm="bn"), 2, seed=0).backbone
    load_backbone(backbone, original.state_dict(), "test")

    last = backbone.eval()(pictures())["layer4"]

    assert torch.equal(original.fc(last.mean(dim=(2, 3))), original(pictures()))


@pytest.mark.parametrize("wrap", ["bare", "detector", "torchvision_detector", "ddp", "checkpoint"])
def test_a_file_may_hold_a_classifier_or_a_detector(tmp_path: Path, wrap: str) -> None:
    classifier = build_classifier(tiny("bn"), 5, seed=1)
    state = classifier.backbone_state()
    files = {
        "bare": state,
        "detector": {f"network.backbone.body.{k}": v for k, v in state.items()}
        | {"network.backbone.fpn.inner_blocks.0.0.weight": torch.zeros(1)},
        "torchvision_detector": {
            f"backbone.body.{k.removeprefix('stem.')}": v for k, v in state.items()
        },
        "ddp": {f"module.{k}": v for k, v in classifier.state_dict().items()},
        "checkpoint": {"state_dict": classifier.state_dict()},
    }
    path = tmp_path / "weights.pt"
    torch.save(files[wrap], path)
    init = InitSpec(source="file", weights=str(path), weights_norm="bn")

    detector = build_detector(tiny("bn"), init, 3, seed=0)

    assert all(torch.equal(v, state[k]) for k, v in detector.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("trained", "asked", "named"),
    [
        ("bn", "gn", "left over: layer1.0.bn1.running_mean"),
        ("gn", "bn", "missing: layer1.0.bn1.running_mean"),
        ("gn", "frozen_bn", "missing: layer1.0.bn1.running_mean"),
    ],
)
def test_weights_of_another_norm_are_refused_with_the_remedy(
    trained: Norm, asked: Norm, named: str
) -> None:
    state = build_classifier(tiny(trained), 5, seed=1).backbone_state()

    with pytest.raises(SpecError, match="choose a detector.norm") as caught:
        build_detector(tiny(asked), InitSpec(source="upstream"), 3, seed=0, weights=state)

    assert named in str(caught.value)


def test_weights_of_another_width_are_refused_name_by_name() -> None:
    state = build_classifier(tiny(), 5, seed=1).backbone_state()
    wider = tiny().model_copy(update={"width": 64})

    with pytest.raises(SpecError, match=r"layer1.0.bn1.weight \(8,\) for \(16,\)"):
        build_detector(wider, InitSpec(source="upstream"), 3, seed=0, weights=state)


def test_a_missing_upstream_state_is_an_error_not_random_weights() -> None:
    with pytest.raises(SpecError, match="needs the state of a classifier"):
        build_detector(tiny(), InitSpec(source="upstream"), 3, seed=0)


def test_an_unknown_torchvision_name_lists_the_known_ones() -> None:
    spec = DetectorSpec(backbone="resnet50", norm="bn")
    init = InitSpec(source="torchvision", weights="ResNet18_Weights.IMAGENET1K_V1")
    with torch.device("meta"), pytest.raises(SpecError, match=r"ResNet50_Weights.IMAGENET1K_V1"):
        build_detector(spec, init, 3, seed=0)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_an_unreadable_weights_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    init = InitSpec(source="file", weights=str(path), weights_norm="gn")

    with pytest.raises(SpecError, match="weights.pt"):
        build_detector(tiny(), init, 3, seed=0)


def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"epoch": 3}, path)
    init = InitSpec(source="file", weights=str(path), weights_norm="gn")

    with pytest.raises(SpecError, match="must hold a state dict"):
        build_detector(tiny(), init, 3, seed=0)


def test_a_classifier_follows_from_its_seed() -> None:
    before = torch.get_rng_state()

    first, again = (build_classifier(tiny(), 5, seed=4) for _ in range(2))

    assert isinstance(first, ClassifierNet)
    assert torch.equal(first(pictures()), again(pictures()))
    assert torch.equal(torch.get_rng_state(), before)
