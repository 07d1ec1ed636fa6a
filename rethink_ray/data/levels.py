"""Reads the levels of deep pictures (16 or 32 bits per channel, floats), scales them to eight bits.

Pillow keeps eight bits of such pictures or clips them. Their files do not say which level is white
(12 bits of a camera lie in 16), so the pictures of the training split decide, together.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

GRAY_16, GRAY_32, FLOAT_32, COLOUR_16 = "gray16", "gray32", "float32", "colour16"
"""Kinds of deep picture; the kind of a picture with eight bits per channel is empty."""
DEPTHS: Final = (1, 8, 10, 12, 14, 16)
"""Bits per channel whose highest level is taken for white."""
DARKEST_SHARE: Final = 1 / 8
"""Pictures must use at least this share of a depth for it to be taken for theirs."""
OVERSHOOT: Final = 1.1
"""Floats may exceed white, and fall below black, by a tenth: resizing overshoots at edges."""
OUTLIERS: Final = 0.01
"""Share of the pictures that may exceed the scale: one hot pixel must not darken a data set."""

_BIG_ENDIAN: Final = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
"""Pillow's formats of big-endian TIFF. libtiff returns the machine's own byte order instead."""
_OTHER_BYTE: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte order at the end of a raw mode -> the order that makes Pillow unpack the other byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRange:
    """The lowest and the highest finite level of a picture; or the levels of black and white."""

    lowest: float
    highest: float

    def is_within(self, other: "LevelRange") -> bool:
        """Whether no level of this range exceeds the other by more than a tenth of its span."""
        slack = (OVERSHOOT - 1.0) * (other.highest - other.lowest)
        return self.lowest >= other.lowest - slack and self.highest <= other.highest + slack


LevelRanges = Mapping[str, LevelRange]
"""Kind of deep picture -> the levels that become black and white."""


def kind_of(picture: Image.Image) -> str:
    """Returns the kind of a picture that is not decoded yet; empty for eight bits per channel."""
    if picture.mode.startswith("I;16"):
        return GRAY_16
    if picture.mode in ("I", "F"):
        return GRAY_32 if picture.mode == "I" else FLOAT_32
    return COLOUR_16 if any(";16" in raw for raw in _raw_modes(picture)) else ""


def read_levels(picture: Image.Image, kind: str) -> NDArray[np.float64]:
    """Decodes a deep picture to its levels: [H, W], or [H, W, 3] for colours; alpha is left out.

    Args:
        picture: opened from a path.
        kind: of the picture, from ``kind_of``.
    """
    if kind == COLOUR_16:
        return _read_deep_colours(picture)
    raw_modes = _raw_modes(picture)
    if isinstance(picture, ImageFile.ImageFile) and _is_read_by_libtiff(picture):
        _replace_raw_modes(picture, _BIG_ENDIAN)
    levels = np.asarray(picture)
    if "I;32N" in raw_modes:  # unsigned, which Pillow has no mode for
        levels = levels.view(np.uint32)
    return levels.astype(np.float64)


def find_range(levels: NDArray[np.float64]) -> tuple[LevelRange, bool]:
    """Returns the range of the finite levels, and whether all are finite; 0..0 if none is."""
    finite = np.isfinite(levels)
    is_finite = bool(finite.all())
    kept = levels if is_finite else levels[finite]
    if not kept.size:
        return LevelRange(lowest=0.0, highest=0.0), is_finite
    return LevelRange(lowest=float(kept.min()), highest=float(kept.max())), is_finite


def choose_range(kind: str, ranges: Iterable[LevelRange]) -> LevelRange:
    """Returns the levels of black and white for all pictures of one kind.

    Black is 0 and white the highest level of the smallest depth (1, 8, 10, 12, 14 or 16 bits;
    for floats also 0..1) that holds 99 of 100 pictures. If no depth fits, as with negative levels
    or heights in metres, black and white are the extremes of those 99 of 100.

    Args:
        kind: of the pictures, from ``kind_of``.
        ranges: lowest and highest level of each picture; at least one.
    """
    pictures = list(ranges)
    lowest = -_exceeded_by_few([-picture.lowest for picture in pictures])
    highest = _exceeded_by_few([picture.highest for picture in pictures])
    slack = OVERSHOOT if kind == FLOAT_32 else 1.0
    if lowest >= -(slack - 1.0) * max(highest, 0.0):
        for bits in DEPTHS:
            white = 2.0**bits - 1.0
            if white * DARKEST_SHARE <= highest <= white * slack:
                return LevelRange(lowest=0.0, highest=white)
        return LevelRange(lowest=0.0, highest=highest if highest > 0.0 else 1.0)
    return LevelRange(lowest=lowest, highest=max(highest, math.nextafter(lowest, math.inf)))


def choose_ranges(pictures: Iterable[tuple[str, LevelRange]], given: LevelRanges) -> LevelRanges:
    """Returns the range of every kind: the given one, or else the one that these pictures choose.

    Args:
        pictures: kind and range of each deep picture of a split.
        given: the ranges of train, for another split.
    """
    ranges_of: dict[str, list[LevelRange]] = {}
    for kind, levels in pictures:
        ranges_of.setdefault(kind, []).append(levels)
    chosen = {kind: choose_range(kind, levels) for kind, levels in sorted(ranges_of.items())}
    return {**chosen, **given}


def scale_levels(levels: NDArray[np.float64], scale: LevelRange) -> Image.Image:
    """Returns an eight-bit picture; levels beyond the scale are cut, and NaN becomes black."""
    shares = (levels - scale.lowest) / (scale.highest - scale.lowest)
    shares = np.nan_to_num(shares, nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray(np.rint(np.clip(shares, 0.0, 1.0) * 255.0).astype(np.uint8))


def _exceeded_by_few(values: list[float]) -> float:
    """Returns the smallest of the values that at most ``OUTLIERS`` of them exceed."""
    return sorted(values)[len(values) - 1 - int(OUTLIERS * len(values))]


def _read_deep_colours(picture: Image.Image) -> NDArray[np.float64]:
    """Decodes the file twice, since Pillow unpacks one byte of two: the high, then the low one.

    Of gray with alpha Pillow unpacks the high byte alone, which then stands for both.
    """
    with Image.open(_path_of(picture)) as twin:
        modes, high = _raw_modes(twin), np.asarray(picture)[..., :3]
        if any(mode.startswith("LA") for mode in modes):
            return high.astype(np.float64) * 257.0
        _replace_raw_modes(twin, {mode: _name_other_byte(mode) for mode in modes})
        levels: NDArray[np.float64] = high.astype(np.float64) * 256.0 + np.asarray(twin)[..., :3]
        return levels


def _name_other_byte(raw_mode: str) -> str:
    return raw_mode[:-1] + _OTHER_BYTE.get(raw_mode[-1], raw_mode[-1])


def _path_of(picture: Image.Image) -> str | bytes:
    return getattr(picture, "filename", "")


def _is_read_by_libtiff(picture: ImageFile.ImageFile) -> bool:
    return any(tile[0] == "libtiff" for tile in picture.tile)


def _raw_modes(picture: Image.Image) -> list[str]:
    tiles = picture.tile if isinstance(picture, ImageFile.ImageFile) else []
    arguments = (tile[3] for tile in tiles)
    heads = (args[0] if isinstance(args, tuple) and args else args for args in arguments)
    return [head for head in heads if isinstance(head, str)]


def _replace_raw_modes(picture: ImageFile.ImageFile, renamed: Mapping[str, str]) -> None:
    tiles = []
    for tile in picture.tile:
        args = tile[3]
        if isinstance(args, tuple) and args and isinstance(args[0], str):
            args = (renamed.get(args[0], args[0]), *args[1:])
        elif isinstance(args, str):
            args = renamed.get(args, args)
        tiles.append(tile._replace(args=args))
    picture.tile = tiles
