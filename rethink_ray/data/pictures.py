"""Reading image files: whether one can be, its true size, its pixels.

EXIF orientation is ignored, as annotation tools for detection ignore it.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # indexes and checks look at headers only, and need not wait for torch
    from torch import Tensor

Bytes = NDArray[np.uint8]
Unread = Literal["missing_image", "unreadable_image"]
BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What PIL raises on a file that is no whole picture."""
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
    except BROKEN:
        return "missing_image" if path.is_dir() else "unreadable_image"
    return size


def picture_sizes(
    paths: list[Path], *, decode: bool = False
) -> list[tuple[int, int] | Literal["missing_image", "unreadable_image"]]:
    """``picture_size`` of every path, eight files at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: picture_size(path, decode=decode), paths))


def read_rgb(path: str) -> "Tensor":
    """[3, H, W] uint8, RGB. Through PIL: torchvision's own decoders are deprecated since 0.29."""
    import torch

    with Image.open(path) as picture:
        pixels = np.array(eight_bits(picture).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def eight_bits(picture: Image.Image) -> Image.Image:
    """The picture with eight bits a channel, its range kept.

    PIL's own conversion cuts instead of scaling: a 16-bit picture would come out white, one of
    floats in 0..1 black. A palette with transparency goes over RGBA, which PIL asks for.
    """
    if picture.mode.startswith("I"):
        return _gray_of(np.asarray(picture).astype(np.float64) / 257.0)
    if picture.mode == "F":
        return _gray_of(np.nan_to_num(np.asarray(picture, np.float64)) * 255.0)
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture


def _gray_of(levels: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def read_or_gray(path: str, width: int, height: int) -> "tuple[Tensor, bool]":
    """The pixels and True; or, for a file that broke since the index was built, gray and False.

    A picture of another size than the index says is broken too: its boxes would lie elsewhere.
    """
    import torch

    try:
        pixels = read_rgb(path)
        if pixels.shape[1:] == (height, width):
            return pixels, True
        fault = f"it is {pixels.shape[2]}x{pixels.shape[1]} now, not {width}x{height}"
    except BROKEN as error:
        fault = str(error)
    _log.warning("%s cannot be used (%s): a gray image without boxes stands in", path, fault)
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
