"""Reads image files: headers, pixels, and faults.

Every picture is opened here, so that EXIF orientation follows one rule (``orientation.py``).
"""

import logging
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from rethink_ray.data.contents import ABSENT_ERRORS, may_pass
from rethink_ray.data.levels import (
    LevelRange,
    LevelRanges,
    choose_range,
    find_range,
    read_levels,
    scale_levels,
)
from rethink_ray.data.orientation import (
    UNSTATED,
    PictureHeader,
    Size,
    parse_header,
    turn_as_annotated,
)
from rethink_ray.spec.errors import DataError, explain

if TYPE_CHECKING:  # indexes and checks read headers only, without waiting for torch
    from torch import Tensor

Bytes = NDArray[np.uint8]
ReadFault = Literal["missing_image", "unreadable_image"]
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError),
    *(TypeError, AttributeError, LookupError, ArithmeticError, struct.error),
    *(RuntimeError, MemoryError),
)
"""Exceptions of PIL for damaged pictures; it raises those of the second line for TIFF only, and
those of the third for AVIF and for pictures that do not fit into memory."""
_LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 64
_START_OF_SCAN, _FILL = 0xDA, 0xFF
"""Second byte of the JPEG marker in front of the pixels, while other segments state their length;
and the byte that may stand in front of any marker."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFacts:
    """What decoding tells of a deep picture; the defaults stand for eight bits per channel."""

    levels: LevelRange | None = None
    is_finite: bool = True
    """Whether no level is NaN or infinite."""


def read_header(path: Path, *, decode: bool = False) -> PictureHeader | ReadFault:
    """Returns size and orientation from the file's header, or the fault of the file.

    A file without its format's end mark is decoded to check it; ``decode`` decodes every file.
    """
    try:
        read = read_pixel_facts(path, decode=decode)
    except (OSError, MemoryError) as error:
        return name_fault(error)
    return read if isinstance(read, str) else read[0]


def read_pixel_facts(
    path: Path, *, decode: bool = True
) -> tuple[PictureHeader, "LevelFacts"] | ReadFault:
    """Returns the header and the levels of a picture, or the fault of its file.

    Decoding a JPEG to an eighth of its size meets the same faults in half the time, since every
    bit is still read. Pillow does not compare the check sums of a PNG's pixels, so this does.

    Args:
        path: of the file.
        decode: false to read the header and the end of the file alone.

    Raises:
        OSError: for a reason that may pass (``may_pass``).
        MemoryError: the picture does not fit into the memory that is free now.
    """
    try:
        with Image.open(path) as picture:
            header = parse_header(picture)
            if not decode and _has_end_mark(path, picture.format or ""):
                return header, LevelFacts()
            if isinstance(picture, PngImageFile):
                _check_pixel_sums(path)
            if header.kind:
                levels, is_finite = find_range(read_levels(picture, header.kind))
                return header, LevelFacts(levels=levels, is_finite=is_finite)
            if picture.format == "JPEG":
                _check_jpeg_end(path)
                picture.draft(None, (1, 1))
            picture.load()
    except BROKEN as error:
        if isinstance(error, MemoryError) or may_pass(error):
            raise
        return name_fault(error)
    return header, LevelFacts()


def name_fault(error: BaseException) -> ReadFault:
    """Returns the fault of a file that cannot be opened or decoded."""
    is_absent = isinstance(error, OSError) and error.errno in ABSENT_ERRORS
    return "missing_image" if is_absent else "unreadable_image"


def picture_size(path: Path, *, decode: bool = False) -> Size | ReadFault:
    """Returns (width, height) of the picture as turned by EXIF, or the fault of the file."""
    header = read_header(path, decode=decode)
    return header if isinstance(header, str) else header.shown_wh


def read_headers(paths: list[Path], *, decode: bool = False) -> list[PictureHeader | ReadFault]:
    """Returns ``read_header`` of every path; reads eight files at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: read_header(path, decode=decode), paths))


