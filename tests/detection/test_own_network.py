"""Detectors of other code: the page's example, what breaks its contract, and weights of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.own_checks import (
    CHECKS,
    Subject,
    check_own_detector,
    describe_checked,
    draw_pictures,
    place_objects,
)
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.size import count_built_weights
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import InitSpec, Recipe
from tests.detection.own_example import EXAMPLE, MODULE, importable, read_example, small
from tests.detection.tiny_detectors import mixed_pictures, mixed_targets, update

BROKEN = """

class LosesSeed(Cells):
    def losses(self, images, targets, *, seed, step):
        losses = super().losses(images, targets, seed=seed, step=step)
        return {**losses, "noise": torch.tensor(numpy.random.rand())}


class Diverges(Cells):
    def losses(self, images, targets, *, seed, step):
        count = sum(len(target["labels"]) for target in targets)
        losses = super().losses(images, targets, seed=seed, step=step)
        return {**losses, "boxes": losses["boxes"] / count}


class Vector(Cells):
    def losses(self, images, targets, *, seed, step):
        return {"classes": self.predict(images)[0].flatten()}


class Forgets(Cells):
    def __init__(self, spec, num_classes):
        super().__init__(spec, num_classes)
        self.unused = nn.Linear(2, 2)


class Groups(Cells):
    def parameter_groups(self):
        return {"weights": list(self.backbone.parameters()), "norms": []}


class Twice(Cells):
    def parameter_groups(self):
        return {"weights": list(self.parameters()), "norms": [self.scores.bias]}


class DoesNotShare(Shared):
    def losses(self, images, targets, *, seed, step):
        losses, divisions = super().losses(images, targets, seed=seed, step=step)
        return losses, [Division(names=("classes", "boxes"), count=torch.tensor(len(images)))]


class CountsFromZero(Cells):
    def select(self, scores, boxes, image):
        selected = super().select(scores, boxes, image)
        return {**selected, "labels": selected["labels"] - 1}


class LeavesTheImage(Cells):
    def select(self, scores, boxes, image):
        selected = super().select(scores, boxes, image)
        return {**selected, "boxes_xyxy": selected["boxes_xyxy"] * 2}


class WorstFirst(Cells):
    def select(self, scores, boxes, image):
        return {key: value.flip(0) for key, value in super().select(scores, boxes, image).items()}


class LooksAround(Cells):
    def predict(self, images):
        logits, boxes = super().predict(images)
        return logits + logits.mean(dim=0), (boxes + boxes.mean(dim=0)) / 2


class Learns(Cells):
    def detect(self, images):
        self.scores.bias.data += 1
        return super().detect(images)


class Paints(Cells):
    def predict(self, images):
        for image in images:
            image.mul_(0.5)
        return super().predict(images)


class Remembers(Cells):
    def __init__(self, spec, num_classes):
        super().__init__(spec, num_classes)
        self.hidden = torch.rand(())

    def predict(self, images):
        logits, boxes = super().predict(images)
        return logits + self.hidden, boxes


class Counts(Cells):
    def __init__(self, spec, num_classes):
        super().__init__(spec, num_classes)
        self.norm = nn.BatchNorm2d(2)


class NamesNoRows(Cells):
    class_tensors = ()


class ReadsTheNorm(Cells):
    def __init__(self, spec, num_classes):
        super().__init__(spec, num_classes)
        self.norm = spec.norm


class FindsNothing(nn.Module):
    def losses(self, images, targets, *, seed, step):
        return {}


import numpy


for _kind in [*globals().values()]:
    if isinstance(_kind, type) and issubclass(_kind, nn.Module) and _kind.__module__ == __name__:
        def _build(spec, num_classes, kind=_kind):
            return kind(spec, num_classes)
        globals()[f"build_{_kind.__name__}"] = _build
