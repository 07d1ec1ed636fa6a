"""Sums up what a split holds: pictures, boxes, their sizes, masks and keypoints."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """What a split holds. Boxes count as annotated, crowds among them."""

    num_images: int
    num_empty: int
    """Images without a box."""
    smallest_wh: tuple[int, int]
    """Width and height of the smallest picture by area."""
    largest_wh: tuple[int, int]
    num_boxes: int
    box_px: tuple[float, float, float] | None
    """The size of a box, which is the root of its area: at 5 %, in the middle and at 95 % of the
    boxes; ``None`` without boxes."""
    num_masks: int
    keypoints: tuple[str, ...]
    """Names of an object's keypoints."""

    @property
    def sentence(self) -> str:
        """``128 pictures of 206x112 to 320x320 px (2 without a box), 929 boxes, ...``."""
        small, large = (
            f"{width}x{height}" for width, height in (self.smallest_wh, self.largest_wh)
        )
        sizes = f"{small} px" if small == large else f"{small} to {large} px"
        without = f" ({self.num_empty} without a box)" if self.num_empty else ""
        parts = [f"{_count(self.num_images, 'picture')} of {sizes}{without}"]
        parts.append(_count(self.num_boxes, "box", "boxes"))
        if self.box_px is not None:
            least, middle, most = self.box_px
            parts[-1] += f" of {least:.0f} to {most:.0f} px, in the middle {middle:.0f} px"
        parts += [_count(self.num_masks, "mask")] if self.num_masks else []
        parts += [f"{len(self.keypoints)} keypoints each"] if self.keypoints else []
        return ", ".join(parts)


def summarise_split(index: AnnotationIndex) -> SplitSummary:
    """Returns what a split holds."""
    in_use = np.isin(index.image_column("image_id"), index.image_ids)
    counts = index.image_column("num_objects")
    boxes = index.boxes_xyxy[np.repeat(in_use, counts)]
    box_px = None
    if len(boxes):
        areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
        least, middle, most = np.quantile(np.sqrt(areas), (0.05, 0.5, 0.95)).tolist()
        box_px = (least, middle, most)
    smallest, largest = _find_sizes(index, in_use)
    return SplitSummary(
        num_images=len(index),
        num_empty=int((counts[in_use] == 0).sum()),
        smallest_wh=smallest,
        largest_wh=largest,
        num_boxes=len(boxes),
        box_px=box_px,
        num_masks=int((index.masked_objects() & np.repeat(in_use, counts)).sum()),
        keypoints=tuple(index.keypoint_names),
    )


def _count(num: int, one: str, many: str = "") -> str:
    return f"{num} {one if num == 1 else many or f'{one}s'}"


def _find_sizes(
    index: AnnotationIndex, in_use: NDArray[np.bool_]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns width and height of the smallest and of the largest picture by area."""
    widths, heights = (
        index.image_column(side)[in_use].astype(np.int64) for side in ("width", "height")
    )
    order = np.argsort(widths * heights, kind="stable")
    small, large = ((int(widths[row]), int(heights[row])) for row in (order[0], order[-1]))
    return small, large
