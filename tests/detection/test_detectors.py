"""What every family does with pixels, labels, seeds and sizes, on the tiny backbone."""

from typing import get_args

import pytest
import torch

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector, parameter_counts
from rethink_ray.detection.masks import paste_mask
from rethink_ray.detection.norms import classifier_norm
from rethink_ray.spec.recipe import (
    WITH_KEYPOINTS,
    WITH_MASKS,
    DetectorSpec,
    Family,
    Frozen,
    InitSpec,
    Norm,
)
from tests.detection.tiny_detectors import (
    annotated,
    pictures,
    snapshot,
    targets,
    tiny,
    total,
    update,
)

FAMILIES = get_args(Family)
NORMS = get_args(Norm)
FROZEN = get_args(Frozen)
LEARNED_FAST: tuple[Family, ...] = ("retinanet", "fcos", "mask_rcnn", "keypoint_rcnn")
"""Families that learn a picture in the fast suite; the others are built of their parts."""


def started(family: Family, norm: Norm, frozen: Frozen) -> Detector:
    """A detector from an upstream classifier's weights, the only start that freezing allows."""
    spec = tiny(family, norm)
    state = build_classifier(spec, 4, seed=9).backbone_state()
    init = InitSpec(source="upstream", frozen=frozen)
    return build_detector(spec, init, 3, seed=0, weights=state)


@pytest.mark.parametrize("frozen", FROZEN)
def test_every_stage_can_be_the_last_that_is_frozen(frozen: Frozen) -> None:
    detector = started("retinanet", "bn", frozen)
    before = snapshot(detector)

    update(detector, 2)

    parts = (*detector.frozen_parts, "network.transform.pixel_norm")
    fixed = tuple(f"{part}." for part in parts)
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(fixed), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", NORMS)
def test_every_trainable_parameter_is_in_exactly_one_group(family: Family, norm: Norm) -> None:
    detector = started(family, norm, "layer1")

    decayed, norms = detector.decayed_and_norm_parameters()

    grouped = {id(p) for p in decayed} | {id(p) for p in norms}
    assert grouped == {id(p) for p in detector.trainable_parameters()}
    assert len(grouped) == len(decayed) + len(norms)
    assert all(p.dim() == 1 for p in norms)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(
    family: Family,
) -> None:
    before = torch.get_rng_state()

    first = build_detector(tiny(family), InitSpec(), 3, seed=7)
    loss = total(first)
    again = build_detector(tiny(family), InitSpec(), 3, seed=7)

    assert torch.equal(loss, total(again))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    other = build_detector(tiny(family), InitSpec(), 3, seed=8)
    assert not torch.equal(total(other), loss)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_dict_restores_losses_and_detections_bit_for_bit(family: Family) -> None:
    trained = started(family, "bn", "stem")
    total(trained)
    restored = started(family, "bn", "stem")
    assert not all(torch.equal(v, restored.state_dict()[k]) for k, v in snapshot(trained).items())

    restored.load_state_dict(snapshot(trained))

    found, again = trained.detect(pictures()), restored.detect(pictures())
    assert all(torch.equal(f[k], a[k]) for f, a in zip(found, again, strict=True) for k in f)
    assert torch.equal(total(trained), total(restored))


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_objects_have_a_finite_loss(family: Family) -> None:
    detector = build_detector(tiny(family), InitSpec(), 3, seed=0)
    nothing = [annotated(torch.zeros(0, 4), [], image_id=i) for i in range(2)]

    for batch in (nothing, [nothing[0], targets()[1]]):
        losses = detector.losses(pictures(), batch, seed=0, step=0)
        assert all(torch.isfinite(value) for value in losses.values())
        sum(losses.values(), torch.tensor(0.0)).backward()


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_under_bfloat16_are_float32_and_close(family: Family) -> None:
    detector = build_detector(tiny(family), InitSpec(), 3, seed=0)

    exact = total(detector)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = total(detector)
    rounded.backward()

    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded, exact, rtol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_detections_are_in_the_images_own_pixels_with_labels_from_one(family: Family) -> None:
    detector = build_detector(tiny(family, score_threshold=0.0), InitSpec(), 3, seed=0)
    wide = torch.rand(3, 100, 200, generator=torch.Generator().manual_seed(0))

    [found] = detector.detect([wide])

    boxes = found["boxes_xyxy"]
    assert detector.training, "the mode is left as it was"
    assert 0 < len(boxes) <= 100
    assert bool((boxes >= 0).all())
    assert bool((boxes[:, 2] <= 200).all())
    assert bool((boxes[:, 3] <= 100).all())
    assert float(boxes[:, 2].max()) > 64, "coordinates are not those of the resized image"
    assert set(found["labels"].tolist()) <= {1, 2, 3}
    assert bool((found["scores"].diff() <= 0).all())


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family in LEARNED_FAST else pytest.mark.slow)
        for family in FAMILIES
    ],
)
def test_a_detector_can_learn_one_picture_by_heart(family: Family) -> None:
    """Labels, boxes and pixels go through training and come out of detection as they went in."""
    detector = build_detector(tiny(family, norm="gn", width=32), InitSpec(), 3, seed=0)
    picture = torch.full((3, 64, 64), 0.5)
    picture[0, 8:32, 8:32] = 1.0
    picture[2, 36:60, 30:54] = 0.0
    boxes = torch.tensor([[8.0, 8.0, 32.0, 32.0], [30.0, 36.0, 54.0, 60.0]])
    wanted = annotated(boxes, [1, 3], image_id=0)
    optimizer = torch.optim.AdamW(detector.trainable_parameters(), lr=3e-3)
    for step in range(100 if family in ("retinanet", "fcos") else 150):
        losses = detector.losses([picture], [wanted], seed=0, step=step)
        optimizer.zero_grad()
        sum(losses.values(), torch.tensor(0.0)).backward()
        optimizer.step()

    [found] = detector.detect([picture])

    order = found["labels"][:2].argsort()
    assert found["labels"][:2][order].tolist() == [1, 3]
    assert torch.allclose(found["boxes_xyxy"][:2][order], wanted["boxes"], atol=4.0)
    if family in WITH_MASKS:
        for i, row in enumerate(order.tolist()):
            mask = paste_mask(found["masks"][row], found["boxes_xyxy"][row], 64, 64)
            both, either = mask & wanted["masks"][i].bool(), mask | wanted["masks"][i].bool()
            assert both.sum() > 0.8 * either.sum()
    if family in WITH_KEYPOINTS:
        points = found["keypoints"][:2][order][:, :2, :2]
        assert torch.allclose(points, wanted["keypoints"][:, :2, :2], atol=3.0)


