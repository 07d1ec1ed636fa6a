"""A detector: images and boxes to losses, images to boxes, as a pure function of its arguments.

Labels count from one, as in data sets; what a family needs inside (background, zero-based
channels) stays inside.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rethink_ray.detection.backbones import Backbone, build_backbone
from rethink_ray.detection.families import build_network, divisions, samplers
from rethink_ray.detection.freezing import freeze, parameter_counts, split_by_decay
from rethink_ray.detection.necks import build_pyramid
from rethink_ray.detection.norms import above_backbone
from rethink_ray.detection.one_stage import OneStage
from rethink_ray.detection.padding import HeightWidth, PaddingGroup, Pass, group_into_passes
from rethink_ray.detection.peers import Peers
from rethink_ray.detection.resize import Resize, resize_target
from rethink_ray.detection.sampling import SamplePosition
from rethink_ray.detection.weights import load_initial_weights
from rethink_ray.detection.whole_batch import (
    Denominator,
    Denominators,
    LossSums,
    add_sums,
    sum_over_workers,
)
from rethink_ray.spec.recipe import TWO_STAGE, DetectorSpec, InitSpec

__all__ = ["Detector", "build_detector", "parameter_counts"]

Target = Mapping[str, Tensor]
"""``boxes: [N, 4] float32 xyxy pixels``, ``labels: [N] int64 from 1``, ``image_id: int64``; for
families that learn them ``masks: [N, H, W] uint8`` and ``keypoints: [N, K, 3] float32``."""
LEARNED = ("boxes", "masks", "keypoints")


class Detector(nn.Module):
    """One of torchvision's detectors behind two verbs, with a prefix that never moves."""

    def __init__(self, network: nn.Module, *, label_shift: int) -> None:
        """Wrap a network whose first class is number ``1 - label_shift`` inside."""
        super().__init__()
        self.network = network
        self.label_shift = label_shift
        self.peers: Peers | None = None
        """The workers that share each training batch; ``None``: this process has all of it."""
        self.padding_group = PaddingGroup(num_images=None)
        """Images of a training batch that are padded to one size."""
        self.images_per_step: int | None = None
        """A GPU detects in at most so many images at once; ``None``: in all of one size."""
        self.sized_by_loader = False
        """Training images come at the size they are to have (``augment.short_side_px``)."""

    @property
    def backbone(self) -> Backbone:
        """The five stages, without the pyramid."""
        body = self.network.get_submodule("backbone.body")
        assert isinstance(body, Backbone)
        return body

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Names of the submodules that never move."""
        return tuple(f"network.backbone.body.{name}" for name in self.backbone.frozen_stages)

    def losses(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target],
        *,
        seed: int,
        step: int,
        denominators: Denominators | None = None,
    ) -> dict[str, Tensor]:
        """The family's losses, each a scalar; their sum is what is minimised.

        With ``peers`` all workers call together, and the mean of their losses is the loss of the
        whole batch.

        Args:
            images: ``[3, H, W]`` float32 in 0..1, RGB; sizes may differ.
            targets: boxes may be empty; extra keys are ignored.
            seed: of the trial.
            step: number of the update; with ``seed`` and the image ids all that draws depend on.
            denominators: of the whole batch, where these images are a micro-batch of it.
        """
        sums = self.loss_sums(images, targets, seed=seed, step=step)
        if denominators is None:
            denominators = sum_over_workers(sums.denominators, self.peers)
        return sums.divide(denominators, 1 if self.peers is None else self.peers.world_size)

    def loss_sums(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, seed: int, step: int
    ) -> LossSums:
        """The losses of these images before they are divided, and what they are divided by."""
        assert self.training, "losses are taken in training mode"
        with self.sizes_as_given(self.sized_by_loader):
            passes = [
                self._sums_of_pass(
                    [images[number] for number in one.numbers],
                    [targets[number] for number in one.numbers],
                    one.padded_hw,
                    (seed, step),
                )
                for one in self._passes(images)
            ]
        return add_sums(passes)

    @torch.no_grad()
    def count_denominators(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> Denominators | None:
        """What the losses of these images are divided by, where boxes alone tell it.

        One-stage families divide by their foreground, for which the network need not run. ``None``:
        a two-stage family, whose proposals are needed.
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
                for one in self._passes(images)
            ]
        total = torch.stack(counts).sum()
        return {name: Denominator(count=total, at_least=1) for name in network.loss_names}

    def _resized_boxes(self, image: Tensor, target: Target) -> dict[str, Tensor]:
        was = (image.shape[-2], image.shape[-1])
        boxes = {"boxes": target["boxes"], "labels": target["labels"] - self.label_shift}
        return resize_target(boxes, was, self._transform.resized_hw(*was))

    def _passes(self, images: Sequence[Tensor]) -> list[Pass]:
        """Which images pass the network together, and the size they are padded to."""
        sizes_hw = [self._transform.padded_hw_of([image]) for image in images]
        return group_into_passes(self.padding_group.padded_sizes(sizes_hw, self.peers))

    def _sums_of_pass(
        self,
        images: list[Tensor],
        targets: list[Target],
        padded_hw: HeightWidth,
        position: tuple[int, int],
    ) -> LossSums:
        """The losses of images of one padded size; ``position``: seed and step."""
        seed, step = position
        image_ids = tuple(int(target["image_id"]) for target in targets)
        for sampler in samplers(self.network):
            sampler.position = SamplePosition(seed=seed, step=step, image_ids=image_ids)
        inner = [
            {key: target[key] for key in LEARNED if key in target}
            | {"labels": target["labels"] - self.label_shift}
            for target in targets
        ]
        with self._padded_to(padded_hw):
            losses: dict[str, Tensor] = self.network(images, inner)
        return LossSums.of(losses, divisions(self.network))

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target],
        *,
        seed: int,
        step: int,
        denominators: Denominators | None = None,
    ) -> dict[str, Tensor]:
        """``losses``, under the name that distributed wrappers call."""
        return self.losses(images, targets, seed=seed, step=step, denominators=denominators)

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Boxes found in each image, best first, in the image's own pixels.

        On a CPU each image passes the network alone, so that what is found in it depends on the
        image and the weights, to the last bit. On a GPU images of one padded size share a pass.

        Evaluates whatever the current mode is, and leaves that mode as it was. Each result has
        ``boxes_xyxy: [D, 4]``, ``scores: [D]`` in 0..1 and ``labels: [D]`` from 1; from families
        that find them ``masks: [D, M, M]`` (probabilities, each over its box: ``masks.pasted``) and
        ``keypoints: [D, K, 3]`` (x, y, logit).
        """
        detections: list[dict[str, Tensor]] = [{} for _ in images]
        with self._evaluating():
            for numbers in self._detected_together(images):
                together = self.network([images[i] for i in numbers])
                for number, one in zip(numbers, together, strict=True):
                    detections[number] = self._named(one)
        return detections

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        mode = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(mode)

    def _detected_together(self, images: Sequence[Tensor]) -> list[list[int]]:
        """Which images share a forward pass: none on a CPU, those of one padded size on a GPU."""
        if not images or images[0].device.type == "cpu":
            return [[number] for number in range(len(images))]
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            by_size.setdefault(self._transform.padded_hw_of([image]), []).append(number)
        most = self.images_per_step or len(images)
        return [
            numbers[first : first + most]
            for numbers in by_size.values()
            for first in range(0, len(numbers), most)
        ]

    def _named(self, detection: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's detections of one image in this project's names."""
        named = {
            "boxes_xyxy": detection["boxes"],
            "scores": detection["scores"],
            "labels": detection["labels"] + self.label_shift,
        }
        return named | {key: detection[key] for key in ("masks", "keypoints") if key in detection}

    @contextmanager
    def sizes_as_given(self, on: bool = True) -> Iterator[None]:
        """No image is resized for as long as this lasts."""
        self._transform.as_given = on
        try:
            yield
        finally:
            self._transform.as_given = False

    @property
    def _transform(self) -> Resize:
        transform = self.network.get_submodule("transform")
        assert isinstance(transform, Resize)
        return transform

    @contextmanager
    def _padded_to(self, padded_hw: tuple[int, int] | None) -> Iterator[None]:
        self._transform.padded_hw = padded_hw
        try:
            yield
        finally:
            self._transform.padded_hw = None

    def features(self, images: Sequence[Tensor]) -> dict[str, Tensor]:
        """The backbone's maps ``layer1 .. layer4`` for the images as the detector prepares them."""
        prepared, _ = self._transform(list(images))
        maps: dict[str, Tensor] = self.backbone(prepared.tensors)
        return maps

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Every parameter that moves, in module order."""
        return [p for p in self.parameters() if p.requires_grad]

    def decayed_and_norm_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The moving parameters in two groups: all others, and norms' scales and shifts."""
        return split_by_decay(self)


def build_detector(
    spec: DetectorSpec,
    init: InitSpec,
    num_classes: int,
    *,
    seed: int,
    weights: Mapping[str, Tensor] | None = None,
) -> Detector:
    """A detector whose every number follows from the arguments; global generators are untouched.

    Args:
        spec: the network.
        init: where the backbone's weights come from and which stages are frozen.
        num_classes: without background.
        seed: draws what ``init`` does not give: the backbone too, unless it is loaded.
        weights: for ``init.source: upstream``, a classifier's ``backbone_state()``.

    Raises:
        SpecError: the weights do not fit the backbone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        body = build_backbone(spec)
        upper = above_backbone(spec)
        pyramid = build_pyramid(upper, body)
        network = build_network(upper, pyramid, num_classes)
    load_initial_weights(body, spec, init, weights)
    freeze(body, init.frozen)
    detector = Detector(network, label_shift=0 if spec.family in TWO_STAGE else 1)
    detector.padding_group = PaddingGroup.of(spec)
    return detector.train()
