"""The input of a network: a frozen backbone sees what its classifier saw."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.pixel_norm import (
    PixelNorm,
    input_of_torchvision,
    require_stated_input,
)
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.networks import BACKBONES, from_torchvision
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.recipe import DetectorSpec, InitSpec
from rethink_ray.training.checkpoint import save_checkpoint
from tests.golden_words import assert_says

DETECTRON = InputSpec(
    mean=(102.9801, 115.9465, 122.7717), std=(1.0, 1.0, 1.0), order="bgr", scale=255
)
DETECTRON_IN_ONES = InputSpec(
    mean=(102.9801 / 255, 115.9465 / 255, 122.7717 / 255), std=(1 / 255,) * 3, order="bgr"
)
HALF = InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def drawn(build: Any) -> nn.Module:
    """A classifier of seeded weights, its statistics those of two pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net: nn.Module = build()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            net(pictures())
    return net.eval().requires_grad_(False)


def spec(backbone: str) -> DetectorSpec:
    return DetectorSpec(
        backbone=backbone,
        norm="bn",
        neck_channels=16,
        head_convs=1,
        min_side_px=64,
        max_side_px=64,
    )


def tiny() -> DetectorSpec:
    return spec("tiny").model_copy(update={"width": 16})


def layer4(detector: Detector) -> Tensor:
    with torch.no_grad():
        return detector.features(list(pictures()))["layer4"]


def differ(logits: Tensor, expected: Tensor) -> float:
    """The largest difference, in deviations of the logits."""
    return float((logits - expected).abs().max() / expected.std())


def test_one_pixel_by_pencil() -> None:
    """Orange has R 1.0, G 0.5, B 0.0; in BGR of 0 to 255 that is 0, 127.5, 255."""
    orange = torch.tensor([1.0, 0.5, 0.0])[:, None, None]

    bgr = PixelNorm(DETECTRON)(orange).flatten()
    half = PixelNorm(HALF)(orange).flatten()

    assert bgr.tolist() == pytest.approx([-102.9801, 127.5 - 115.9465, 255 - 122.7717], rel=1e-5)
    assert half.tolist() == [1.0, 0.0, -1.0]


def test_torchvisions_weights_bring_the_input_of_their_transforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    original: Any = drawn(torchvision.models.resnet18)
    fetched = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    fetched.parent.mkdir(parents=True)
    torch.save(original.state_dict(), fetched)
    init = InitSpec(source="torchvision", weights="IMAGENET1K_V1", frozen="backbone")

    detector = build_detector(spec("resnet18"), init, 3, seed=0)

    transforms = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(x)[:, None, None] for x in (transforms.mean, transforms.std))
    logits = original((pictures() - mean) / std)
    assert differ(original.fc(layer4(detector).mean(dim=(2, 3))), logits) < 1e-4


def test_two_weights_of_one_torchvision_network_may_differ_in_their_input() -> None:
    """VGG-16's features alone were trained on pixels of 0 to 255 without a deviation."""
    weights = torchvision.models.VGG16_Weights

    assert input_of_torchvision(weights.IMAGENET1K_V1) == IMAGENET
    features = input_of_torchvision(weights.IMAGENET1K_FEATURES)
    assert features.std == pytest.approx((1 / 255,) * 3)
    assert [255 * x for x in features.mean] == pytest.approx([123, 117, 104], abs=0.01)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_torchvisions_weights_of_other_backbones_have_imagenets_input(backbone: str) -> None:
    """Rules of the spec rest on it: they know the input of a teacher without torchvision."""
    model = from_torchvision(backbone)
    for weights in torchvision.models.get_model_weights(model) if model else ():
        is_known = backbone != "vgg16" or weights.name == "IMAGENET1K_V1"
        assert input_of_torchvision(weights).is_same(IMAGENET) == is_known


