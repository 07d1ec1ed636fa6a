"""Detectors of milliseconds, and two pictures with objects to show them."""

import torch
from torch import Tensor

from rethink_ray.detection.detectors import Detector
from rethink_ray.spec.recipe import DetectorSpec, Family, Norm


def tiny(family: Family = "retinanet", norm: Norm = "gn", **counts: object) -> DetectorSpec:
    settings = {
        "family": family,
        "backbone": "tiny",
        "norm": norm,
        "width": 16,
        "neck_channels": 16,
        "head_convs": 1,
        "box_head_features": 32,
        "min_side_px": 64,
        "max_side_px": 64,
        "anchor_base_px": 16,
        "canonical_scale_px": 112,
        "rpn_pre_nms_train": 50,
        "rpn_pre_nms_test": 50,
        "rpn_post_nms_train": 20,
        "rpn_post_nms_test": 20,
        "rpn_batch": 16,
        "box_batch": 8,
        "mask_head_convs": 1,
        "mask_head_channels": 16,
        "keypoint_head_convs": 2,
        "keypoint_head_channels": 16,
        "num_keypoints": 3,
    }
    return DetectorSpec.model_validate({**settings, **counts})


def pictures(num: int = 2, side: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, side, side, generator=generator) for _ in range(num)]


def mixed_pictures() -> list[Tensor]:
    """Three of landscape and one of portrait size: 96x64, 96x64, 96x64, 64x96 (width x height)."""
    generator = torch.Generator().manual_seed(2)
    sizes_hw = [(64, 96), (64, 96), (64, 96), (96, 64)]
    return [torch.rand(3, *hw, generator=generator) for hw in sizes_hw]


def mixed_targets() -> list[dict[str, Tensor]]:
    """Objects of ``mixed_pictures``; the third picture has none."""
    found: list[dict[str, Tensor]] = []
    for number, picture in enumerate(mixed_pictures()):
        boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [20.0, 10.0, 60.0, 50.0]]) + number
        labels = [1, 3]
        if number == 2:
            boxes, labels = torch.zeros(0, 4), []
        found.append(annotated(boxes, labels, 60 + number, tuple(picture.shape[-2:])))
    return found


def targets(num: int = 2) -> list[dict[str, Tensor]]:
    boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [20.0, 10.0, 60.0, 50.0]])
    return [annotated(boxes + i, [1, 3], image_id=40 + i) for i in range(num)]


def annotated(
    boxes: Tensor, labels: list[int], image_id: int, size_hw: tuple[int, ...] = (64, 64)
) -> dict[str, Tensor]:
    """Objects that fill their boxes, with keypoints at a corner, in the middle and unknown."""
    masks = torch.zeros(len(boxes), *size_hw, dtype=torch.uint8)
    keypoints = torch.zeros(len(boxes), 3, 3)
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        masks[i, int(y0) : int(y1), int(x0) : int(x1)] = 1
        keypoints[i, 0] = torch.tensor([x0 + 2, y0 + 2, 2])
        keypoints[i, 1] = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, 1])
    return {
        "boxes": boxes,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "image_id": torch.tensor(image_id),
        "masks": masks,
        "keypoints": keypoints,
    }


def update(detector: Detector, num: int, *, mixed: bool = False) -> None:
    """Two at least: a layer behind a zero-initialised one gets its gradient in the second."""
    # Adam moves whatever has a gradient at all, however small
    optimizer = torch.optim.Adam(detector.trainable_parameters(), lr=0.01, eps=1e-30)
    for step in range(num):
        loss = total(detector, step, mixed=mixed)
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def total(detector: Detector, step: int = 0, *, mixed: bool = False) -> Tensor:
    images, annotations = (mixed_pictures(), mixed_targets()) if mixed else (pictures(), targets())
    losses = detector.losses(images, annotations, seed=5, step=step)
    return torch.stack(list(losses.values())).sum()


def snapshot(detector: Detector) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in detector.state_dict().items()}
