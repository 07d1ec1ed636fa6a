"""What learns inside a frozen backbone, and that nothing else does."""

import pytest
import torch

from rethink_ray.detection.adapters import Adapter, bottleneck
from rethink_ray.detection.backbones import build_backbone
from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector, parameter_counts
from rethink_ray.detection.drift import backbone_drift, record_origin
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, Norm
from rethink_ray.training.effective_backbone import read_backbone
from tests.builders import micro_recipe
from tests.detection.tiny_detectors import pictures, snapshot, tiny, update


def started(norm: Norm = "bn", adapters: float = 0.25) -> Detector:
    spec = tiny(norm=norm, width=32, adapters=adapters)
    plain = spec.model_copy(update={"adapters": 0.0})
    state = build_classifier(plain, 4, seed=9).backbone_state()
    init = InitSpec(source="upstream", frozen="backbone")
    return build_detector(spec, init, 3, seed=0, weights=state)


@pytest.mark.parametrize("norm", ["gn", "bn", "sync_bn", "frozen_bn"])
def test_exactly_adapters_and_what_stands_above_the_backbone_move(norm: Norm) -> None:
    detector = started(norm)
    before = snapshot(detector)
    start = record_origin(detector.backbone)

    update(detector, 3)  # from the second on the first convolutions have a gradient, too

    for name, value in detector.state_dict().items():
        stays = (".body." in name and ".adapters." not in name) or ".pixel_norm." in name
        assert torch.equal(value, before[name]) == stays, name
    assert backbone_drift(detector.backbone, start) == 0.0


def test_at_the_start_the_features_are_the_frozen_ones() -> None:
    with_adapters, without = started(), started(adapters=0.0)

    maps, frozen = (detector.features(pictures()) for detector in (with_adapters, without))

    assert all(torch.equal(maps[k], frozen[k]) for k in frozen)
    update(with_adapters, 2)
    moved = with_adapters.features(pictures())
    assert not any(torch.equal(moved[k], frozen[k]) for k in frozen)


def test_an_adapter_costs_two_thin_convolutions_per_block() -> None:
    # four blocks of 8, 16, 32 and 32 channels; a quarter of them, at least 4: 4, 4, 8, 8
    plain, adapted = (parameter_counts(started(adapters=share))[0] for share in (0.0, 0.25))

    widths = {(8, 4): 1, (16, 4): 1, (32, 8): 2}
    assert adapted - plain == sum(n * (2 * c * w + w + c) for (c, w), n in widths.items())


@pytest.mark.parametrize(
    ("backbone", "num"),
    [("resnet50", 16), ("efficientnet_b0", 15), ("convnext_t", 21), ("swin_t", 15), ("vgg16", 4)],
)
def test_adapters_stand_behind_every_block(backbone: str, num: int) -> None:
    """ConvNeXt's 18 blocks and 3 halvings; Swin's 12 and 3; VGG has stages only."""
    with torch.device("meta"):
        built = build_backbone(DetectorSpec(backbone=backbone, norm="bn", adapters=0.1))
        maps = built(torch.zeros(1, 3, 64, 64))

    assert sum(isinstance(m, Adapter) for m in built.modules()) == num
    assert [tuple(m.shape[1:2]) for m in maps.values()] == [(c,) for c in built.channels]
    assert read_backbone(built, 0.1)["detector.adapters"] == 0.1
    assert read_backbone(built, 0.9)["detector.adapters"] == pytest.approx(0.1, abs=0.05)


def test_a_bottleneck_has_at_least_four_channels() -> None:
    assert [bottleneck(c, 0.1) for c in (8, 64, 2048)] == [4, 6, 205]


def test_adapters_in_a_backbone_that_learns_are_refused() -> None:
    recipe = micro_recipe(detector__adapters=0.1, init__source="upstream", init__frozen="layer2")

    with pytest.raises(SpecError, match=r"detector.adapters.*Set init.frozen: backbone"):
        check_recipe(recipe, "study.yaml")
