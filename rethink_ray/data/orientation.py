"""EXIF orientation: decides whether a picture was annotated as stored or as turned by EXIF.

Today's browsers and annotation tools show pictures turned; older tools did not. The files look
alike, so the annotated width and height decide.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from rethink_ray.data.levels import kind_of

Size = tuple[int, int]
"""Width and height in pixels."""
UNSTATED: Final[Size] = (0, 0)
"""The annotation gives no size."""
AS_STORED: Final = 1
SIDEWAYS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""

_TAG, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101
_INTEGER_TYPES: Final = {1: "B", 3: "H", 4: "I"}
"""EXIF's integer types, as ``struct`` formats."""
_XMP_ORIENTATION = re.compile(r"tiff:Orientation(?:=\"|>)([1-8])")
_METADATA_CHUNKS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
_TURN_TO_SHOWN: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURN_TO_STORED: Final = {**_TURN_TO_SHOWN, 6: _TURN_TO_SHOWN[8], 8: _TURN_TO_SHOWN[6]}
"""The inverse transforms; all but the two quarter turns are their own inverse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """Size and orientation of a picture, known before its pixels are decoded."""

    stored_wh: Size
    orientation: int
    """EXIF's, 1 to 8; 1 if the file states none or an invalid one."""
    decodes_turned: bool
    """Whether Pillow turns the pixels while decoding; it does so for TIFF only."""
    kind: str = ""
    """The kind of a deep picture (``levels.kind_of``); empty for eight bits per channel."""

    @property
    def shown_wh(self) -> Size:
        """Width and height of the picture as turned by EXIF."""
        width, height = self.stored_wh
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def is_turned(self, annotated_wh: Size) -> bool:
        """Returns whether the boxes belong to the turned picture, so that pixels must be turned.

        A picture stays as stored only if the annotation states its stored size and the turned size
        differs. If both sizes agree (mirrored, upside down, square), if no size is stated, or if
        the stated size is neither of the two, then the picture is turned, as today's annotation
        tools do.
        """
        if self.orientation == AS_STORED:
            return False
        return annotated_wh != self.stored_wh or self.shown_wh == self.stored_wh

    def size_for(self, annotated_wh: Size) -> Size:
        """Returns width and height of the pixels that belong to this annotation."""
        return self.shown_wh if self.is_turned(annotated_wh) else self.stored_wh


def is_stated(annotated_wh: Size) -> bool:
    """Returns whether an annotation states a size."""
    return annotated_wh[0] > 0 and annotated_wh[1] > 0


def parse_header(picture: Image.Image) -> PictureHeader:
    """Returns the header of a picture that was opened from a path and is not decoded yet.

    Only a PNG with metadata behind its pixels is decoded for this.
    """
    is_tiff, kind = isinstance(picture, TiffImageFile), kind_of(picture)
    if isinstance(picture, TiffImageFile):  # its `size` is already that of the picture as shown
        stored_wh = (int(picture.tag_v2[_WIDTH]), int(picture.tag_v2[_HEIGHT]))
        tag = picture.tag_v2.get(_TAG)
    else:
        if isinstance(picture, PngImageFile) and _has_late_metadata(picture.filename):
            picture.load()
        stored_wh = picture.size
        tag = parse_orientation(_find_exif(picture.info))
    if tag is None:
        tag = _parse_xmp(picture.info)
    orientation = int(tag) if tag in _TURN_TO_SHOWN else AS_STORED
    return PictureHeader(
        stored_wh=stored_wh, orientation=orientation, decodes_turned=is_tiff, kind=kind
    )


def turn_as_annotated(
    pixels: Image.Image, header: PictureHeader, annotated_wh: Size
) -> Image.Image:
    """Turns decoded pixels, if needed, so that they match their annotation."""
    if header.orientation == AS_STORED or header.is_turned(annotated_wh) == header.decodes_turned:
        return pixels
    return pixels.transpose(
        (_TURN_TO_STORED if header.decodes_turned else _TURN_TO_SHOWN)[header.orientation]
    )


def parse_orientation(exif: bytes) -> int | None:
    """Returns the orientation in an EXIF block; ``None`` if it states none or is damaged.

    Pillow's parser is not used, because it warns or raises at unrelated faults of the block.
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
            if tag == _TAG and kind in _INTEGER_TYPES:
                value = struct.unpack_from(order + _INTEGER_TYPES[kind], block, start + 8)
                return int(value[0])
    except struct.error:
        return None
    return None


def _find_exif(info: Mapping[Any, Any]) -> bytes:
    """Returns the EXIF bytes that Pillow read; old PNG files hold them as hexadecimal text."""
    if "exif" in info:
        return bytes(info["exif"])
    lines = str(info.get("Raw profile type exif", "")).split("\n")
    try:
        return bytes.fromhex("".join(lines[3:]))
    except ValueError:
        return b""


def _parse_xmp(info: Mapping[Any, Any]) -> int | None:
    block = info.get("xmp") or info.get("XML:com.adobe.xmp") or ""
    text = block.decode("utf-8", "ignore") if isinstance(block, bytes) else str(block)
    match = _XMP_ORIENTATION.search(text)
    return None if match is None else int(match[1])


def _has_late_metadata(path: str | bytes) -> bool:
    """Returns whether a PNG has text or EXIF behind its pixels, which opening does not read."""
    seen_pixels = False
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            seen_pixels |= kind == b"IDAT"
            if seen_pixels and kind in _METADATA_CHUNKS:
                return True
            file.seek(length + 4, 1)
    return False
