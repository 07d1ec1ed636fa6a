"""Reads image files: headers, pixels, and faults.

Every picture is opened here, so that EXIF orientation follows one rule (``orientation.py``).
"""

import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rethink_ray.data.orientation import (
    UNSTATED,
    PictureHeader,
    Size,
    parse_header,
    turn_as_annotated,
)

if TYPE_CHECKING:  # indexes and checks read headers only, without waiting for torch
    from torch import Tensor

Bytes = NDArray[np.uint8]
ReadFault = Literal["missing_image", "unreadable_image"]
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError),
    *(TypeError, AttributeError, LookupError, ArithmeticError, struct.error),
)
"""Exceptions of PIL for damaged pictures; it raises those of the second line for TIFF only."""
_LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 64

_log = logging.getLogger(__name__)


def read_header(path: Path, *, decode: bool = False) -> PictureHeader | ReadFault:
    """Returns size and orientation from the file's header, or the fault of the file.

    A file without its format's end mark is decoded to check it; ``decode`` decodes every file.
    """
    try:
        with Image.open(path) as picture:
            header = parse_header(picture)
            if decode or not _has_end_mark(path, picture.format or ""):
                picture.load()
    except FileNotFoundError:
        return "missing_image"
    except BROKEN:
        return "missing_image" if path.is_dir() else "unreadable_image"
    return header


def picture_size(path: Path, *, decode: bool = False) -> Size | ReadFault:
    """Returns (width, height) of the picture as turned by EXIF, or the fault of the file."""
    header = read_header(path, decode=decode)
    return header if isinstance(header, str) else header.shown_wh


def read_headers(paths: list[Path], *, decode: bool = False) -> list[PictureHeader | ReadFault]:
    """Returns ``read_header`` of every path; reads eight files at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: read_header(path, decode=decode), paths))


def open_rgb(path: str | Path, annotated_wh: Size = UNSTATED) -> Image.Image:
    """Decodes a picture to RGB, as it was annotated: turned by EXIF or as stored.

    Args:
        path: of the file.
        annotated_wh: the annotated width and height, which decide between the two.
    """
    with Image.open(path) as picture:
        header = parse_header(picture)
        pixels = convert_to_eight_bits(picture).convert("RGB")
    return turn_as_annotated(pixels, header, annotated_wh)


def read_rgb(path: str, annotated_wh: Size = UNSTATED) -> "Tensor":
    """Returns ``open_rgb`` as [3, H, W] uint8; torchvision's decoders are deprecated since 0.29."""
    import torch

    pixels = np.array(open_rgb(path, annotated_wh))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def convert_to_eight_bits(picture: Image.Image) -> Image.Image:
    """Converts a picture to eight bits per channel and scales its range.

    PIL's own conversion clips instead: a 16-bit picture would become white, a picture of floats in
    0..1 black. A palette with transparency becomes RGBA first, as PIL requires.
    """
    if picture.mode.startswith("I"):
        return _build_gray(np.asarray(picture).astype(np.float64) / 257.0)
    if picture.mode == "F":
        return _build_gray(np.nan_to_num(np.asarray(picture, np.float64)) * 255.0)
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture


def _build_gray(levels: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def read_or_gray(path: str, width: int, height: int) -> "tuple[Tensor, bool]":
    """Returns the pixels and True; gray and False for a file that broke since it was indexed.

    A picture whose size differs from the index counts as broken too, since its boxes do not fit.
    """
    import torch

    try:
        pixels = read_rgb(path, (width, height))
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
