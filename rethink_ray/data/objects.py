"""The objects of one training image: boxes, and masks and keypoints if the detector learns them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Keypoints = NDArray[np.float32]
"""[N, K, 3]: x, y in pixels, visibility."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Objects to train on. All fields have length N."""

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    area: NDArray[np.float32]
    """Square pixels, as annotated: COCO gives the area of the mask."""
    masks: NDArray[np.uint8] | None = None
    """[N, H, W], 0 or 1, at the image's size; ``None`` if no masks are needed."""
    has_mask: NDArray[np.bool_] | None = None
    """[N]: false for objects whose mask is unknown; ``masks`` has their box. ``None``: all have
    one."""
    keypoints: NDArray[np.float32] | None = None
    """[N, K, 3]: x, y in pixels, visibility (0 not annotated, 1 covered, 2 visible); ``None`` if no
    keypoints are needed."""

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, kept: NDArray[np.bool_]) -> "Objects":
        """Returns the objects for which ``kept`` ([N]) is true."""
        return Objects(
            boxes_xyxy=self.boxes_xyxy[kept],
            labels=self.labels[kept],
            area=self.area[kept],
            masks=None if self.masks is None else self.masks[kept],
            has_mask=None if self.has_mask is None else self.has_mask[kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
        )

    def lacks_masks(self) -> bool:
        """Returns whether the mask of any object is unknown."""
        return self.has_mask is not None and not self.has_mask.all()

    def with_masks(self, masks: NDArray[np.uint8] | None) -> "Objects":
        """Returns the same objects with these masks."""
        return replace(self, masks=masks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedMasks:
    """Masks at one bit per pixel: 20 objects at 800 x 1333 take 2.7 MB instead of 21 MB."""

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]

    def unpack(self) -> NDArray[np.uint8]:
        """Returns the masks, [N, H, W], 0 or 1."""
        return np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(self.shape)


def pack(objects: Objects) -> tuple[Objects, PackedMasks | None]:
    """Returns the objects without masks, and the packed masks (``None`` if there are none)."""
    if objects.masks is None:
        return objects, None
    packed = PackedMasks(bits=np.packbits(objects.masks), shape=objects.masks.shape)
    return replace(objects, masks=None), packed


def keypoint_swap(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Returns [K]: the keypoint that takes each keypoint's position in a mirrored image.

    Pairs are recognised by their names: ``left_eye`` and ``right_eye`` are exchanged, ``nose``
    stays. This covers COCO's 17 keypoints and the five of the built-in shapes. If names repeat, no
    keypoints are exchanged.
    """
    if len(set(names)) < len(names):
        return np.arange(len(names))
    number_of = {name: number for number, name in enumerate(names)}
    return np.array(
        [number_of.get(_mirror_name(name), here) for name, here in number_of.items()], np.int64
    )


_MIRROR = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _mirror_name(name: str) -> str:
    return "_".join(_MIRROR.get(word, word) for word in name.split("_"))
