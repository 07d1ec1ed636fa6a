"""One small picture that shows some pictures of a data set with their boxes."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.pictures import BROKEN, open_rgb

TILE_PX = 240
"""Side of the square that each picture gets."""
MOST_TILES = 12
TILES_IN_ROW = 4
GAP_PX = 4
BOX_COLORS = ("#ee6677", "#4477aa", "#ccbb44", "#66ccee", "#228833", "#aa3377", "#ff9933")
"""Told apart by most people who see few colours. Source: Paul Tol's notes, "bright"."""
JPEG_QUALITY = 80


def draw_contact_sheet(index: AnnotationIndex, path: Path) -> int:
    """``path`` shows up to twelve pictures, spread evenly over the split; returns their number.

    A picture that can no longer be read is left out.
    """
    tiles = []
    for image_id in _choose_evenly([int(i) for i in index.image_ids]):
        entry = index.entry(image_id)
        try:
            tiles.append(_draw_tile(entry, index))
        except BROKEN:
            continue
    rows = max(1, math.ceil(len(tiles) / TILES_IN_ROW))
    step = TILE_PX + GAP_PX
    sheet = Image.new("RGB", (TILES_IN_ROW * step + GAP_PX, rows * step + GAP_PX), "white")
    for number, tile in enumerate(tiles):
        left, top = (
            GAP_PX + step * position for position in (number % TILES_IN_ROW, number // TILES_IN_ROW)
        )
        sheet.paste(tile, (left + (TILE_PX - tile.width) // 2, top + (TILE_PX - tile.height) // 2))
    sheet.save(path, quality=JPEG_QUALITY)
    return len(tiles)


def _choose_evenly(image_ids: Sequence[int]) -> list[int]:
    num = min(MOST_TILES, len(image_ids))
    return [image_ids[position * len(image_ids) // num] for position in range(num)]


def _draw_tile(entry: ImageEntry, index: AnnotationIndex) -> Image.Image:
    """The picture with its boxes, each with the name of its class, at most a tile large."""
    picture = open_rgb(entry.path, (entry.width, entry.height), index.level_ranges)
    factor = TILE_PX / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    tile = picture.resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(tile)
    for box, label in zip(entry.boxes_xyxy.tolist(), entry.labels.tolist(), strict=True):
        x1, y1, x2, y2 = (corner * factor for corner in box)
        color = BOX_COLORS[(label - 1) % len(BOX_COLORS)]
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=2)
        name, where = index.categories[label - 1], (x1 + 3, y1 + 1)
        draw.text(where, name, fill=color, stroke_width=1, stroke_fill="black")
    return tile
