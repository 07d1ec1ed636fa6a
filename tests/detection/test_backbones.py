"""Stages, strides, classifiers and the weights that pass between them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from rethink_ray.detection.backbones import STAGES, build_backbone
from rethink_ray.detection.classifier import ClassifierNet, build_classifier
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.freezing import freeze
from rethink_ray.detection.norms import group_norm
from rethink_ray.detection.published_weights import torchvision_weights
from rethink_ray.detection.weights import load_backbone
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import load_study
from rethink_ray.spec.networks import (
    BACKBONES,
    WEIGHTS_OF_TORCHVISION,
    from_torchvision,
    names_weights_of_torchvision,
)
from rethink_ray.spec.pixel_input import IMAGENET
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, Norm
from rethink_ray.spec.resolve import base_recipe, cells_of
from rethink_ray.spec.shipped import shipped_studies
from rethink_ray.training.effective_backbone import name_of, norm_of
from tests.golden_words import assert_says


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
        ("resnet152", (256, 512, 1024, 2048)),
        ("resnext101_32x8d", (256, 512, 1024, 2048)),
        ("resnext152_32x8d", (256, 512, 1024, 2048)),
        ("efficientnet_b0", (24, 40, 112, 320)),
        ("efficientnet_b7", (48, 80, 224, 640)),
        ("swin_t", (96, 192, 384, 768)),
        ("convnext_t", (96, 192, 384, 768)),
        ("vgg16", (256, 512, 512, 512)),
    ],
)
def test_every_backbone_has_five_stages_down_to_stride_32(
    name: str, channels: tuple[int, ...]
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


def original_of(name: str) -> nn.Module:
    """torchvision's classifier, its statistics those of two pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        original: nn.Module = getattr(torchvision.models, name)(weights=None)
        for module in original.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            original(pictures())
    return original.eval()


LOGITS_FROM_LAYER4: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "resnet18": lambda net, x: net.fc(x.mean(dim=(2, 3))),
    "efficientnet_b0": lambda net, x: net.classifier(net.features[8](x).mean(dim=(2, 3))),
    "vgg16": lambda net, x: net.classifier(net.avgpool(x).flatten(1)),
    # our map is normalised, without the classifier's scale and shift
    "swin_t": lambda net, x: net.head(x.mean(dim=(2, 3)) * net.norm.weight + net.norm.bias),
}


@pytest.mark.parametrize("name", LOGITS_FROM_LAYER4)
def test_a_frozen_backbone_computes_what_torchvisions_classifier_computes(name: str) -> None:
    """Every weight, epsilon, mean, deviation and the order of channels: the logits agree."""
    original = original_of(name)
    spec = DetectorSpec(backbone=name, norm="bn", min_side_px=64, max_side_px=64)
    with torch.device("meta"):
        detector = build_detector(spec, InitSpec(), 3, seed=0)
    body = detector.backbone.to_empty(device="cpu")
    for buffers in (m for m in body.modules() if hasattr(m, "num_batches_tracked")):
        buffers.num_batches_tracked = torch.tensor(0)
    load_backbone(body, original.state_dict(), "test")
    freeze(body, "backbone")

    last = detector.features(list(pictures()))["layer4"]

    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        logits = original((pictures() - mean) / std)
        again = LOGITS_FROM_LAYER4[name](original, last)
    assert float((again - logits).abs().max() / logits.std()) < 1e-3
    assert float((logits[0] - logits[1]).std()) > 1e-4, "the same for all pictures proves nothing"


def test_convnexts_maps_are_its_stages_normalised_over_channels() -> None:
    """Its classifier pools before it normalises, so maps are held against its own stages."""
    original = original_of("convnext_tiny")
    spec = DetectorSpec(backbone="convnext_t")
    with torch.device("meta"):
        body = build_backbone(spec)
    load_backbone(body.to_empty(device="cpu"), original.state_dict(), "test")

    maps = body.eval()(pictures())

    raw = original.features(pictures())
    normal = (raw - raw.mean(1, keepdim=True)) / raw.var(1, keepdim=True, correction=0).sqrt()
    assert torch.allclose(maps["layer4"], normal, atol=1e-3)
    assert tuple(maps["layer1"].shape) == (2, 96, 16, 16)


@pytest.mark.parametrize("norm", ["gn", "bn", "sync_bn", "frozen_bn"])
def test_the_norm_of_efficientnet_gives_way_with_its_own_epsilon(norm: Norm) -> None:
    with torch.device("meta"):
        backbone = build_backbone(DetectorSpec(backbone="efficientnet_b5", norm=norm))

    assert norm_of(backbone) == norm
    epsilons = {m.eps for m in backbone.modules() if hasattr(m, "eps")}
    assert epsilons == ({1e-5} if norm == "gn" else {1e-3})


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_is_known_by_its_structure(name: str) -> None:
    with torch.device("meta"):
        assert name_of(build_backbone(DetectorSpec(backbone=name, norm="gn"))) == name


@pytest.mark.parametrize("name", ["swin_t", "convnext_t", "vgg16"])
def test_networks_with_norms_of_their_own_take_the_asked_one_above_them(name: str) -> None:
    spec = DetectorSpec(backbone=name, norm="gn", neck_channels=32)
    with torch.device("meta"):
        detector = build_detector(spec, InitSpec(), 3, seed=0)

    assert norm_of(detector.backbone, [detector.network.get_submodule("backbone.fpn")]) == "gn"
    assert not any(isinstance(m, nn.GroupNorm) for m in detector.backbone.modules())


