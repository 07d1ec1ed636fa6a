"""One training sample on its way from a loader process to a device.

It travels as small as it can: pixels as bytes if augmentation left them so, masks at one bit per
pixel. On its way to a GPU it lies in pinned memory, from which the GPU copies without the host.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rethink_ray.data.objects import Objects, PackedMasks

TargetTensors = dict[str, Tensor]
READ_BY_PYTHON = ("image_id", "area", "iscrowd", "mask_shape", "peer_hw")
"""Parts of a target that no GPU computes with."""
BITS_IN_A_BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSample:
    """One training image as a loader process sends it.

    The image is its only tensor, because each tensor sent costs a file descriptor.
    """

    image: Tensor
    """[3, H, W]: bytes, or float32 in 0..1."""
    objects: Objects
    """Without masks; ``masks`` has them."""
    masks: PackedMasks | None
    image_id: int
    was_read: bool
    peer_hw: tuple[tuple[int, int], ...] = ()
    """Sizes of the images at its place of every worker's share; empty: workers need not know."""

    def finish(self) -> tuple[Tensor, TargetTensors]:
        """Returns the image as float32 in 0..1, and the target with whole masks."""
        target = _build_target(self)
        if self.masks is not None:
            target["masks"] = torch.from_numpy(self.masks.unpack())
        return scale_pixels(self.image), target

    def pin_memory(self) -> "PinnedSample":
        """Returns the sample in pinned memory; torch's loader calls this."""
        target = _build_target(self)
        if self.masks is not None:
            target["mask_bits"] = torch.from_numpy(self.masks.bits)
            target["mask_shape"] = torch.tensor(self.masks.shape, dtype=torch.int64)
        return PinnedSample(
            image=self.image.pin_memory(),
            target={
                key: value if key in READ_BY_PYTHON else value.pin_memory()
                for key, value in target.items()
            },
            image_id=self.image_id,
            was_read=self.was_read,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedSample:
    """A sample in pinned memory. Its pixels are scaled and its masks unpacked on the GPU."""

    image: Tensor
    """[3, H, W]: bytes, or float32 in 0..1."""
    target: TargetTensors
    """Has ``mask_bits`` and ``mask_shape`` in place of ``masks``: see ``unpack_masks``."""
    image_id: int
    was_read: bool

    def finish(self) -> tuple[Tensor, TargetTensors]:
        """Returns image and target as they are, for ``scale_pixels`` and ``unpack_masks``."""
        return self.image, self.target


def scale_pixels(image: Tensor) -> Tensor:
    """Returns bytes as float32 in 0..1, on their device; other images unchanged."""
    if image.dtype != torch.uint8:
        return image
    # CUDA multiplies by the reciprocal of a plain number, which rounds otherwise than a division
    return image.float() / torch.full((), 255.0, device=image.device)


def unpack_masks(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns masks [N, H, W], 0 or 1, from ``PackedMasks.bits`` on any device, without a wait."""
    num_pixels = shape[0] * shape[1] * shape[2]
    shifts = torch.arange(BITS_IN_A_BYTE - 1, -1, -1, dtype=torch.uint8, device=bits.device)
    return ((bits[:, None] >> shifts) & 1).flatten()[:num_pixels].view(shape)


def _build_target(sample: TrainSample) -> TargetTensors:
    """Returns all of a target but its masks."""
    objects = sample.objects
    target = {
        "boxes": torch.from_numpy(objects.boxes_xyxy),
        "labels": torch.from_numpy(objects.labels),
        "image_id": torch.tensor(sample.image_id, dtype=torch.int64),
        "area": torch.from_numpy(objects.area),
        "iscrowd": torch.zeros(len(objects), dtype=torch.int64),
    }
    if sample.masks is not None and objects.has_mask is not None and objects.lacks_masks():
        target["has_mask"] = torch.from_numpy(objects.has_mask)
    if objects.keypoints is not None:
        target["keypoints"] = torch.from_numpy(objects.keypoints)
    if sample.peer_hw:
        target["peer_hw"] = torch.tensor(sample.peer_hw, dtype=torch.int64)
    return target
