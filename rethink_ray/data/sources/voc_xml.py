"""Reads one XML file of PASCAL VOC, in the encoding that it declares.

The parser of the standard library knows no encoding of several bytes but UTF-8 and UTF-16, so the
bytes are decoded here. Entities are never expanded: a file that defines some is not read.
"""

import codecs
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.data.contents import may_pass
from rethink_ray.data.sources.raw import Box, Problem, RawObject
from rethink_ray.data.sources.values import (
    LARGEST_PX,
    area_of,
    read_flag,
    read_number,
    read_side,
    show,
)
from rethink_ray.spec.errors import DataError, explain

CORNER_TAGS = ("xmin", "ymin", "xmax", "ymax")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "iso-8859-1": "cp1252"}
"""Declared codec -> a wider one, since programs also write characters that the first lacks."""


class UnreadableXml(Exception):
    """An XML file that cannot be read; its message is the reason, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocPicture:
    """The contents of one XML file."""

    file_name: str
    """As the file states it; empty if it does not."""
    size: tuple[int, int]
    """Width and height in pixels; zeros if the file does not say."""
    objects: tuple[RawObject, ...]
    problems: tuple[Problem, ...]


def read_voc_file(path: Path, offset: int) -> VocPicture:
    """Returns the picture that an XML file describes; ``offset`` is subtracted from xmin and ymin.

    Raises:
        UnreadableXml: the file is missing or no VOC file, or its encoding is unknown.
        DataError: the file cannot be read for a reason that may pass.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if may_pass(error):
            must, remedy = "must be a file that can be read", "Try again once it can."
            raise DataError(explain(str(path), must, str(error), remedy)) from error
        raise UnreadableXml(getattr(error, "strerror", None) or str(error)) from None
    root = _parse(content)
    problems: list[Problem] = []
    objects = [_read_object(node, offset, path.name, problems) for node in root.iter("object")]
    sides = [read_side(_text(root, f"size/{side}")) for side in ("width", "height")]
    if None in sides:
        example = f"{path.name}: {show([_text(root, 'size/width'), _text(root, 'size/height')])}"
        problems.append(Problem(kind="unreadable_size", example=example))
        sides = [0, 0]
    return VocPicture(
        file_name=_text(root, "filename"),
        size=(sides[0] or 0, sides[1] or 0),
        objects=tuple(annotated for annotated in objects if annotated is not None),
        problems=tuple(problems),
    )


def _parse(content: bytes) -> ElementTree.Element:
    """Returns the root element; tags lose their namespaces and capital letters."""
    text, is_known = _decode(content)
    text = _DECLARATION.sub("", text, count=1).strip()
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableXml("a DOCTYPE or entities, which are not expanded")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise UnreadableXml(str(error)) from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2].lower()
    if root.tag != "annotation" and root.find(".//object") is None:
        raise UnreadableXml(f"no VOC annotation, but <{root.tag}>")
    if not is_known and not all(_text(node, "name").isascii() for node in root.iter("object")):
        raise UnreadableXml("names of categories in an encoding that the file does not declare")
    return root


def _decode(content: bytes) -> tuple[str, bool]:
    """Returns the text, and whether its encoding is known.

    Text in an unknown encoding is read byte by byte: in every common one, ASCII stands for itself,
    and only ``name`` and numbers are read.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _decode_as(content[len(mark) :], codec)
    declared = _DECLARED.match(content)
    codec = declared[1].decode("ascii").lower().replace("_", "-") if declared else "utf-8"
    if declared and _try_codec(declared[0], codec) != _try_codec(declared[0], "ascii"):
        codec = "utf-8"  # .NET declares UTF-16 in files of other encodings
    return _decode_as(content, _WIDER.get(codec, codec))


def _decode_as(content: bytes, codec: str) -> tuple[str, bool]:
    """Decodes as declared, or as UTF-8 if that fails or yields more characters than UTF-8.

    A character of three bytes in UTF-8 would be three of an 8-bit codec, one and a half of GBK. One
    of two bytes would be one of GBK, too: then the declaration decides.
    """
    texts = [text for name in (codec, "utf-8") if (text := _try_codec(content, name)) is not None]
    return (min(texts, key=len), True) if texts else (content.decode("latin-1"), False)


def _try_codec(content: bytes, codec: str) -> str | None:
    """Returns the text; ``None`` if there is no such codec, or it cannot read these bytes."""
    try:
        return content.decode(codec)
    except (LookupError, ValueError):
        return None


def _read_object(
    node: ElementTree.Element, offset: int, file_name: str, problems: list[Problem]
) -> RawObject | None:
    """Returns the object; ``None``, with a problem listed, if its box or flag cannot be read."""
    name, stated = _text(node, "name"), [_text(node, f"bndbox/{key}") for key in CORNER_TAGS]
    corners = [read_number(text) for text in stated]
    numbers = [number for number in corners if number is not None and abs(number) <= LARGEST_PX]
    where = f"{file_name}: {name}"
    if len(node.findall("bndbox")) > 1:  # nothing tells which one the name belongs to
        problems.append(Problem(kind="unreadable_box", example=f"{where} has two boxes"))
        return None
    if len(numbers) != len(CORNER_TAGS):
        problems.append(Problem(kind="unreadable_box", example=f"{where} {show(stated)}"))
        return None
    is_crowd = read_flag(_text(node, "difficult"))
    if is_crowd is None:
        example = f"{where}: difficult {show(_text(node, 'difficult'))}"
        problems.append(Problem(kind="unreadable_crowd", example=example))
        return None
    x0, y0, x1, y1 = numbers
    box: Box = (x0 - offset, y0 - offset, x1, y1)
    return RawObject(category=name or None, box_xyxy=box, is_crowd=is_crowd, area=area_of(box))


def _text(node: ElementTree.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()