WRAPS = ["bare", "detector", "torchvision_detector", "ddp", "checkpoint", "moco", "dino", "mmdet"]


@pytest.mark.parametrize("wrap", WRAPS)
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
        "moco": {
            "epoch": 200,
            "state_dict": {
                f"module.encoder_{side}.{k.removeprefix('stem.')}": v + (side == "k")
                for side in "kq"
                for k, v in state.items()
            }
            | {"module.encoder_q.fc.0.weight": torch.zeros(1), "module.queue": torch.zeros(2)},
        },
        "dino": {
            side: {f"module.backbone.{k}": v + (side == "student") for k, v in state.items()}
            | {"module.head.mlp.0.weight": torch.zeros(1)}
            for side in ("student", "teacher")
        },
        "mmdet": {
            "meta": {},
            "state_dict": {f"backbone.{k.removeprefix('stem.')}": v for k, v in state.items()}
            | {"neck.lateral_convs.0.conv.weight": torch.zeros(1)},
        },
    }
    path = tmp_path / "weights.pt"
    torch.save(files[wrap], path)
    init = InitSpec(source="file", weights=str(path), weights_norm="bn", input=IMAGENET)

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

    with pytest.raises(SpecError, match="detector.norm") as refused:
        build_detector(tiny(asked), InitSpec(source="upstream"), 3, seed=0, weights=state)

    assert named in str(refused.value)
    assert_says("detection", f"{trained} weights in a {asked} detector", str(refused.value))


def test_weights_of_another_width_are_refused_name_by_name() -> None:
    state = build_classifier(tiny(), 5, seed=1).backbone_state()
    wider = tiny().model_copy(update={"width": 64})

    with pytest.raises(SpecError, match=r"layer1.0.bn1.weight \(8,\) for \(16,\)"):
        build_detector(wider, InitSpec(source="upstream"), 3, seed=0, weights=state)


def test_a_missing_upstream_state_is_an_error_not_random_weights() -> None:
    with pytest.raises(SpecError, match="init.source") as refused:
        build_detector(tiny(), InitSpec(source="upstream"), 3, seed=0)
    assert_says("detection", "upstream without a classifier", str(refused.value))


def test_an_unknown_torchvision_name_lists_the_known_ones() -> None:
    spec = DetectorSpec(backbone="resnet50", norm="bn")
    init = InitSpec(source="torchvision", weights="ResNet18_Weights.IMAGENET1K_V1")
    with torch.device("meta"), pytest.raises(SpecError, match=r"ResNet50_Weights.IMAGENET1K_V1"):
        build_detector(spec, init, 3, seed=0)


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"])
def test_torchvision_weights_go_by_their_full_name_or_what_follows_the_dot(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the studies that ship name them; the file lies where torch keeps what it has fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = torchvision.models.resnet18(weights=None).state_dict()
    fetched = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    fetched.parent.mkdir(parents=True)
    torch.save(state, fetched)
    spec = DetectorSpec(backbone="resnet18", norm="bn", neck_channels=16, head_convs=1)

    detector = build_detector(spec, InitSpec(source="torchvision", weights=name), 3, seed=0)

    assert torch.equal(detector.backbone.state_dict()["stem.conv1.weight"], state["conv1.weight"])


def test_the_names_that_a_study_may_say_are_torchvisions() -> None:
    for backbone, names in WEIGHTS_OF_TORCHVISION.items():
        weights = torchvision.models.get_model_weights(from_torchvision(backbone))
        assert [one.name for one in weights] == list(names)
        for one in weights:
            assert names_weights_of_torchvision(backbone, one.name)
            assert names_weights_of_torchvision(backbone, str(one))
    assert WEIGHTS_OF_TORCHVISION.keys() == {name for name in BACKBONES if from_torchvision(name)}
    assert not names_weights_of_torchvision("resnet50", "ResNet18_Weights.IMAGENET1K_V1")


@pytest.mark.parametrize("study", shipped_studies().values(), ids=lambda path: path.stem)
def test_torchvision_knows_the_weights_that_a_shipped_study_names(study: Path) -> None:
    parsed, _ = load_study(study)
    for cell in cells_of(parsed):
        recipe = base_recipe(parsed, cell)
        if recipe.init.source == "torchvision":
            weights = torchvision_weights(recipe.detector.backbone, recipe.init.weights)
            assert weights.url.startswith("https://")


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


def test_zero_init_residual_starts_every_block_as_its_shortcut() -> None:
    built = {
        flag: build_detector(tiny(), InitSpec(zero_init_residual=flag), 3, seed=0).backbone
        for flag in (False, True)
    }

    assert not built[True].state_dict()["layer2.0.bn2.weight"].any()
    assert built[False].state_dict()["layer2.0.bn2.weight"].all()
    others = [k for k, _ in built[True].named_parameters() if not k.endswith(".0.bn2.weight")]
    assert all(
        torch.equal(built[True].get_parameter(k), built[False].get_parameter(k)) for k in others
    )
