"""Pixel masks in COCO's two notations."""

from typing import Any

import hotcoco.mask as coco_mask
import numpy as np
from numpy.typing import NDArray


def segmentation_of(mask: NDArray[np.bool_]) -> list[list[float]] | dict[str, Any]:
    """COCO's ``segmentation`` of a [H, W] mask, to the pixel.

    One polygon along the pixel edges if the mask is one piece without holes; run lengths (not
    compressed) otherwise, since polygons cannot leave a hole out.
    """
    loop = _outline(mask)
    return run_lengths(mask) if loop is None else [loop]


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed run-length form: column by column, background first."""
    flat = mask.flatten(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [len(flat)]])
    counts = np.diff(bounds).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def mask_of(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """[H, W]: the mask that ``run_lengths`` was given."""
    counts = segmentation["counts"]
    values = np.arange(len(counts)) % 2 == 1
    height, width = segmentation["size"]
    mask: NDArray[np.bool_] = np.repeat(values, counts).reshape((height, width), order="F")
    return mask


def pixels_of(segmentation: Any, height: int, width: int) -> NDArray[np.uint8] | None:
    """[height, width], 0 or 1: what COCO's ``segmentation`` covers; ``None`` if that is nothing.

    Polygons (several are one object's pieces) and run lengths, compressed or not. Polygons of
    fewer than three corners are left out: COCO's own reader takes four numbers for a box. What it
    refuses covers nothing.
    """
    try:
        pixels = _pixels(segmentation, height, width)
    except (TypeError, ValueError):
        return None
    return pixels if pixels is not None and pixels.any() else None


def filled_box(box_xyxy: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """[height, width], 0 or 1: the pixels whose centre the box holds."""
    x0, y0, x1, y1 = box_xyxy
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside = np.outer((y0 <= rows) & (rows < y1), (x0 <= columns) & (columns < x1))
    return inside.astype(np.uint8)


def _pixels(segmentation: Any, height: int, width: int) -> NDArray[np.uint8] | None:
    if isinstance(segmentation, list):
        corners = [part for part in segmentation if isinstance(part, list) and len(part) >= 6]
        parts = coco_mask.frPyObjects(corners, height, width) if corners else []
    elif isinstance(segmentation, dict) and list(segmentation.get("size", ())) == [height, width]:
        parts = [coco_mask.frPyObjects(segmentation, height, width)]
    else:
        parts = []
    return coco_mask.decode(coco_mask.merge(parts)) if parts else None


def _outline(mask: NDArray[np.bool_]) -> list[float] | None:
    """Corners x, y, x, y, ... of the one closed line around the mask; ``None`` if several."""
    follow = _edges(mask)
    if follow is None:
        return None
    start = next(iter(follow))
    corners: list[float] = []
    here, last_step = start, (0, 0)
    for _ in range(len(follow)):
        there = follow[here]
        step = (there[0] - here[0], there[1] - here[1])
        if step != last_step:
            corners += [float(here[0]), float(here[1])]
        here, last_step = there, step
        if here == start:
            break
    return corners if _length(corners) == len(follow) else None


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], tuple[int, int]] | None:
    """Unit steps along pixel edges with the mask on the right; ``None`` if two share a start."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = [
        (inside & ~padded[:-2, 1:-1], (0, 0), (1, 0)),  # top, going right
        (inside & ~padded[1:-1, 2:], (1, 0), (1, 1)),  # right, going down
        (inside & ~padded[2:, 1:-1], (1, 1), (0, 1)),  # bottom, going left
        (inside & ~padded[1:-1, :-2], (0, 1), (0, 0)),  # left, going up
    ]
    follow: dict[tuple[int, int], tuple[int, int]] = {}
    total = 0
    for starts, first, second in sides:
        ys, xs = np.nonzero(starts)
        total += len(xs)
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            follow[x + first[0], y + first[1]] = (x + second[0], y + second[1])
    return follow if len(follow) == total and total else None


def _length(corners: list[float]) -> int:
    points = np.array(corners).reshape(-1, 2)
    return int(np.abs(points - np.roll(points, -1, axis=0)).sum())
