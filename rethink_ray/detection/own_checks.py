"""Checks a detector of other code against its contract, one line for each rule.

Two pictures of different shape with objects of all sizes and one without are shown to it. Two
updates come before the check of gradients, because a layer behind a zero gets its first gradient in
the second.
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.own_network import OwnNetwork
from rethink_ray.detection.tensor_fit import list_few
from rethink_ray.detection.whole_batch import add_sums
from rethink_ray.spec.errors import SpecError, explain, say_error
from rethink_ray.spec.own_families import axes_of
from rethink_ray.spec.recipe import DetectorSpec, InitSpec, Recipe
from rethink_ray.spec.settings import with_settings

NUM_CLASSES = 3
NUM_WITH_OBJECTS = 2
"""Of the three pictures."""
USUAL_SIDE_PX = 128
NUM_UPDATES = 2
LOSS_TOLERANCE = 1e-4
"""Relative difference of a batch's losses from the sum over its parts, in float32."""
BOX_TOLERANCE_PX = 0.01
SCORE_TOLERANCE = 1e-4
"""Largest differences of detections of an image alone and beside others."""
SHARE_FOUND_AGAIN = 0.9
"""Of the detections of an image: random networks have scores so close that the last bits of a sum
decide which of them are kept."""
OBJECT_SHARES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
"""Sides of the objects as shares of the image's, so that every level of a pyramid has one."""


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """One rule of the contract, and what breaks it."""

    name: str
    shortcoming: str
    """What was found instead; empty if the rule holds."""

    @property
    def holds(self) -> bool:
        """Whether nothing breaks the rule."""
        return not self.shortcoming


@dataclass(frozen=True)
class Subject:
    """A detector under test, and the pictures that it is shown."""

    spec: DetectorSpec
    images: tuple[Tensor, ...]
    targets: tuple[Mapping[str, Tensor], ...]

    @cached_property
    def detector(self) -> Detector:
        """One detector for all checks that do not change it."""
        return self.build(seed=1)

    @property
    def network(self) -> OwnNetwork:
        """The wrapped detector of other code."""
        assert isinstance(self.detector.network, OwnNetwork)
        return self.detector.network

    def build(self, seed: int) -> Detector:
        """Builds the detector afresh."""
        return build_detector(self.spec, InitSpec(), NUM_CLASSES, seed=seed)

    def losses(self, step: int = 0, detector: Detector | None = None) -> dict[str, Tensor]:
        """The losses of all pictures."""
        return (detector or self.detector).losses(self.images, self.targets, seed=5, step=step)


def describe_checked(family: str, side_px: int | None = None) -> DetectorSpec:
    """The settings under which a family is checked: all scores count, and its own square.

    Raises:
        SpecError: it is no name of a family, or the name of one of ours.
    """
    named = with_settings(Recipe(), {"detector.family": family}, "check-detector").detector
    axes = axes_of(family)
    if axes is None:
        must = "must be a detector of your own, or one of torchvision: and transformers:"
        remedy = "The families of this program are checked by its tests."
        raise SpecError(explain("check-detector", must, family, remedy))
    side = side_px or axes.square_px or USUAL_SIDE_PX
    sides = {"min_side_px": side, "max_side_px": side, "score_threshold": 0.0}
    return named.model_copy(update=sides)


def check_own_detector(spec: DetectorSpec) -> Iterator[CheckedRule]:
    """Yields each rule of the contract as it is checked.

    Raises:
        SpecError: the detector cannot be built at all.
    """
    subject = Subject(spec, draw_pictures(), place_objects())
    subject.build(seed=1)
    for name, check in CHECKS.items():
        try:
            shortcoming = check(subject)
        except Exception as error:  # other code may raise anything, and the rule is broken
            shortcoming = say_error(error)
        yield CheckedRule(name, shortcoming)


def draw_pictures() -> tuple[Tensor, ...]:
    """Three pictures of noise: landscape, portrait and square."""
    generator = torch.Generator().manual_seed(1)
    sizes_hw = [(96, 160), (160, 96), (128, 128)]
    return tuple(torch.rand(3, *hw, generator=generator) for hw in sizes_hw)


def place_objects() -> tuple[Mapping[str, Tensor], ...]:
    """Objects of all sizes in each of the first two pictures, none in the third."""
    shares = torch.tensor(OBJECT_SHARES)
    labels = torch.arange(len(shares)) % NUM_CLASSES + 1
    targets = []
    for number, image in enumerate(draw_pictures()):
        height, width = image.shape[-2:]
        corners = torch.stack([shares * 0, shares * 0, shares * width, shares * height], dim=1)
        num = len(corners) if number < NUM_WITH_OBJECTS else 0
        image_id = torch.tensor(70 + number)
        targets.append({"boxes": corners[:num], "labels": labels[:num], "image_id": image_id})
    return tuple(targets)


