"""Encodes and decodes pixel masks in COCO's two formats: polygons and run lengths."""

from typing import Any

import hotcoco.mask as coco_mask
import numpy as np
from numpy.typing import NDArray


def encode_segmentation(mask: NDArray[np.bool_]) -> list[list[float]] | dict[str, Any]:
    """Returns COCO's ``segmentation`` of a [H, W] mask, exact to the pixel.

    A mask of one piece without holes becomes a polygon along its pixel edges. Other masks become
    uncompressed run lengths, since polygons cannot have holes.
    """
    loop = _trace_outline(mask)
    return encode_run_lengths(mask) if loop is None else [loop]


def encode_run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns COCO's uncompressed run lengths: column by column, background first."""
    flat = mask.flatten(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [len(flat)]])
    counts = np.diff(bounds).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def decode_run_lengths(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """Returns the [H, W] mask of uncompressed run lengths; inverts ``encode_run_lengths``."""
    counts = segmentation["counts"]
    values = np.arange(len(counts)) % 2 == 1
    height, width = segmentation["size"]
    mask: NDArray[np.bool_] = np.repeat(values, counts).reshape((height, width), order="F")
    return mask


def decode_segmentation(segmentation: Any, height: int, width: int) -> NDArray[np.uint8] | None:
    """Returns the mask [height, width] (0 or 1) of COCO's ``segmentation``; ``None`` if empty.

    Accepts polygons (several are the pieces of one object) and run lengths, compressed or not.
    Polygons of fewer than three corners are skipped, because COCO's reader takes four numbers for a
    box. A ``segmentation`` that COCO's reader refuses counts as empty.
    """
    try:
        parts = _encode_parts(segmentation, height, width)
        if not parts:
            return None
        pixels: NDArray[np.uint8] = coco_mask.decode(coco_mask.merge(parts))
    except (TypeError, ValueError):
        return None
    return pixels if pixels.any() else None


def find_extent(
    segmentation: Any, height: int, width: int
) -> tuple[float, float, float, float] | None:
    """Returns the box (x, y, x, y) of the pixels that ``decode_segmentation`` gives.

    ``None``: it gives no mask. Nothing is decoded: 0.05 ms.
    """
    try:
        parts = _encode_parts(segmentation, height, width)
        if not parts:
            return None
        mask = coco_mask.merge(parts)
        if not int(coco_mask.area(mask)):
            return None
        x, y, mask_width, mask_height = map(float, coco_mask.toBbox(mask))
    except (TypeError, ValueError):
        return None
    return x, y, x + mask_width, y + mask_height


def fill_box(box_xyxy: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Returns the mask [height, width] (0 or 1) of the pixels whose centres are in the box."""
    x0, y0, x1, y1 = box_xyxy
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside = np.outer((y0 <= rows) & (rows < y1), (x0 <= columns) & (columns < x1))
    return inside.astype(np.uint8)


def _encode_parts(segmentation: Any, height: int, width: int) -> list[Any]:
    """Returns compressed run lengths of each polygon, or of the whole mask; none for no mask."""
    if isinstance(segmentation, list):
        corners = [part for part in segmentation if isinstance(part, list) and len(part) >= 6]
        return list(coco_mask.frPyObjects(corners, height, width)) if corners else []
    if isinstance(segmentation, dict) and list(segmentation.get("size", ())) == [height, width]:
        return [coco_mask.frPyObjects(segmentation, height, width)]
    return []


def _trace_outline(mask: NDArray[np.bool_]) -> list[float] | None:
    """Returns x, y, x, y, ... of the outline of the mask; ``None`` if it has several outlines."""
    follow = _collect_edges(mask)
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
    return corners if _measure_outline(corners) == len(follow) else None


def _collect_edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], tuple[int, int]] | None:
    """Maps the start of each edge to its end, mask on the right; ``None`` if two share a start."""
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


def _measure_outline(corners: list[float]) -> int:
    points = np.array(corners).reshape(-1, 2)
    return int(np.abs(points - np.roll(points, -1, axis=0)).sum())
