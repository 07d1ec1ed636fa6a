"""Box stages one behind the other, each with stricter matching (Cai & Vasconcelos 2018).

One stage is the box head of Faster R-CNN. The loss weights are those of the authors' code; at test
each stage scores the boxes it was given and the scores are averaged.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import clip_boxes_to_image

from rethink_ray.detection.matching import indices_where
from rethink_ray.detection.necks import full_precision
from rethink_ray.detection.peers import Division
from rethink_ray.detection.regions import Branch, Drawn, Features, Objects, Sizes, draw, predict
from rethink_ray.detection.two_stage import box_losses

FIRST_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Scale of a first stage's deltas; stage n (from 1) is n times as fine, its boxes being better."""


def box_weights(stage: int) -> tuple[float, ...]:
    """Scale of the deltas of a stage, counting from zero."""
    return tuple(weight * (stage + 1) for weight in FIRST_BOX_WEIGHTS)


def loss_weight(stage: int) -> float:
    """1, 1/2, 1/4 from the first stage on."""
    return 0.5**stage


class SharedBoxPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision is untyped
    """Class scores, and box deltas that are the same for every class."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, 4)
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[R, F]`` to ``[R, 1 + K]`` and ``[R, 4 * (1 + K)]``."""
        scores, deltas = super().forward(x)
        return full_precision(scores), full_precision(deltas).repeat(1, self.num_classes)


class StagedHeads(nn.Module):
    """One or more box stages, then branches on what they leave; stands for torchvision's heads.

    Later stages may join at an update of the run. Until then they neither learn nor find, and the
    branches stand on the first one.
    """

    def __init__(
        self,
        stages: Sequence[RoIHeads],
        branches: Mapping[str, nn.Module],
        joins_at: int = 0,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.branches = nn.ModuleDict(dict(branches))
        self.joins_at = joins_at
        if joins_at:
            self.register_buffer("has_joined", torch.zeros((), dtype=torch.bool))

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: list[Objects] | None = None,
    ) -> tuple[list[Objects], dict[str, Tensor]]:
        """Nothing and the losses in training; what was found and nothing otherwise."""
        if self.training:
            assert targets is not None, "losses are taken against targets"
            self._join()
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._found(features, proposals, image_shapes), {}

    def divisions(self) -> tuple[Division, ...]:
        """What the newest losses were divided by: draws per stage, positives per branch."""
        stages = (
            Division(names=_names(number), count=stage.fg_bg_sampler.num_drawn, at_least=1)
            for number, stage in enumerate(self._stages())
        )
        return (*stages, *(branch.division() for branch in self._branches()))

    def _join(self) -> None:
        if self.joins_at:
            position = self._stages()[0].fg_bg_sampler.position
            self.get_buffer("has_joined").fill_(position.step >= self.joins_at)

    def _stages(self) -> list[Any]:
        """Those that take part."""
        all_take_part = not self.joins_at or bool(self.get_buffer("has_joined"))
        return list(self.stages if all_take_part else self.stages[:1])

    def _branches(self) -> list[Branch]:
        return cast(list[Branch], list(self.branches.values()))

    def _losses(
        self, features: Features, boxes: list[Tensor], sizes: Sizes, targets: list[Objects]
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        stages = self._stages()
        drawn = draw(stages[0], boxes, targets)
        for number, stage in enumerate(stages):
            scores, deltas = predict(stage, features, drawn.boxes_xyxy, sizes)
            per_loss = box_losses(scores, deltas, drawn)
            weighted = (loss_weight(number) * loss for loss in per_loss)
            losses |= dict(zip(_names(number), weighted, strict=True))
            if stage is not stages[-1]:
                boxes = refine_boxes(stage, drawn.boxes_xyxy, scores, deltas, sizes)
                boxes = _without_objects(boxes, drawn, targets)
                drawn = draw(stages[number + 1], boxes, targets)
        for branch in self._branches():
            losses |= branch.losses(features, drawn, targets, sizes)
        return losses

    def _found(self, features: Features, boxes: list[Tensor], sizes: Sizes) -> list[Objects]:
        first, *others = self._stages()
        scores, deltas = predict(first, features, boxes, sizes)
        shares, before = [scores.softmax(-1)], first
        for stage in others:
            boxes = refine_boxes(before, boxes, scores, deltas, sizes)
            scores, deltas = predict(stage, features, boxes, sizes)
            shares.append(scores.softmax(-1))
            before = stage
        if others:
            # torchvision takes the softmax itself, which undoes the logarithm
            scores = torch.stack(shares).mean(dim=0).log()
        per_image = before.postprocess_detections(scores, deltas, boxes, sizes)
        detections = [
            {"boxes": b, "scores": s, "labels": k} for b, s, k in zip(*per_image, strict=True)
        ]
        for branch in self._branches():
            branch.find(features, detections, sizes)
        return detections


@torch.no_grad()
def refine_boxes(
    stage: RoIHeads, boxes: list[Tensor], scores: Tensor, deltas: Tensor, sizes: Sizes
) -> list[Tensor]:
    """Each region moved as the stage says for the class it thinks likeliest, cut to its image."""
    moved = stage.box_coder.decode(deltas, boxes)
    likeliest = scores[:, 1:].argmax(dim=1) + 1
    chosen = moved[torch.arange(len(moved), device=moved.device), likeliest]
    parts = chosen.split([len(b) for b in boxes])
    return [clip_boxes_to_image(b, size) for b, size in zip(parts, sizes, strict=True)]


def _without_objects(moved: list[Tensor], drawn: Drawn, targets: list[Objects]) -> list[Tensor]:
    """The moved regions that were no objects before: the next stage gets those by itself."""
    others = []
    for before, matched, labels, target in zip(
        drawn.boxes_xyxy, drawn.matched, drawn.labels, targets, strict=True
    ):
        exact = torch.zeros_like(labels, dtype=torch.bool)
        if len(target["boxes"]):
            exact = (before == target["boxes"][matched]).all(dim=1) & (labels > 0)
        others.append(~exact)
    return [boxes[indices] for boxes, indices in zip(moved, indices_where(others), strict=True)]


def _names(stage: int) -> tuple[str, str]:
    """Of a stage's losses, counting from zero."""
    suffix = f"_{stage + 1}" if stage else ""
    return f"loss_classifier{suffix}", f"loss_box_reg{suffix}"
