"""Computes box losses: distances between predicted and expected deltas, or generalised IoU."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from rethink_ray.spec.detector import BoxLossKind, DetectorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLoss:
    """A loss of predicted deltas, one number for each box."""

    kind: BoxLossKind
    beta: float
    """Distance at which ``smooth_l1`` changes from quadratic to linear; others do not read it."""
    weight: float

    @classmethod
    def build(cls, spec: DetectorSpec) -> "BoxLoss":
        """Builds the loss of anchors or of a box head's proposals, from a spec without nulls."""
        assert spec.box_loss is not None, "build_network fills in published values"
        assert spec.box_loss_beta is not None, "build_network fills in published values"
        return cls(kind=spec.box_loss, beta=spec.box_loss_beta, weight=spec.box_loss_weight)

    @classmethod
    def build_for_proposals(cls, spec: DetectorSpec) -> "BoxLoss":
        """Builds the loss of a proposal network."""
        return cls(kind="smooth_l1", beta=spec.rpn_box_loss_beta, weight=spec.rpn_box_loss_weight)

    def measure_boxes(
        self, deltas: Tensor, expected: Tensor, references: Tensor, coder: Any
    ) -> Tensor:
        """Returns the weighted loss ``[R]`` of each box (l1, smooth_l1: summed over four deltas).

        Args:
            deltas: predicted, ``[R, 4]``.
            expected: from each reference to its object, ``[R, 4]``.
            references: ``[R, 4]`` xyxy, the anchors or proposals that deltas start from.
            coder: decodes deltas.
        """
        match self.kind:
            case "l1":
                losses = (deltas - expected).abs().sum(dim=-1)
            case "smooth_l1":
                distances = smooth_l1_loss(deltas, expected, beta=self.beta, reduction="none")
                losses = distances.sum(dim=-1)
            case "giou":
                boxes = (coder.decode_single(codes, references) for codes in (deltas, expected))
                losses = giou_loss(*boxes)
        return self.weight * losses


def giou_loss(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Returns one minus the generalised IoU of boxes ``[..., 4]`` (Rezatofighi et al. 2019).

    torchvision's function selects overlapping pairs by a mask, which waits for a GPU.
    """
    overlap = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    shared = torch.where((overlap > 0).all(dim=-1), overlap[..., 0] * overlap[..., 1], 0.0)
    union = _measure_boxes(first) + _measure_boxes(second) - shared
    around = hull[..., 0] * hull[..., 1]
    return 1 - (shared / (union + eps) - (around - union) / (around + eps))


def _measure_boxes(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