def _name_wrong_losses(losses: Mapping[str, Tensor]) -> str:
    if not losses:
        return "no losses"
    for name, loss in losses.items():
        if loss.dim():
            return f"{name} has the shape {tuple(loss.shape)}"
        if not bool(torch.isfinite(loss)):
            return f"{name} is {float(loss.detach())}"
    return ""


def _returns_finite_scalars(subject: Subject) -> str:
    return _name_wrong_losses(subject.losses())


def _takes_pictures_without_objects(subject: Subject) -> str:
    empty = [{key: v[:0] if v.dim() else v for key, v in t.items()} for t in subject.targets]
    losses = subject.detector.losses(subject.images, empty, seed=5, step=0)
    return _name_wrong_losses(losses)


def _repeats_its_losses(subject: Subject) -> str:
    first, second = (subject.losses(detector=subject.build(seed=1)) for _ in range(2))
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    return f"{list_few(differing)} differ" if differing or first.keys() != second.keys() else ""


def _reaches_every_parameter(subject: Subject) -> str:
    detector = subject.build(seed=1)
    names = {name: p for name, p in detector.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(list(names.values()), lr=1e-4)
    reached: set[str] = set()
    for step in range(NUM_UPDATES):
        optimizer.zero_grad()
        losses = subject.losses(step, detector)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        reached |= {n for n, p in names.items() if p.grad is not None and bool(p.grad.any())}
        if any(p.grad is not None and not p.grad.isfinite().all() for p in names.values()):
            return "a gradient is not finite"
        optimizer.step()
    missing = sorted(names.keys() - reached)
    return f"no gradient in {list_few(missing)}" if missing else ""


def _groups_every_parameter_once(subject: Subject) -> str:
    return subject.network.name_wrong_groups()


def _adds_up_over_parts(subject: Subject) -> str:
    if not subject.network.shares_batches:
        return ""
    whole = subject.detector.loss_sums(subject.images, subject.targets, seed=5, step=0)
    pairs = zip(subject.images, subject.targets, strict=True)
    parts = add_sums(
        [subject.detector.loss_sums([image], [t], seed=5, step=0) for image, t in pairs]
    )
    for name, loss in whole.divide(whole.denominators).items():
        part = parts.divide(parts.denominators)[name]
        if not torch.isclose(part, loss, rtol=LOSS_TOLERANCE, atol=LOSS_TOLERANCE):
            return f"{name} is {loss.item():.6g} in one pass and {part.item():.6g} in three"
    return ""


def _finds_boxes_in_their_form(subject: Subject) -> str:
    detections = subject.detector.detect(subject.images)
    if len(detections) != len(subject.images):
        return f"{len(detections)} entries for {len(subject.images)} images"
    for image, one in zip(subject.images, detections, strict=True):
        boxes, scores, labels = one["boxes_xyxy"], one["scores"], one["labels"]
        if boxes.shape != (len(scores), 4) or labels.shape != scores.shape or scores.dim() != 1:
            shapes = [tuple(x.shape) for x in (boxes, scores, labels)]
            return f"boxes, scores and labels of the shapes {shapes}"
        if labels.dtype != torch.int64 or not boxes.is_floating_point():
            return f"boxes of {boxes.dtype} and labels of {labels.dtype}"
        if shortcoming := _name_wrong_values(one, image):
            return shortcoming
    return ""


def _name_wrong_values(one: Mapping[str, Tensor], image: Tensor) -> str:
    boxes, scores, labels = one["boxes_xyxy"], one["scores"], one["labels"]
    height, width = image.shape[-2:]
    limits = boxes.new_tensor([width, height, width, height])
    if bool(((labels < 1) | (labels > NUM_CLASSES)).any()):
        return f"labels from {int(labels.min())} to {int(labels.max())}"
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        return "a score outside 0..1"
    if bool((scores[1:] > scores[:-1]).any()):
        return "scores that rise"
    outside = (boxes < -BOX_TOLERANCE_PX) | (boxes > limits + BOX_TOLERANCE_PX)  # resizing rounds
    if bool(outside.any()) or not bool(boxes.isfinite().all()):
        return f"a box outside its image of {width} x {height} px"
    return "a box that ends before it begins" if bool((boxes[:, 2:] < boxes[:, :2]).any()) else ""


def _ignores_neighbours(subject: Subject) -> str:
    network = subject.network
    with _evaluating(subject.detector), torch.no_grad():
        [alone] = network([subject.images[0]])
        beside = network(list(subject.images))[0]
    num_alone, num_beside = len(alone["scores"]), len(beside["scores"])
    if not num_alone or not num_beside:
        return f"{num_beside} detections beside others" if num_alone != num_beside else ""
    is_same = (
        (torch.cdist(alone["boxes"], beside["boxes"], p=torch.inf) <= BOX_TOLERANCE_PX)
        & ((alone["scores"][:, None] - beside["scores"]).abs() <= SCORE_TOLERANCE)
        & (alone["labels"][:, None] == beside["labels"])
    )
    num_same = int(is_same.any(dim=1).sum())
    if num_same >= SHARE_FOUND_AGAIN * num_alone:
        return ""
    return f"of {num_alone} detections alone, {num_same} are found again beside others"


def _leaves_its_state(subject: Subject) -> str:
    before = {name: value.clone() for name, value in subject.detector.state_dict().items()}
    subject.detector.detect(subject.images)
    after = subject.detector.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    return f"{list_few(changed)} changed" if changed else ""


def _leaves_its_inputs(subject: Subject) -> str:
    images = [image.clone() for image in subject.images]
    boxes = [target["boxes"].clone() for target in subject.targets]
    subject.losses()
    subject.detector.detect(subject.images)
    is_same = all(map(torch.equal, images, subject.images)) and all(
        torch.equal(then, target["boxes"])
        for then, target in zip(boxes, subject.targets, strict=True)
    )
    return "" if is_same else "images or boxes were changed in place"


def _uses_no_other_generators(subject: Subject) -> str:
    before = _generator_states()
    subject.losses()
    in_losses = [n for n, state in _generator_states().items() if state != before[n]]
    before = _generator_states()
    subject.detector.detect(subject.images)
    in_detect = [n for n, state in _generator_states().items() if state != before[n]]
    shown = [f"losses use {list_few(in_losses)}" if in_losses else ""]
    shown.append(f"detect uses {list_few(in_detect)}" if in_detect else "")
    return "; ".join(part for part in shown if part)


def _generator_states() -> dict[str, object]:
    return {
        "Python's random": random.getstate(),
        "numpy.random": repr(np.random.get_state(legacy=False)["state"]),
        "torch's generator": bytes(torch.get_rng_state().tolist()),
    }


def _survives_a_round_trip(subject: Subject) -> str:
    other = subject.build(seed=2)
    other.load_state_dict(subject.detector.state_dict())
    for copied in (other, copy.deepcopy(subject.detector)):
        pairs = zip(
            subject.detector.detect(subject.images), copied.detect(subject.images), strict=True
        )
        if any(not torch.equal(a[key], b[key]) for a, b in pairs for key in a):
            return "detections differ after loading the state, or in a copy"
    return ""


def _draws_its_weights_from_the_seed(subject: Subject) -> str:
    first, again = (subject.build(seed=1).state_dict() for _ in range(2))
    differing = [name for name, value in first.items() if not torch.equal(value, again[name])]
    return f"{list_few(differing)} differ" if differing else ""


def _names_its_parts(subject: Subject) -> str:
    network = subject.network
    patterns: Sequence[str] = getattr(network.model, "class_tensors", ())
    two = build_detector(subject.spec, InitSpec(), NUM_CLASSES + 1, seed=1).state_dict()
    ours = subject.detector.state_dict()
    prefix = "network.model."
    per_class = [n for n, v in ours.items() if n in two and v.shape != two[n].shape]
    unnamed = [n for n in per_class if not network.is_of_class(n.removeprefix(prefix))]
    if unnamed:
        return f"class_tensors = {list(patterns)} lacks {list_few(unnamed)}"
    unknown = [key for key in network.read_settings() if key not in DetectorSpec.model_fields]
    return f"read_settings names {list_few(unknown)}" if unknown else ""


@contextmanager
def _evaluating(detector: Detector) -> Iterator[None]:
    detector.eval()
    try:
        yield
    finally:
        detector.train()


CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "weights follow from the seed": _draws_its_weights_from_the_seed,
    "losses are finite scalars": _returns_finite_scalars,
    "pictures without objects have finite losses": _takes_pictures_without_objects,
    "the same seed gives the same losses, bit for bit": _repeats_its_losses,
    "gradients reach every trainable parameter": _reaches_every_parameter,
    "every trainable parameter is in one group": _groups_every_parameter_once,
    "losses add up over parts of a batch": _adds_up_over_parts,
    "detections have shapes, scores, labels and boxes inside the image": _finds_boxes_in_their_form,
    "detections of an image do not depend on its neighbours": _ignores_neighbours,
    "detecting changes no weight and no statistic": _leaves_its_state,
    "images and boxes stay as they were": _leaves_its_inputs,
    "no global generator is used": _uses_no_other_generators,
    "a state dict and a copy restore it": _survives_a_round_trip,
    "class_tensors and read_settings name what there is": _names_its_parts,
}
"""Rule -> function that says what breaks it."""