@pytest.mark.parametrize("stated", [None, DETECTRON, DETECTRON_IN_ONES], ids=str)
def test_a_file_of_ours_has_one_input_that_no_recipe_overrides(
    stated: InputSpec | None, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pt"
    taught = build_detector(tiny(), InitSpec(input=DETECTRON), 3, seed=0)
    save_checkpoint(path, {"model": taught.state_dict()})
    init = InitSpec(source="file", weights=str(path), weights_norm="bn", input=stated)
    assert build_detector(tiny(), init, 3, seed=1).pixel_norm.is_set_to(DETECTRON)
    with pytest.raises(SpecError, match="init.input: must be that of the weights it starts from"):
        build_detector(tiny(), init.model_copy(update={"input": IMAGENET}), 3, seed=1)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("tf_efficientnet_lite0.in1k", HALF), ("efficientnet_lite0.ra_in1k", IMAGENET)],
)
def test_timms_weights_bring_the_input_of_their_tag(
    name: str, pixels: InputSpec, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    original: Any = drawn(lambda: timm.create_model(name, pretrained=False))
    path = tmp_path / "lite0.pth"
    torch.save(original.state_dict(), path)
    init = InitSpec(source="file", weights=str(path), weights_norm="bn", frozen="backbone")

    detector = build_detector(spec(f"timm:{name}"), init, 3, seed=0)

    config = timm.data.resolve_data_config({}, model=original)
    assert (config["mean"], config["std"]) == (pixels.mean, pixels.std)
    mean, std = (torch.tensor(config[x])[:, None, None] for x in ("mean", "std"))
    last = layer4(detector)
    with torch.no_grad():
        logits = original((pictures() - mean) / std)
        again = original.forward_head(original.bn2(original.conv_head(last)))
    assert differ(again, logits) < 1e-3
    assert detector.pixel_norm.read_input() == pixels
    untagged = spec("timm:" + name.partition(".")[0])
    with pytest.raises(SpecError, match="init.input: must say how the pixels of"):
        build_detector(untagged, init, 3, seed=0)


def test_a_tag_that_timm_does_not_know_is_refused() -> None:
    pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    with pytest.raises(SpecError, match="Invalid pretrained tag"):
        build_detector(spec("timm:efficientnet_lite0.never"), InitSpec(), 3, seed=0)


def test_a_bgr_file_of_0_to_255_keeps_its_classifiers_logits(tmp_path: Path) -> None:
    original: Any = drawn(torchvision.models.resnet18)
    path = tmp_path / "caffe2.pth"
    torch.save(original.state_dict(), path)
    init = InitSpec(source="file", weights=str(path), weights_norm="bn", frozen="backbone")
    stated = init.model_copy(update={"input": DETECTRON})

    detector = build_detector(spec("resnet18"), stated, 3, seed=0)

    bgr = 255 * pictures().flip(1) - torch.tensor(DETECTRON.mean)[:, None, None]
    with torch.no_grad():
        logits = original(bgr)
        again = original.fc(layer4(detector).mean(dim=(2, 3)))
    assert differ(again, logits) < 1e-3
    imagenet = init.model_copy(update={"input": IMAGENET})
    wrong = layer4(build_detector(spec("resnet18"), imagenet, 3, seed=0))
    assert differ(original.fc(wrong.mean(dim=(2, 3))), logits) > 0.1


def test_a_file_of_unknown_origin_asks_for_its_input(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(build_classifier(tiny(), 5, seed=1).backbone_state(), path)
    init = InitSpec(source="file", weights=str(path), weights_norm="bn")

    with pytest.raises(SpecError) as refused:
        build_detector(tiny(), init, 3, seed=0)

    text = str(refused.value).replace(str(path), "FILE")
    assert_says("detection", "file of unknown input", text)


@pytest.mark.parametrize("is_older", [False, True])
def test_a_model_of_ours_brings_its_own_input(tmp_path: Path, is_older: bool) -> None:
    """A model of version 0.1 has no such tensors: its input was ImageNet's."""
    first = build_detector(tiny(), InitSpec(input=DETECTRON), 3, seed=1)
    state = {k: v for k, v in first.state_dict().items() if not is_older or "pixel_norm" not in k}
    path = tmp_path / "model.pt"
    save_checkpoint(path, {"model": state, "categories": ["a"], "length": 2.0})
    init = InitSpec(source="file", weights=str(path), weights_norm="bn")

    detector = build_detector(tiny(), init, 3, seed=0)

    assert detector.pixel_norm.is_set_to(IMAGENET if is_older else DETECTRON)
    assert torch.equal(layer4(detector.eval()), layer4(first.eval())) != is_older


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_input_travels_with_a_whole_detector(is_ours: bool) -> None:
    first = build_detector(tiny(), InitSpec(input=DETECTRON), 3, seed=1).eval()
    state = {k: v for k, v in first.state_dict().items() if is_ours or "pixel_norm" not in k}
    second = build_detector(tiny(), InitSpec(), 3, seed=0).eval()

    load_whole_detector(second, state, "test")

    assert second.pixel_norm.is_set_to(DETECTRON if is_ours else IMAGENET)
    third = build_detector(tiny(), InitSpec(), 3, seed=0).eval()
    third.load_state_dict(state)
    assert torch.equal(layer4(second), layer4(third))


def test_a_stated_input_must_be_that_of_the_loaded_weights() -> None:
    norm = build_detector(tiny(), InitSpec(input=DETECTRON), 3, seed=1).pixel_norm
    same = InputSpec(
        mean=(102.9801 / 255, 115.9465 / 255, 122.7717 / 255), std=(1 / 255,) * 3, order="bgr"
    )

    require_stated_input(norm.read_input(), None, "init.input")
    require_stated_input(norm.read_input(), same, "init.input")
    with pytest.raises(SpecError) as refused:
        require_stated_input(norm.read_input(), HALF, "init.input")
    assert_says("detection", "another input than that of the weights", str(refused.value))


def test_scratch_and_a_classifier_trained_here_keep_imagenets_input_unless_told() -> None:
    assert build_detector(tiny(), InitSpec(), 3, seed=0).pixel_norm.is_set_to(IMAGENET)
    state = build_classifier(tiny(), 4, seed=9, pixels=HALF).backbone_state()
    init = InitSpec(source="upstream", input=HALF, frozen="backbone")

    detector = build_detector(tiny(), init, 3, seed=0, weights=state)

    classifier = build_classifier(tiny(), 4, seed=9, pixels=HALF).eval()
    assert torch.equal(layer4(detector), classifier.features(pictures())["layer4"])
