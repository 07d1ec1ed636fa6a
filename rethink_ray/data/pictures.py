"""Reading image files: whether one can be, what its header says, its pixels.

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

if TYPE_CHECKING:  # indexes and checks look at headers only, and need not wait for torch
    from torch import Tensor

Bytes = NDArray[np.uint8]
ReadFault = Literal["missing_image", "unreadable_image"]
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError),
    *(TypeError, AttributeError, LookupError, ArithmeticError, struct.error),
)
"""What PIL raises on a file that is no whole picture; the second line on a damaged TIFF alone."""
_LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 64

_log = logging.getLogger(__name__)


def read_header(path: Path, *, decode: bool = False) -> PictureHeader | ReadFault:
    """Size and orientation from the file's header, or what is wrong with the file.

    A file that does not end as its format ends is decoded to find out; ``decode`` does so always.
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
    """(width, height) of the picture as shown, or what is wrong with the file."""
    header = read_header(path, decode=decode)
    return header if isinstance(header, str) else header.shown_wh


def read_headers(paths: list[Path], *, decode: bool = False) -> list[PictureHeader | ReadFault]:
    """``read_header`` of every path, eight files at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: read_header(path, decode=decode), paths))


def open_rgb(path: str | Path, annotated_wh: Size = UNSTATED) -> Image.Image:
    """The decoded picture in RGB, turned as its EXIF says or as stored: as it was annotated.

    Args:
        path: of the file.
        annotated_wh: the width and height that its boxes belong to, which decide.
    """
    with Image.open(path) as picture:
        header = parse_header(picture)
        pixels = convert_to_eight_bits(picture).convert("RGB")
    return turn_as_annotated(pixels, header, annotated_wh)


def read_rgb(path: str, annotated_wh: Size = UNSTATED) -> "Tensor":
    """[3, H, W] uint8 of ``open_rgb``. torchvision's own decoders are deprecated since 0.29."""
    import torch

    pixels = np.array(open_rgb(path, annotated_wh))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def convert_to_eight_bits(picture: Image.Image) -> Image.Image:
    """The picture with eight bits a channel, its range kept.

    PIL's own conversion cuts instead of scaling: a 16-bit picture would come out white, one of
    floats in 0..1 black. A palette with transparency goes over RGBA, which PIL asks for.
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
    """The pixels and True; or, for a file that broke since the index was built, gray and False.

    A picture of another size than the index says is broken too: its boxes would lie elsewhere.
    """
    import torch

    try:
        pixels = read_rgb(path, (width, height))
        if pixels.shape[1:] == (height, width):
            return pixels, True
        fault = f"it is {pixels.shape[2]}x{pixels.shape[1]} now, not {width}x{height}"
    except BROKEN as error:
        fault = str(error)
    _log.warning("%s cannot be used (%s): a gray image without boxes stands in", path, fault)
    return torch.full((3, max(height, 1), max(width, 1)), 128, dtype=torch.uint8), False


def _has_end_mark(path: Path, form: str) -> bool:
    """False if the file's last bytes are not its format's, or the format has no such mark."""
    mark = _LAST_BYTES.get(form)
    if mark is None:
        return False
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _TAIL, 0))
        return mark in file.read()
