"""Moves a batch to the device of its run.

A GPU copies pinned memory while the host goes on. What a loader left packed is unpacked there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rethink_ray.data.samples import scale_pixels, unpack_masks
from rethink_ray.detection.detectors import Target
from rethink_ray.training.joint import Classified

DEVICE_KEYS = ("boxes", "labels", "masks", "has_mask", "keypoints")
"""Parts of a target that a detector computes with."""
HOST_KEYS = ("image_id", "is_pseudo", "peer_hw")
"""Parts that Python reads. They stay on the CPU: reading from a GPU would wait for it."""


def move_images(images: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The images on the device, float32 in 0..1."""
    return [scale_pixels(image.to(device, non_blocking=True)) for image in images]


def move_targets(targets: Sequence[Target], device: torch.device) -> list[Target]:
    """The parts of each target that are read, those of ``DEVICE_KEYS`` on the device."""
    return [_move_target(target, device) for target in targets]


def move_classified(classified: Classified, device: torch.device) -> Classified:
    """The upstream images of an update and their labels, on the device."""
    images, labels = (pin_for(device, values) for values in classified)
    return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def pin_for(device: torch.device, values: Tensor) -> Tensor:
    """The values in pinned memory, if they go to a GPU."""
    return values.pin_memory() if device.type == "cuda" else values


def _move_target(target: Target, device: torch.device) -> Target:
    moved = {k: v.to(device, non_blocking=True) for k, v in target.items() if k in DEVICE_KEYS}
    if "mask_bits" in target:
        bits, shape = target["mask_bits"], target["mask_shape"].tolist()
        moved["masks"] = unpack_masks(bits.to(device, non_blocking=True), tuple(shape))
    return moved | {k: v for k, v in target.items() if k in HOST_KEYS}
