"""The objects of one image as a detector trains on them: boxes; masks and keypoints if asked."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Objects fit to train on. Length N throughout."""

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    area: NDArray[np.float32]
    """As annotated: of the mask where there is one."""
    masks: NDArray[np.uint8] | None = None
    """[N, H, W], 0 or 1, of the image's size; ``None`` unless the detector learns masks."""
    keypoints: NDArray[np.float32] | None = None
    """[N, K, 3]: x, y in pixels, visibility (0 not annotated, 1 covered, 2 seen); ``None`` unless
    the detector learns keypoints."""

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, kept: NDArray[np.bool_]) -> "Objects":
        """Only the objects that ``kept`` ([N]) says."""
        return Objects(
            boxes_xyxy=self.boxes_xyxy[kept],
            labels=self.labels[kept],
            area=self.area[kept],
            masks=None if self.masks is None else self.masks[kept],
            keypoints=None if self.keypoints is None else self.keypoints[kept],
        )

    def with_masks(self, masks: NDArray[np.uint8] | None) -> "Objects":
        """The same objects with these masks."""
        return replace(self, masks=masks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedMasks:
    """Masks at one bit a pixel: 20 objects at 800 x 1333 are 2.7 MB instead of 21."""

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]

    def unpack(self) -> NDArray[np.uint8]:
        """[N, H, W], 0 or 1."""
        return np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(self.shape)


def pack(objects: Objects) -> tuple[Objects, PackedMasks | None]:
    """The objects without their masks, and the masks packed; ``None`` where there are none."""
    if objects.masks is None:
        return objects, None
    packed = PackedMasks(bits=np.packbits(objects.masks), shape=objects.masks.shape)
    return replace(objects, masks=None), packed


def keypoint_swap(names: tuple[str, ...]) -> NDArray[np.int64]:
    """[K]: which keypoint stands in each one's place once left and right are exchanged.

    Told from the names: ``left_eye`` and ``right_eye`` are a pair, ``nose`` stays. COCO's 17 and
    the built-in shapes' five are named so. Names that are not distinct tell nothing: all stay.
    """
    if len(set(names)) < len(names):
        return np.arange(len(names))
    number_of = {name: number for number, name in enumerate(names)}
    return np.array(
        [number_of.get(_mirrored(name), here) for name, here in number_of.items()], np.int64
    )


_MIRROR = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _mirrored(name: str) -> str:
    return "_".join(_MIRROR.get(word, word) for word in name.split("_"))
