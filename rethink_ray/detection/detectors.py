"""The detector: losses of images with boxes, and boxes of images, as pure functions.

Labels count from one, as in data sets; a family's own numbering (background, zero-based channels)
does not show outside.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import Backbone, build_backbone
from rethink_ray.detection.families import build_network, list_divisions, set_position
from rethink_ray.detection.freezing import (
    derive_depths,
    freeze,
    list_frozen_above,
    parameter_counts,
    split_by_decay,
)
from rethink_ray.detection.necks import build_pyramid
from rethink_ray.detection.norms import set_frozen_epsilon
from rethink_ray.detection.one_stage import OneStage
from rethink_ray.detection.own_network import OwnNetwork, build_own_network
from rethink_ray.detection.padding import PaddingGroup, Pass, group_into_passes
from rethink_ray.detection.peers import Peers
from rethink_ray.detection.pixel_norm import PixelNorm
from rethink_ray.detection.resize import HeightWidth, Resize, resize_target
from rethink_ray.detection.sampling import SamplePosition
from rethink_ray.detection.weights import load_initial_weights
from rethink_ray.detection.whole_batch import (
    Denominator,
    Denominators,
    LossSums,
    add_sums,
    sum_over_workers,
)
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.recipe import TWO_STAGE, DetectorSpec, Frozen, InitSpec

__all__ = ["Detector", "build_detector", "parameter_counts"]

Target = Mapping[str, Tensor]
"""``boxes: [N, 4] float32 xyxy pixels``, ``labels: [N] int64 from 1``, ``image_id: int64``; for
families that learn them ``masks: [N, H, W] uint8`` and ``keypoints: [N, K, 3] float32``.
``has_mask: [N] bool``: the objects whose mask can be learned from; if it is absent, all.
``peer_hw: [workers, 2] int64``, on the CPU: height and width of the images that the workers have at
this place of their shares; if it is absent, workers that need them exchange them."""
TARGET_FIELDS = ("boxes", "masks", "has_mask", "keypoints")


class Detector(nn.Module):
    """A detector with two methods, ``losses`` and ``detect``, and frozen parts.

    Its network is one of ours, or an ``OwnNetwork`` around a detector of other code.
    """

    def __init__(self, network: nn.Module, *, label_shift: int) -> None:
        """Wraps a network whose first class has the number ``1 - label_shift``."""
        super().__init__()
        self.network = network
        self.label_shift = label_shift
        self.peers: Peers | None = None
        """The workers that share each training batch; ``None``: this process has whole batches."""
        self.padding_group = PaddingGroup(num_images=None)
        """How many images of a training batch are padded to one size."""
        self.images_per_step: int | None = None
        """Largest batch of ``detect`` on a GPU; ``None``: all images of one size."""
        self.sized_by_loader = False
        """Whether training images have their final size already (``augment.short_side_px``)."""
        self.frozen_above: tuple[str, ...] = ()
        """Names of frozen modules of the network above the backbone; set by ``freeze``."""

    @property
    def backbone(self) -> Backbone:
        """The five stages of the network, without the pyramid."""
        body = self.network.get_submodule("backbone.body")
        assert isinstance(body, Backbone)
        return body

    @property
    def pixel_norm(self) -> PixelNorm:
        """Mean, deviation and order of channels of the network's input."""
        return self.input_transform.pixel_norm

    @property
    def drift_part(self) -> nn.Module:
        """The part whose drift is recorded: the backbone, or all of a detector that names none."""
        if isinstance(self.network, OwnNetwork):
            return self.network.backbone_part or self.network.model
        return self.backbone

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Names of the frozen submodules."""
        if isinstance(self.network, OwnNetwork):
            return tuple(f"network.{name}" for name in self.network.frozen_names)
        stages = (f"backbone.body.{name}" for name in self.backbone.frozen_stages)
        return tuple(f"network.{name}" for name in (*stages, *self.frozen_above))

    def freeze(self, upto: Frozen) -> None:
        """Freezes every part up to and including ``upto``; all other parts train.

        A frozen part has no gradient and stays in evaluation mode, so no statistic moves.
        """
        if isinstance(self.network, OwnNetwork):
            self.network.freeze(upto)
            return
        freeze(self.backbone, upto)
        before, self.frozen_above = self.frozen_above, list_frozen_above(self.network, upto)
        for name in {*before, *self.frozen_above}:
            self.network.get_submodule(name).requires_grad_(name not in self.frozen_above)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Detector":
        """Sets the mode of the trainable parts; frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen_above:
            self.network.get_submodule(name).eval()
        return self

    def losses(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target],
        *,
        seed: int,
        step: int,
        denominators: Denominators | None = None,
    ) -> dict[str, Tensor]:
        """Returns the family's losses, each a scalar; training minimises their sum.

        With ``peers`` all workers must call this together. The mean of their losses is the loss of
        the whole batch.

        Args:
            images: ``[3, H, W]`` float32 in 0..1, RGB; sizes may differ.
            targets: boxes may be empty; extra keys are ignored.
            seed: of the trial.
            step: number of the update. Samples depend on seed, step and image ids alone.
            denominators: of the whole batch, if these images are a micro-batch of it.
        """
        sums = self.loss_sums(images, targets, seed=seed, step=step)
        if denominators is None:
            denominators = sum_over_workers(sums.denominators, self.peers)
        return sums.divide(denominators, 1 if self.peers is None else self.peers.world_size)

    def loss_sums(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, seed: int, step: int
    ) -> LossSums:
        """Returns the undivided losses of these images, with their denominators."""
        assert self.training, "losses are taken in training mode"
        with self.sizes_as_given(self.sized_by_loader):
            passes = [
                self._sums_of_pass(
                    [images[number] for number in one.numbers],
                    [targets[number] for number in one.numbers],
                    one.padded_hw,
                    (seed, step),
                )
                for one in self._passes(images, targets)
            ]
        return add_sums(passes)

    @torch.no_grad()
    def count_denominators(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> Denominators | None:
        """Counts the denominators of the losses without running the network.

        This works for one-stage families, which divide by their foreground anchors. Returns
        ``None`` for two-stage families, whose denominators depend on proposals.
        """
        network = self.network
        if not isinstance(network, OneStage):
            return None
        with self.sizes_as_given(self.sized_by_loader):
            counts = [
                network.count_foreground(
                    one.padded_hw,
                    [self._resized_boxes(images[n], targets[n]) for n in one.numbers],
                )
                for one in self._passes(images, targets)
            ]
        total = torch.stack(counts).sum()
        return {name: Denominator(count=total, at_least=1) for name in network.loss_names}

    def _resized_boxes(self, image: Tensor, target: Target) -> dict[str, Tensor]:
        was = (image.shape[-2], image.shape[-1])
        boxes = {"boxes": target["boxes"], "labels": target["labels"] - self.label_shift}
        return resize_target(boxes, was, self.input_transform.resized_hw(*was))

    def _passes(self, images: Sequence[Tensor], targets: Sequence[Target]) -> list[Pass]:
        """Groups images into passes through the network, each with one padded size."""
        padded_hw_from = self.input_transform.padded_hw_from
        everyones: list[HeightWidth] | None = None
        sizes_hw = [padded_hw_from(*image.shape[-2:]) for image in images]
        if all("peer_hw" in target for target in targets):
            by_worker = zip(*(target["peer_hw"].tolist() for target in targets), strict=True)
            everyones = [padded_hw_from(*hw) for worker in by_worker for hw in worker]
        padded = self.padding_group.padded_sizes(sizes_hw, self.peers, everyones)
        return group_into_passes(padded)

    def _sums_of_pass(
        self,
        images: list[Tensor],
        targets: list[Target],
        padded_hw: HeightWidth,
        position: tuple[int, int],
    ) -> LossSums:
        """Returns the loss sums of images of one padded size; ``position`` is (seed, step)."""
        seed, step = position
        image_ids = tuple(int(target["image_id"]) for target in targets)
        position_in_run = SamplePosition(seed=seed, step=step, image_ids=image_ids)
        set_position(self.network, position_in_run)
        inner = [
            {key: target[key] for key in TARGET_FIELDS if key in target}
            | {"labels": target["labels"] - self.label_shift}
            for target in targets
        ]
        with self._padded_to(padded_hw):
            losses: dict[str, Tensor] = self.network(images, inner)
        return LossSums.of(losses, list_divisions(self.network))

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target],
        *,
        seed: int,
        step: int,
        denominators: Denominators | None = None,
    ) -> dict[str, Tensor]:
        """Returns ``losses``; distributed wrappers call this method."""
        return self.losses(images, targets, seed=seed, step=step, denominators=denominators)

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Returns the detections of each image, best first, in the image's own pixels.

        On a CPU each image passes the network alone, so that its detections depend on the image and
        the weights alone, to the last bit. On a GPU images of one padded size share a pass. The
        network is in evaluation mode during the call (``evaluating``).

        Each entry has ``boxes_xyxy: [D, 4]``, ``scores: [D]`` in 0..1 and ``labels: [D]`` from 1.
        Families with masks add ``masks: [D, M, M]`` (probabilities over each box, see
        ``masks.paste_mask``), families with keypoints add ``keypoints: [D, K, 3]`` (x, y, logit).
        """
        detections: list[dict[str, Tensor]] = [{} for _ in images]
        with self.evaluating():
            for numbers in self._group_images(images):
                together = self.network([images[i] for i in numbers])
                for number, one in zip(numbers, together, strict=True):
                    detections[number] = self._rename_outputs(one)
        return detections

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the network is in evaluation mode; afterwards its mode is as before.

        Each change of mode visits every module, so a caller with many batches opens this once
        around all of them. A network that is in evaluation mode already is left alone.
        """
        if not self.training:
            yield
            return
        self.eval()
        try:
            yield
        finally:
            self.train()

    def _group_images(self, images: Sequence[Tensor]) -> list[list[int]]:
        """Groups images that share a forward pass: on a GPU those of one padded size."""
        if not images or images[0].device.type == "cpu":
            return [[number] for number in range(len(images))]
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            by_size.setdefault(self.input_transform.padded_hw_of([image]), []).append(number)
        most = self.images_per_step or len(images)
        return [
            numbers[first : first + most]
            for numbers in by_size.values()
            for first in range(0, len(numbers), most)
        ]

    def _rename_outputs(self, detection: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames torchvision's outputs for one image and shifts its labels."""
        named = {
            "boxes_xyxy": detection["boxes"],
            "scores": detection["scores"],
            "labels": detection["labels"] + self.label_shift,
        }
        return named | {key: detection[key] for key in ("masks", "keypoints") if key in detection}

    @contextmanager
    def sizes_as_given(self, on: bool = True) -> Iterator[None]:
        """Keeps images at the size they have, for the duration of the block."""
        self.input_transform.as_given = on
        try:
            yield
        finally:
            self.input_transform.as_given = False

    @property
    def input_transform(self) -> Resize:
        """The part that resizes, normalises and pads images."""
        transform = self.network.get_submodule("transform")
        assert isinstance(transform, Resize)
        return transform

    @contextmanager
    def _padded_to(self, padded_hw: tuple[int, int] | None) -> Iterator[None]:
        self.input_transform.padded_hw = padded_hw
        try:
            yield
        finally:
            self.input_transform.padded_hw = None

    def features(self, images: Sequence[Tensor]) -> dict[str, Tensor]:
        """Returns the maps ``layer1 .. layer4`` of the images, resized and normalised first."""
        prepared, _ = self.input_transform(list(images))
        maps: dict[str, Tensor] = self.backbone(prepared.tensors)
        return maps

    def count_thawed(self) -> int:
        """Returns the number of weights that train when nothing is frozen any more."""
        if isinstance(self.network, OwnNetwork):
            return self.network.count_thawed()
        return sum(p.numel() for p in self.parameters())

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Returns all trainable parameters, in module order."""
        return [p for p in self.parameters() if p.requires_grad]

    def decayed_and_norm_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Returns the trainable parameters in two groups: non-norm parameters, norm parameters."""
        if isinstance(self.network, OwnNetwork):
            return self.network.group_parameters()
        return split_by_decay(self)

    def depths(self) -> dict[nn.Parameter, int]:
        """Returns the depth of each parameter of the backbone, counted from its output.

        The backbone of a detector of other code counts as one layer.
        """
        if isinstance(self.network, OwnNetwork):
            return dict.fromkeys(self.network.backbone_parameters(), 1)
        return derive_depths(self.backbone)


def build_detector(
    spec: DetectorSpec,
    init: InitSpec,
    num_classes: int,
    *,
    seed: int,
    weights: Mapping[str, Tensor] | None = None,
) -> Detector:
    """Returns a detector that depends on the arguments alone; global generators stay as they are.

    Args:
        spec: the network.
        init: the source of the backbone's weights, their input, and the parts to freeze.
        num_classes: without background.
        seed: draws all weights that ``init`` does not load.
        weights: for ``init.source: upstream``, a classifier's ``backbone_state()``.

    Raises:
        SpecError: the weights do not fit, or a detector that is not ours breaks its contract.
    """
    if is_own(spec.family):
        return _build_own_detector(spec, init, num_classes, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        body = build_backbone(spec)
        network = build_network(spec, build_pyramid(spec, body), num_classes)
    set_frozen_epsilon(network, spec.norm_epsilon)
    pixels = load_initial_weights(body, spec, init, weights)
    detector = Detector(network, label_shift=0 if spec.family in TWO_STAGE else 1)
    detector.pixel_norm.set_input(pixels)
    detector.padding_group = PaddingGroup.of(spec)
    detector.freeze(init.frozen)
    return detector.train()


def _build_own_detector(
    spec: DetectorSpec, init: InitSpec, num_classes: int, seed: int
) -> Detector:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build_own_network(spec, num_classes)
    network.load_start(init)
    detector = Detector(network, label_shift=0)
    detector.freeze(init.frozen)
    return detector.train()
