"""Reads COCO's ``segmentation``: polygons or run lengths, compressed or not.

A list of numbers is one polygon, and numbers in texts count as numbers. A picture's size is not
known here: ``masks.find_extent`` decides whether anything of a mask lies in its picture.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from rethink_ray.data.sources.values import (
    LARGEST_PX,
    read_coordinates,
    read_number,
    read_side,
)

MIN_CORNERS = 3
"""A polygon has at least three. COCO's own reader takes four numbers for a box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """The mask of one object as its file gives it."""

    text: bytes = b""
    """COCO's ``segmentation`` as JSON; empty if there is none that can be read."""
    is_unreadable: bool = False
    """The file gives a value that is no mask."""
    num_left_out: int = 0
    """Number of pieces that are no polygon, of a mask with at least one polygon."""


NO_SEGMENTATION = Segmentation()
UNREADABLE_SEGMENTATION = Segmentation(is_unreadable=True)


def read_segmentation(value: object) -> Segmentation:
    """Returns the mask that a file gives; ``null``, ``[]`` and other empty values are none."""
    if value is None or value == "" or value == [] or value == {}:
        return NO_SEGMENTATION
    if isinstance(value, list):
        return _read_polygons(value)
    return _read_run_lengths(value) if isinstance(value, dict) else UNREADABLE_SEGMENTATION


def _read_polygons(value: list[Any]) -> Segmentation:
    """Reads a list of polygons, or the numbers of one."""
    pieces = value if any(isinstance(piece, list) for piece in value) else [value]
    polygons = [_read_polygon(piece) for piece in pieces]
    usable = [polygon for polygon in polygons if polygon is not None]
    if not usable:
        return UNREADABLE_SEGMENTATION
    text = json.dumps(value if usable == value else usable).encode()
    return Segmentation(text=text, num_left_out=len(polygons) - len(usable))


def _read_polygon(piece: object) -> list[float] | None:
    """Returns x, y, x, y, ... of three corners or more; ``None`` if the piece is no polygon."""
    numbers = piece if isinstance(piece, list) and _are_pixels(piece) else read_coordinates(piece)
    if numbers is None or len(numbers) % 2 or len(numbers) < 2 * MIN_CORNERS:
        return None
    return numbers


def _are_pixels(values: list[Any]) -> bool:
    """Returns whether all values are numbers that ``read_coordinates`` takes.

    This is twenty times as fast, and COCO has 50 million of them.
    """
    if not values or not set(map(type, values)) <= {int, float}:
        return False
    inside = min(values) >= -LARGEST_PX and max(values) <= LARGEST_PX
    return inside and math.isfinite(sum(values))


def _read_run_lengths(value: dict[str, Any]) -> Segmentation:
    """Reads run lengths, which must fill their picture."""
    size, counts = value.get("size"), value.get("counts")
    sides = [read_side(side) for side in size] if isinstance(size, list) else []
    if len(sides) != 2 or not sides[0] or not sides[1]:
        return UNREADABLE_SEGMENTATION
    if isinstance(counts, str):
        lengths: list[int] | None = expand_counts(counts)
    else:
        lengths = _read_lengths(counts)
        counts = lengths
    if lengths is None or min(lengths, default=-1) < 0 or sum(lengths) != sides[0] * sides[1]:
        return UNREADABLE_SEGMENTATION
    is_plain = counts is value["counts"] and set(map(type, value["size"])) == {int}
    clean = value if is_plain else {"size": sides, "counts": counts}
    return Segmentation(text=json.dumps(clean).encode())


def _read_lengths(counts: object) -> list[int] | None:
    if not isinstance(counts, list):
        return None
    if set(map(type, counts)) <= {int}:
        return counts
    lengths: list[int] = []
    for number in map(read_number, counts):
        if number is None or number != int(number):
            return None
        lengths.append(int(number))
    return lengths


def expand_counts(text: str) -> list[int] | None:
    """Returns the run lengths, in pixels, of COCO's compressed form; ``None`` for any other text.

    A character holds five bits of a number, the lowest first. Its sixth bit says that more follow,
    and the fifth bit of the last character is the sign. From the fourth number on, the number two
    before it is added. Source: cocoapi, ``common/maskApi.c``.
    """
    lengths: list[int] = []
    number, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            return None
        number |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, shift = 0, 0
    return None if shift else lengths