"""
TAKES_SPEC = "build_FindsNothing = lambda spec, num_classes: FindsNothing()\n"


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Iterator[None]:
    with importable(tmp_path, BROKEN + TAKES_SPEC):
        yield


def build(family: str = EXAMPLE, init: InitSpec = InitSpec(), num_classes: int = 3) -> Detector:  # noqa: B008
    return build_detector(small(family), init, num_classes, seed=1)


def test_the_example_of_the_page_is_short_and_keeps_the_contract() -> None:
    assert len([line for line in read_example().splitlines() if line]) <= 42
    rules = list(check_own_detector(describe_checked(EXAMPLE, 64)))
    assert [rule.name for rule in rules] == [*CHECKS]
    assert [rule.shortcoming for rule in rules] == [""] * len(CHECKS)


@pytest.mark.parametrize(
    ("kind", "rule", "shown"),
    [
        ("LosesSeed", "the same seed gives the same losses, bit for bit", "noise differ"),
        ("LosesSeed", "no global generator is used", "losses use numpy.random"),
        ("Diverges", "pictures without objects have finite losses", "boxes is nan"),
        ("Vector", "losses are finite scalars", "classes has the shape"),
        ("Forgets", "gradients reach every trainable parameter", "unused.bias"),
        ("Groups", "every trainable parameter is in one group", "4 trainable parameters are in no"),
        ("Twice", "every trainable parameter is in one group", "in the groups twice"),
        ("DoesNotShare", "losses add up over parts of a batch", "in one pass"),
        ("CountsFromZero", "detections have shapes", "labels from 0 to 2"),
        ("LeavesTheImage", "detections have shapes", "a box outside its image"),
        ("WorstFirst", "detections have shapes", "scores that rise"),
        ("LooksAround", "detections of an image do not depend", "are found again beside others"),
        ("Learns", "detecting changes no weight", "scores.bias changed"),
        ("Paints", "images and boxes stay", "changed in place"),
        ("Remembers", "a state dict and a copy restore it", "differ after loading"),
        ("NamesNoRows", "class_tensors", "lacks network.model.scores.weight"),
    ],
)
def test_a_broken_rule_is_told_by_name(kind: str, rule: str, shown: str) -> None:
    [check] = [function for name, function in CHECKS.items() if name.startswith(rule)]
    spec = small(f"{MODULE}:build_{kind}")
    assert shown in check(Subject(spec, draw_pictures(), place_objects()))


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (f"{MODULE}:build_ReadsTheNorm", "must read no other keys of detector than detections"),
        (f"{MODULE}:build_FindsNothing", "a FindsNothing without detect"),
        (f"{MODULE}:sides_of", "must be built without an error.*TypeError"),
        (f"{MODULE}:nothing", "must be an importable module and a function in it"),
        ("no_such_package:build", "No module named 'no_such_package'"),
    ],
)
def test_what_cannot_be_a_detector_is_refused(family: str, told: str) -> None:
    with pytest.raises(SpecError, match=rf"detector.family {family}: .*{told}"):
        build(family)


def test_labels_count_from_one_and_the_seed_decides_the_draws() -> None:
    detector = build(f"{MODULE}:build_dropping")
    images, targets = mixed_pictures(), mixed_targets()

    def classes(seed: int, step: int) -> Tensor:
        return detector.losses(images, targets, seed=seed, step=step)["classes"]

    state = torch.get_rng_state()
    assert torch.equal(classes(1, 0), classes(1, 0))
    assert not torch.equal(classes(1, 0), classes(1, 1))
    assert not torch.equal(classes(1, 0), classes(2, 0))
    assert torch.equal(torch.get_rng_state(), state)
    assert {int(label) for one in detector.detect(images) for label in one["labels"]} <= {1, 2, 3}


def test_a_file_fills_all_but_the_rows_of_classes(tmp_path: Path) -> None:
    learned = build(num_classes=5)
    update(learned, 2)
    files = {"ours.pt": learned.state_dict(), "its own.pt": learned.network.model.state_dict()}
    for name, state in files.items():
        torch.save(state, tmp_path / name)
        init = InitSpec(source="file", weights=str(tmp_path / name), frozen="backbone")
        started, fresh = build(init=init).state_dict(), build().state_dict()
        for key, value in learned.state_dict().items():
            expected = fresh if ".scores." in key else {key: value}
            assert torch.equal(started[key], expected[key])


def test_a_file_of_another_detector_names_the_difference(tmp_path: Path) -> None:
    torch.save({"boxes.weight": torch.zeros(2)}, tmp_path / "other.pt")
    init = InitSpec(source="file", weights=str(tmp_path / "other.pt"))
    with pytest.raises(SpecError, match="must fill our_detectors:build exactly, but for its rows"):
        build(init=init)


def test_a_frozen_backbone_has_no_gradient_and_never_trains(tmp_path: Path) -> None:
    torch.save(build().state_dict(), tmp_path / "start.pt")
    init = InitSpec(source="file", weights=str(tmp_path / "start.pt"), frozen="backbone")
    detector = build(init=init)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    update(detector, 2)
    changed = {n for n, v in detector.state_dict().items() if not torch.equal(v, before[n])}
    assert {name.split(".")[2] for name in changed} == {"scores", "boxes"}
    assert detector.frozen_parts == ("network.model.backbone",)
    assert not detector.train().drift_part.training


def test_a_backbone_that_trains_again_leaves_out_what_the_detector_keeps_frozen() -> None:
    detector = build()
    kept = detector.network.model.backbone[0].weight.requires_grad_(False)
    trained = [id(p) for p in detector.trainable_parameters()]
    for _ in range(2):
        detector.freeze("backbone")
    assert detector.count_thawed() == sum(p.numel() for p in detector.parameters()) - kept.numel()
    detector.freeze("none")
    assert [id(p) for p in detector.trainable_parameters()] == trained
    assert detector.drift_part.training
    assert detector.frozen_parts == ()


def test_a_detector_without_a_backbone_has_nothing_to_freeze() -> None:
    detector = build(f"{MODULE}:build_nameless")
    assert detector.depths() == {}
    with pytest.raises(SpecError, match="init.frozen: must be none with .*names no backbone"):
        detector.freeze("backbone")


@pytest.mark.parametrize(("kind", "shown"), [("Groups", "4 trainable"), ("Twice", "twice")])
def test_a_run_is_refused_if_a_parameter_would_not_train_or_train_twice(
    kind: str, shown: str
) -> None:
    network = build(f"{MODULE}:build_{kind}").network
    assert isinstance(network, OwnNetwork)
    with pytest.raises(SpecError, match=f"every trainable parameter in one .*{shown}"):
        network.require_usable(Recipe(), 1)


def test_a_counter_of_another_shape_does_not_stop_a_file() -> None:
    """Converted files have counters of shape [1], on which no number depends."""
    network = build(f"{MODULE}:build_Counts").network
    assert isinstance(network, OwnNetwork)
    state = network.model.state_dict()
    network.load_weights({**state, "norm.num_batches_tracked": torch.ones(1)}, "file")
    assert network.model.state_dict()["norm.num_batches_tracked"].shape == ()


def test_weights_are_counted_without_allocating_them() -> None:
    # 3 convolutions and norms (3 -> 16 -> 32 -> 32), heads of 2 classes and of 4 numbers
    layers = (3 * 16 * 9 + 16 + 32) + (16 * 32 * 9 + 32 + 64) + (32 * 32 * 9 + 32 + 64)
    assert count_built_weights(small(), 2) == layers + 6 * (32 * 9 + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "side_px"),
    [
        ("torchvision:ssdlite320_mobilenet_v3_large", None),
        ("torchvision:ssd300_vgg16", None),
        ("transformers:rtdetr_v2_r18vd", 128),
    ],
)
def test_the_detectors_that_ship_keep_the_contract(family: str, side_px: int | None) -> None:
    if family.startswith("transformers:"):
        pytest.importorskip("transformers")
    rules = list(check_own_detector(describe_checked(family, side_px)))
    assert [rule.shortcoming for rule in rules] == [""] * len(CHECKS)
