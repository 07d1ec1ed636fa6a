"""Cascaded box stages, each with stricter matching (Cai & Vasconcelos 2018).

A single stage is the box head of Faster R-CNN. Loss weights are those of the authors' code. At
evaluation each stage scores its input boxes, and the scores are averaged.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import clip_boxes_to_image

from rethink_ray.detection.heads import fill_predictor
from rethink_ray.detection.matching import find_indices
from rethink_ray.detection.necks import full_precision
from rethink_ray.detection.peers import Division
from rethink_ray.detection.regions import (
    Branch,
    Features,
    ObjectTensors,
    SampledProposals,
    Sizes,
    predict,
    sample_proposals,
)

FIRST_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Scale of the first stage's deltas; stage n (from 1) uses n times this, for smaller deltas."""


def box_weights(stage: int) -> tuple[float, ...]:
    """Scale of the deltas of a stage; stages count from zero."""
    return tuple(weight * (stage + 1) for weight in FIRST_BOX_WEIGHTS)


def loss_weight(stage: int) -> float:
    """Weight of a stage's losses: 1, 1/2, 1/4 from the first stage on."""
    return 0.5**stage


class SharedBoxPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision is untyped
    """Predicts class scores, and box deltas shared by all classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, 4)
        self.num_classes = num_classes
        fill_predictor(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scores ``[R, 1 + K]`` and deltas ``[R, 4 * (1 + K)]`` of ``[R, F]``."""
        scores, deltas = super().forward(x)
        return full_precision(scores), full_precision(deltas).repeat(1, self.num_classes)


class StagedHeads(nn.Module):
    """One or more box stages, then branches on the last stage's boxes.

    It replaces torchvision's heads. Later stages can join at a later update of the run. Until then
    they neither learn nor predict, and branches follow the first stage.
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
        self._has_joined_now = False
        """What the newest training batch set; reading the buffer would wait for a GPU."""
        if joins_at:
            self.register_buffer("has_joined", torch.zeros((), dtype=torch.bool))

    def forward(
        self,
        features: Features,
        proposals: list[Tensor],
        image_shapes: Sizes,
        targets: list[ObjectTensors] | None = None,
    ) -> tuple[list[ObjectTensors], dict[str, Tensor]]:
        """Returns no detections and the losses in training; detections and no losses otherwise."""
        if self.training:
            assert targets is not None, "losses are taken against targets"
            self._update_joined()
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._detect(features, proposals, image_shapes), {}

    def divisions(self) -> tuple[Division, ...]:
        """Counts that divided the newest losses: samples per stage, positives per branch."""
        stages = (
            Division(names=_name_losses(number), count=stage.fg_bg_sampler.num_drawn, at_least=1)
            for number, stage in enumerate(self._learning_stages())
        )
        return (*stages, *(branch.division() for branch in self._branches()))

    def _update_joined(self) -> None:
        if self.joins_at:
            first: Any = self.stages[0]
            self._has_joined_now = first.fg_bg_sampler.position.step >= self.joins_at
            self.get_buffer("has_joined").fill_(self._has_joined_now)

    def active_stages(self) -> list[Any]:
        """Returns the stages that have joined; reads a number from the network's device."""
        all_take_part = not self.joins_at or bool(self.get_buffer("has_joined"))
        return list(self.stages if all_take_part else self.stages[:1])

    def _learning_stages(self) -> list[Any]:
        """Returns the stages that the newest training batch trained, without reading the device."""
        all_take_part = not self.joins_at or self._has_joined_now
        return list(self.stages if all_take_part else self.stages[:1])

    def _branches(self) -> list[Branch]:
        return cast(list[Branch], list(self.branches.values()))

    def _losses(
        self, features: Features, boxes: list[Tensor], sizes: Sizes, targets: list[ObjectTensors]
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        stages = self._learning_stages()
        drawn = sample_proposals(stages[0], boxes, targets)
        for number, stage in enumerate(stages):
            scores, deltas = predict(stage, features, drawn.boxes_xyxy, sizes)
            per_loss = stage.losses(scores, deltas, drawn)
            weighted = (loss_weight(number) * loss for loss in per_loss)
            losses |= dict(zip(_name_losses(number), weighted, strict=True))
            if stage is not stages[-1]:
                boxes = refine_boxes(stage, drawn.boxes_xyxy, scores, deltas, sizes)
                boxes = _drop_objects(boxes, drawn, targets)
                drawn = sample_proposals(stages[number + 1], boxes, targets)
        for branch in self._branches():
            losses |= branch.losses(features, drawn, targets, sizes)
        return losses

    def _detect(self, features: Features, boxes: list[Tensor], sizes: Sizes) -> list[ObjectTensors]:
        first, *others = self.active_stages()
        scores, deltas = predict(first, features, boxes, sizes)
        shares, before = [scores.softmax(-1)], first
        for stage in others:
            boxes = refine_boxes(before, boxes, scores, deltas, sizes)
            scores, deltas = predict(stage, features, boxes, sizes)
            shares.append(scores.softmax(-1))
            before = stage
        if others:
            # torchvision applies the softmax, which undoes the logarithm
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
    """Moves each region by the stage's deltas for the likeliest class; clips it to its image."""
    moved = stage.box_coder.decode(deltas, boxes)
    likeliest = scores[:, 1:].argmax(dim=1) + 1
    chosen = moved[torch.arange(len(moved), device=moved.device), likeliest]
    parts = chosen.split([len(b) for b in boxes])
    return [clip_boxes_to_image(b, size) for b, size in zip(parts, sizes, strict=True)]


def _drop_objects(
    moved: list[Tensor], drawn: SampledProposals, targets: list[ObjectTensors]
) -> list[Tensor]:
    """Returns the moved regions except annotated objects, which the next stage adds by itself."""
    others = []
    for before, matched, labels, target in zip(
        drawn.boxes_xyxy, drawn.matched, drawn.labels, targets, strict=True
    ):
        exact = torch.zeros_like(labels, dtype=torch.bool)
        if len(target["boxes"]):
            exact = (before == target["boxes"][matched]).all(dim=1) & (labels > 0)
        others.append(~exact)
    return [boxes[indices] for boxes, indices in zip(moved, find_indices(others), strict=True)]


def _name_losses(stage: int) -> tuple[str, str]:
    """Returns the names of a stage's losses; stages count from zero."""
    suffix = f"_{stage + 1}" if stage else ""
    return f"loss_classifier{suffix}", f"loss_box_reg{suffix}"
