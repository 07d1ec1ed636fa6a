"""torchvision's SSD300 and SSDlite320 as families, by the rules of a detector of other code.

Images become squares of 300 or 320 px. Weights are drawn as torchvision draws them without
pre-trained ones. Source: pytorch/vision, torchvision/models/detection/ssd.py and ssdlite.py; Liu et
al. 2016; Sandler et al. 2018.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection._utils import SSDMatcher
from torchvision.models.detection.ssd import SSD

from rethink_ray.detection.peers import Division
from rethink_ray.spec.recipe import DetectorSpec

LOSSES = ("bbox_regression", "classification")
"""Both are divided by the number of matched default boxes in the batch."""


class CountingMatcher(SSDMatcher):  # type: ignore[misc]  # torchvision is untyped
    """Matches default boxes to objects, and adds up how many are matched."""

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold)
        self.num_matched = torch.zeros((), dtype=torch.int64)

    def __call__(self, overlaps: Tensor) -> Tensor:
        """Returns the object of each default box (below 0: none) for overlaps ``[N, boxes]``."""
        matched: Tensor = super().__call__(overlaps)
        self.num_matched = self.num_matched.to(matched.device) + (matched >= 0).sum()
        return matched


class TorchvisionSsd(nn.Module):
    """One of torchvision's SSDs with the methods that this program calls."""

    def __init__(self, network: SSD, class_tensors: Sequence[str], *, shares_batches: bool) -> None:
        """``class_tensors``: patterns of the names of tensors with rows for classes."""
        super().__init__()
        self.network = network
        self.class_tensors = tuple(f"network.{pattern}" for pattern in class_tensors)
        self.shares_batches = shares_batches
        self._matcher = CountingMatcher(network.proposal_matcher.high_threshold)
        network.proposal_matcher = self._matcher

    @property
    def backbone(self) -> nn.Module:
        """The classifier's layers and the extra ones behind it, as torchvision calls them."""
        backbone: nn.Module = self.network.get_submodule("backbone")
        return backbone

    def losses(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        *,
        seed: int,
        step: int,
    ) -> Any:
        """Returns both losses, and what they were divided by if batches can be shared.

        A batch without any object has no loss but zero, as in torchvision: the negatives are three
        times the positives.
        """
        device = images[0].device
        self._matcher.num_matched = torch.zeros((), dtype=torch.int64, device=device)
        needed = [{key: target[key] for key in ("boxes", "labels")} for target in targets]
        losses: dict[str, Tensor] = self.network(list(images), needed)
        if not self.shares_batches:
            return losses
        return losses, (Division(names=LOSSES, count=self._matcher.num_matched, at_least=1),)

    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Returns the detections of each image in its own pixels, best first."""
        return [
            {"boxes_xyxy": one["boxes"], "scores": one["scores"], "labels": one["labels"]}
            for one in self.network(list(images))
        ]

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gives torchvision's state dict the names of this module."""
        return {f"network.{name}": value for name, value in state.items()}

    def read_settings(self) -> dict[str, Any]:
        """Returns the live values of the settings that a study can change."""
        network: Any = self.network
        return {
            "score_threshold": network.score_thresh,
            "nms_iou": network.nms_thresh,
            "detections": network.detections_per_img,
            "candidates": network.topk_candidates,
        }


def build_ssd300(spec: DetectorSpec, num_classes: int) -> TorchvisionSsd:
    """Builds SSD on VGG16, which has no norms, at 300 px."""
    rows = ("head.classification_head.module_list.*",)
    network = _build(ssd300_vgg16, spec, num_classes)
    return TorchvisionSsd(network, rows, shares_batches=True)


def build_ssdlite320(spec: DetectorSpec, num_classes: int) -> TorchvisionSsd:
    """Builds SSDlite on MobileNetV3-Large with batch norms, at 320 px.

    The first convolution of each classification head is depthwise, and has no rows for classes.
    """
    rows = [f"head.classification_head.module_list.?.1.{kind}" for kind in ("weight", "bias")]
    network = _build(ssdlite320_mobilenet_v3_large, spec, num_classes)
    return TorchvisionSsd(network, rows, shares_batches=False)


def _build(builder: Callable[..., SSD], spec: DetectorSpec, num_classes: int) -> SSD:
    return builder(
        weights=None,
        weights_backbone=None,
        num_classes=num_classes + 1,
        score_thresh=spec.score_threshold,
        nms_thresh=spec.nms_iou,
        detections_per_img=spec.detections,
        topk_candidates=spec.candidates,
    )