def test_frozen_stages_stay_in_evaluation_whatever_mode_is_set() -> None:
    detector = started("fcos", "bn", "layer2").train(False).train(True)

    stages = {name: m.training for name, m in detector.backbone.named_children()}

    assert stages == {
        "stem": False,
        "layer1": False,
        "layer2": False,
        "layer3": True,
        "layer4": True,
    }
    assert detector.frozen_parts == tuple(
        f"network.backbone.body.{n}" for n in ("stem", "layer1", "layer2")
    )
    maps = detector.features(pictures())
    assert [maps[f"layer{i}"].requires_grad for i in (1, 2, 3, 4)] == [False, False, True, True]


def test_outside_a_process_group_synchronised_norm_is_ordinary_norm() -> None:
    plain, synced = started("retinanet", "bn", "none"), started("retinanet", "sync_bn", "none")
    synced.load_state_dict(plain.state_dict())

    assert torch.equal(total(plain), total(synced))
    assert classifier_norm("frozen_bn") == "bn"


def test_an_image_of_the_target_size_is_not_resampled() -> None:
    detector = build_detector(tiny(), InitSpec(), 3, seed=0)
    picture = pictures(1)[0]

    prepared, _ = detector.network.get_submodule("transform")([picture], None)

    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert torch.equal(prepared.tensors[0], (picture - mean) / std)


@pytest.mark.parametrize(
    ("settings", "num_classes", "expected"),
    [
        # documented counts of torchvision's fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn and
        # fcos_resnet50_fpn; their frozen norms are buffers there as here
        ({"family": "faster_rcnn", "norm": "frozen_bn", "head_convs": 0}, 90, 41_755_286),
        ({"family": "retinanet", "norm": "frozen_bn"}, 91, 34_014_999),
        # maskrcnn_resnet50_fpn and keypointrcnn_resnet50_fpn: the latter finds one class
        ({"family": "mask_rcnn", "norm": "frozen_bn", "box_head": "2fc"}, 90, 44_401_393),
        ({"family": "keypoint_rcnn", "norm": "frozen_bn", "box_head": "2fc"}, 1, 59_137_258),
        ({"family": "fcos", "norm": "frozen_bn"}, 91, 32_269_600),
        # fasterrcnn_resnet50_fpn_v2 (43,712,278) has a second 3x3 convolution in its proposal head
        ({"family": "faster_rcnn", "norm": "bn"}, 90, 43_712_278 - 256 * (256 * 9 + 1)),
    ],
)
def test_a_resnet50_detector_has_as_many_parameters_as_torchvisions(
    settings: dict[str, object], num_classes: int, expected: int
) -> None:
    spec = DetectorSpec.model_validate(settings)
    with torch.device("meta"):
        detector = build_detector(spec, InitSpec(), num_classes, seed=0)

    assert parameter_counts(detector) == (expected, expected)


def test_a_frozen_backbone_counts_as_parameters_but_not_as_trained() -> None:
    free, frozen = started("retinanet", "gn", "none"), started("retinanet", "gn", "backbone")
    body = sum(p.numel() for p in free.backbone.parameters())

    trained, everything = parameter_counts(free)

    assert trained == everything
    assert parameter_counts(frozen) == (everything - body, everything)


def test_what_a_box_is_pooled_from_does_not_depend_on_the_images_seen_first() -> None:
    # 40 px padded to 64: torchvision would take the strides for half of what they are
    spec = tiny("faster_rcnn", min_side_px=16, max_side_px=64)
    fresh, used = (build_detector(spec, InitSpec(), 3, seed=0) for _ in range(2))
    used.detect([torch.zeros(3, 40, 40)])
    for detector in (fresh, used):
        pool = detector.network.get_submodule("roi_heads.box_roi_pool")
        assert pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    first, second = (detector.detect(pictures(1))[0] for detector in (fresh, used))
    assert torch.equal(first["boxes_xyxy"], second["boxes_xyxy"])
