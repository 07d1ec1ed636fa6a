"""EXIF orientation: how a stored picture is meant to be shown, and which of the two was annotated.

Browsers and annotation tools show pictures turned today, older tools did not, and the files look
alike. The annotated width and height tell which of the two was annotated.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

Size = tuple[int, int]
"""Width and height in pixels."""
UNSTATED: Final[Size] = (0, 0)
"""The annotation gives no size."""
AS_STORED: Final = 1
SIDEWAYS: Final = frozenset({5, 6, 7, 8})
"""Orientations that exchange width and height."""

_TAG, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101
_FORMS: Final = {1: "B", 3: "H", 4: "I"}
"""EXIF's types of whole numbers."""
_IN_XMP = re.compile(r"tiff:Orientation(?:=\"|>)([1-8])")
_SPEAKING_CHUNKS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
_FORTH: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK: Final = {**_FORTH, 6: _FORTH[8], 8: _FORTH[6]}
"""What undoes each; all but the two quarter turns undo themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """What a file says of its picture before a pixel is decoded."""

    stored_wh: Size
    orientation: int
    """EXIF's, 1 to 8; 1 where the file says nothing, or nonsense."""
    decodes_turned: bool
    """Pillow turns the pixels while it decodes them, as it does with TIFF alone."""

    @property
    def shown_wh(self) -> Size:
        """Of the picture as viewers show it."""
        width, height = self.stored_wh
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def is_turned(self, annotated_wh: Size) -> bool:
        """Whether the boxes were drawn on the picture as shown, so that the pixels must be turned.

        A picture stays as stored only if the annotation has its stored size and the size as shown
        is another one. If both agree (mirrored, upside down, square), if no size is stated or if
        it is neither of the two, then the picture is turned, as annotation tools turn it today.
        """
        if self.orientation == AS_STORED:
            return False
        return annotated_wh != self.stored_wh or self.shown_wh == self.stored_wh

    def size_for(self, annotated_wh: Size) -> Size:
        """Width and height of the pixels that belong to this annotation."""
        return self.shown_wh if self.is_turned(annotated_wh) else self.stored_wh


def is_stated(annotated_wh: Size) -> bool:
    """Whether an annotation gives a size at all."""
    return annotated_wh[0] > 0 and annotated_wh[1] > 0


def header_of(picture: Image.Image) -> PictureHeader:
    """The header of a picture that was opened from a path and whose pixels are not loaded yet.

    Only a PNG that speaks after its pixels is decoded for it.
    """
    is_tiff = isinstance(picture, TiffImageFile)
    if isinstance(picture, TiffImageFile):  # its `size` is already that of the picture as shown
        stored_wh = (int(picture.tag_v2[_WIDTH]), int(picture.tag_v2[_HEIGHT]))
        tag = picture.tag_v2.get(_TAG)
    else:
        if isinstance(picture, PngImageFile) and _speaks_after_its_pixels(picture.filename):
            picture.load()
        stored_wh = picture.size
        tag = orientation_in(_exif_block(picture.info))
    if tag is None:
        tag = _in_xmp(picture.info)
    orientation = int(tag) if tag in _FORTH else AS_STORED
    return PictureHeader(stored_wh=stored_wh, orientation=orientation, decodes_turned=is_tiff)


def as_annotated(pixels: Image.Image, header: PictureHeader, annotated_wh: Size) -> Image.Image:
    """The decoded pixels, turned, or turned back, to how they were annotated."""
    if header.orientation == AS_STORED or header.is_turned(annotated_wh) == header.decodes_turned:
        return pixels
    return pixels.transpose((_BACK if header.decodes_turned else _FORTH)[header.orientation])


def orientation_in(exif: bytes) -> int | None:
    """The orientation that an EXIF block states; ``None`` if it states none or is damaged.

    Read here and not by Pillow, which warns of, or raises at, any other fault of the block.
    """
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, first)
        for start in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, start)
            if tag == _TAG and kind in _FORMS:
                value = struct.unpack_from(order + _FORMS[kind], block, start + 8)
                return int(value[0])
    except struct.error:
        return None
    return None


def _exif_block(info: Mapping[Any, Any]) -> bytes:
    """The EXIF that Pillow kept of the file; in old PNG it stands as hexadecimal text."""
    if "exif" in info:
        return bytes(info["exif"])
    lines = str(info.get("Raw profile type exif", "")).split("\n")
    try:
        return bytes.fromhex("".join(lines[3:]))
    except ValueError:
        return b""


def _in_xmp(info: Mapping[Any, Any]) -> int | None:
    block = info.get("xmp") or info.get("XML:com.adobe.xmp") or ""
    text = block.decode("utf-8", "ignore") if isinstance(block, bytes) else str(block)
    match = _IN_XMP.search(text)
    return None if match is None else int(match[1])


def _speaks_after_its_pixels(path: str | bytes) -> bool:
    """Whether a PNG has text or EXIF behind its pixels, which opening it does not read."""
    seen_pixels = False
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            seen_pixels |= kind == b"IDAT"
            if seen_pixels and kind in _SPEAKING_CHUNKS:
                return True
            file.seek(length + 4, 1)
    return False
