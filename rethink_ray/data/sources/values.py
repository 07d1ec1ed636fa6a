"""Reads single values of annotation files whose meaning is plain, and no others.

A number in a text ("12.5") is that number, 1.0 is 1, "0" and "false" are false. Any other value is
not read, and the reader counts it: a guess would put a box where nothing is.
"""

import math
import re

from rethink_ray.data.sources.raw import Box, id_from_name

LARGEST_PX = 100_000.0
"""Coordinates beyond this are no pixels: a JPEG has at most 65,535 along a side."""
LARGEST_EXACT = 2**53
"""float64 represents every integer up to here exactly."""
SHOWN = 100
"""Characters of a value that an example or a message shows."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"(0|-?[1-9]\d{0,39})(\.0{1,9})?", re.ASCII)
"""Without leading zeros: 007 and 7 may be the names of two pictures."""
_FLAGS = {"0": False, "1": True, "false": False, "true": True, "no": False, "yes": True}
_LONGEST_NAME_BYTES = 255
"""Length of the longest file name that a file system takes."""


def read_number(value: object) -> float | None:
    """Returns a finite number, also from a text; ``None`` for other values, true and false too."""
    if isinstance(value, str) and len(value) <= SHOWN and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_coordinates(values: object) -> list[float] | None:
    """Returns coordinates in pixels; ``None`` if one of the values is none, or they are no list."""
    if not isinstance(values, list | tuple):
        return None
    numbers = [read_number(value) for value in values]
    usable = [n for n in numbers if n is not None and abs(n) <= LARGEST_PX]
    return usable if len(usable) == len(numbers) else None


def read_flag(value: object) -> bool | None:
    """Returns true or false; an absent value is false, ``None`` stands for any other value."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("", *_FLAGS):
        return _FLAGS.get(value.strip().lower(), False)
    number = read_number(value)
    return bool(number) if number in (0.0, 1.0) else None


def read_side(value: object) -> int | None:
    """Returns a width or height in pixels, 0 if it is not stated; ``None`` if it is no size."""
    if value is None or value == "":
        return 0
    number = read_number(value)
    if number is None or number != int(number) or not 0 <= number <= LARGEST_PX:
        return None
    return int(number)


def read_key(value: object) -> int | str | None:
    """Returns an id as a whole number or a name: 1, 1.0 and "1" are one id, "01" is another."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        whole = _INTEGER.fullmatch(text)
        if whole is None:
            return text if text and is_text(text) else None
        value = int(whole[1])
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return value


def read_image_id(value: object) -> int | None:
    """Returns an image id: a whole number as it is, a name as its hash; ``None`` for neither.

    Numbers that float64 cannot hold exactly are hashed too, since scoring would confuse images.
    """
    key = read_key(value)
    if isinstance(key, int) and abs(key) > LARGEST_EXACT:
        key = f"{key:#x}" if abs(key) > 10**40 else str(key)
    return id_from_name(key) if isinstance(key, str) else key


def read_file_name(value: object) -> str:
    """Returns the name of a file; empty if no file can have it."""
    if not isinstance(value, str) or not is_text(value) or "\0" in value:
        return ""
    parts = value.split("/")
    return value if max(len(part.encode()) for part in parts) <= _LONGEST_NAME_BYTES else ""


def is_text(value: str) -> bool:
    """Returns whether a text can be written as UTF-8; JSON can hold half of a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(value: object) -> str:
    """Returns a value as messages show it, in at most ``SHOWN`` characters."""
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def show_path(path: object) -> str:
    """Returns a path as it is written; bytes that are no UTF-8 become ``\\udcff``."""
    return str(path).encode(errors="backslashreplace").decode()


def area_of(box_xyxy: Box) -> float:
    """Returns the area of a box in square pixels; zero if its corners are swapped."""
    return max(box_xyxy[2] - box_xyxy[0], 0.0) * max(box_xyxy[3] - box_xyxy[1], 0.0)