def open_rgb(
    path: str | Path, annotated_wh: Size = UNSTATED, ranges: LevelRanges | None = None
) -> Image.Image:
    """Decodes a picture to RGB, as it was annotated: turned by EXIF or as stored.

    Args:
        path: of the file.
        annotated_wh: the annotated width and height, which decide between the two.
        ranges: levels of black and white of deep pictures; of a kind without one, the picture's
            own levels decide.
    """
    with Image.open(path) as picture:
        header = parse_header(picture)
        pixels = _convert_to_eight_bits(picture, header.kind, ranges or {}).convert("RGB")
    return turn_as_annotated(pixels, header, annotated_wh)


def open_unchanged(path: str, indexed_wh: Size, ranges: LevelRanges | None = None) -> Image.Image:
    """Decodes a picture that was indexed, as ``open_rgb``.

    Raises:
        DataError: the file is gone or damaged, or its picture has another size now.
    """
    try:
        picture = open_rgb(path, indexed_wh, ranges)
    except BROKEN as error:
        must = "must be an image that can be decoded"
        raise DataError(explain(path, must, str(error) or type(error).__name__)) from None
    if picture.size != tuple(indexed_wh):
        must = f"must have {indexed_wh[0]}x{indexed_wh[1]} pixels, as when it was indexed"
        raise DataError(explain(path, must, f"{picture.size[0]}x{picture.size[1]}"))
    return picture


def read_rgb(
    path: str, annotated_wh: Size = UNSTATED, ranges: LevelRanges | None = None
) -> "Tensor":
    """Returns ``open_rgb`` as [3, H, W] uint8; torchvision's decoders are deprecated since 0.29."""
    import torch

    pixels = np.array(open_rgb(path, annotated_wh, ranges))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _convert_to_eight_bits(picture: Image.Image, kind: str, ranges: LevelRanges) -> Image.Image:
    """Scales a deep picture to eight bits per channel; other pictures keep their mode.

    A palette with transparency becomes RGBA, as Pillow requires.
    """
    if kind:
        levels = read_levels(picture, kind)
        scale = ranges.get(kind)
        return scale_levels(levels, scale or choose_range(kind, [find_range(levels)[0]]))
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture


def read_or_gray(
    path: str, width: int, height: int, ranges: LevelRanges | None = None
) -> "tuple[Tensor, bool]":
    """Returns the pixels and True; gray and False for a file that broke since it was indexed.

    A picture whose size differs from the index counts as broken too, since its boxes do not fit.
    """
    import torch

    try:
        pixels = read_rgb(path, (width, height), ranges)
        if pixels.shape[1:] == (height, width):
            return pixels, True
        fault = f"it is {pixels.shape[2]}x{pixels.shape[1]} now, not {width}x{height}"
    except BROKEN as error:
        fault = str(error)
    _log.warning("%s cannot be used (%s): a gray image without boxes replaces it", path, fault)
    return torch.full((3, max(height, 1), max(width, 1)), 128, dtype=torch.uint8), False


def _has_end_mark(path: Path, form: str) -> bool:
    """Returns whether the file ends with its format's end mark; False if there is no such mark."""
    mark = _LAST_BYTES.get(form)
    if mark is None:
        return False
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _TAIL, 0))
        return mark in file.read()


def _check_jpeg_end(path: Path) -> None:
    """Looks for the end mark behind the pixels of a JPEG; other bytes may follow it.

    Zeros in place of the rest of a file, which a broken download leaves, decode without an error.

    Raises:
        SyntaxError: there is no end mark.
    """
    content, start = path.read_bytes(), 2
    while start + 4 <= len(content) and content[start + 1] != _START_OF_SCAN:
        is_fill = content[start + 1] == _FILL
        start += 1 if is_fill else 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    if content.find(_LAST_BYTES["JPEG"], start if start < len(content) else 2) < 0:
        raise SyntaxError("broken JPEG file (no end mark)")


def _check_pixel_sums(path: Path) -> None:
    """Compares the check sum of every chunk of a PNG that holds pixels.

    Raises:
        SyntaxError: one differs, as Pillow raises for other chunks.
    """
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind != b"IDAT":
                file.seek(length + 4, 1)
                continue
            content, stated = file.read(length), file.read(4)
            if zlib.crc32(kind + content).to_bytes(4, "big") != stated:
                raise SyntaxError("broken PNG file (bad check sum of pixels)")
