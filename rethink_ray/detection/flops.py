"""Counts the floating-point operations of one update on a real step with two pictures."""

from functools import cache

import torch
from torch import Tensor

from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.operations import count_operations
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, DetectorSpec, Frozen, InitSpec

NUM_PICTURES = 2
"""With one picture, batch norm would get a single value from a map of one pixel."""
NUM_OBJECTS = 8


@cache
def step_flops_per_image(
    spec: DetectorSpec, frozen: Frozen, num_classes: int, device: torch.device
) -> float:
    """Counts the operations of forward and backward pass for one image of the largest size.

    Convolutions, matrix products, attention and ROIAlign are counted as they run, so frozen parts
    reduce the count. A multiplication and an addition are two operations. Pictures are noise with
    eight objects and weights are random; the number of proposals of a two-stage family depends a
    little on both.
    """
    detector = build_detector(_replace_norm(spec), InitSpec(), num_classes, seed=0).to(device)
    detector.freeze(frozen)
    generator = torch.Generator().manual_seed(0)
    hw = (spec.min_side_px, spec.max_side_px)
    images = [torch.rand(3, *hw, generator=generator).to(device) for _ in range(NUM_PICTURES)]
    targets = [
        {name: value.to(device) for name, value in _build_target(spec, hw, number).items()}
        for number in range(NUM_PICTURES)
    ]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), count_operations() as counter:
        torch.manual_seed(0)
        losses = detector.losses(images, targets, seed=0, step=0)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    return counter.total / NUM_PICTURES


def _replace_norm(spec: DetectorSpec) -> DetectorSpec:
    """Replaces a norm that needs other workers or trained weights; operations stay the same."""
    return spec.with_norm("bn") if spec.norm in ("sync_bn", "frozen_bn") else spec


def _build_target(spec: DetectorSpec, hw: tuple[int, int], number: int) -> dict[str, Tensor]:
    """Builds a target of objects side by side, an eighth as wide and half as high as the image."""
    height, width = hw
    lefts = torch.arange(NUM_OBJECTS) * (width / NUM_OBJECTS)
    boxes = torch.stack(
        [
            lefts,
            torch.full((NUM_OBJECTS,), height / 4),
            lefts + width / NUM_OBJECTS,
            torch.full((NUM_OBJECTS,), height * 3 / 4),
        ],
        dim=1,
    )
    target = {
        "boxes": boxes,
        "labels": torch.ones(NUM_OBJECTS, dtype=torch.int64),
        "image_id": torch.tensor(number),
    }
    if spec.family in WITH_MASKS:
        target["masks"] = torch.ones(NUM_OBJECTS, height, width, dtype=torch.uint8)
    if spec.family in WITH_KEYPOINTS:
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        seen = torch.full((NUM_OBJECTS, 1), 2.0)
        points = torch.cat([centers, seen], dim=1)
        target["keypoints"] = points[:, None].repeat(1, spec.num_keypoints, 1)
    return target
