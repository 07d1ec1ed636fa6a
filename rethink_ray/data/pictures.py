"""Reading image files: whether one can be, its true size, its pixels.

EXIF orientation is ignored, as annotation tools for detection ignore it.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Bytes = NDArray[np.uint8]
Unread = Literal["missing_image", "unreadable_image"]
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 64

_log = logging.getLogger(__name__)


def picture_size(path: Path, *, decode: bool = False) -> tuple[int, int] | Unread:
    """(width, height) from the file's header, or what is wrong with the file.

    A file that does not end as its format ends is decoded to find out; ``decode`` does so always.
    """
    try:
        with Image.open(path) as picture:
            size = picture.size
            if decode or not _ends_well(path, picture.format or ""):
                picture.load()
    except FileNotFoundError:
        return "missing_image"
    except _BROKEN:
        return "missing_image" if path.is_dir() else "unreadable_image"
    return size


def picture_sizes(
    paths: list[Path], *, decode: bool = False
) -> list[tuple[int, int] | Literal["missing_image", "unreadable_image"]]:
    """``picture_size`` of every path, eight files at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: picture_size(path, decode=decode), paths))


def read_rgb(path: str) -> Tensor:
    """[3, H, W] uint8, RGB. Through PIL: torchvision's own decoders are deprecated since 0.29."""
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_or_gray(path: str, width: int, height: int) -> tuple[Tensor, bool]:
    """The pixels and True; or, for a file that broke since the index was built, gray and False."""
    try:
        return read_rgb(path), True
    except _BROKEN as error:
        _log.warning("%s cannot be read (%s): a gray image without boxes stands in", path, error)
        return torch.full((3, max(height, 1), max(width, 1)), 128, dtype=torch.uint8), False


def _ends_well(path: Path, form: str) -> bool:
    """False if the file's last bytes are not its format's, or the format has no such mark."""
    mark = _LAST_BYTES.get(form)
    if mark is None:
        return False
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _TAIL, 0))
        return mark in file.read()
