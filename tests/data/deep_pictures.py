"""Pictures of more than eight bits per channel, written byte by byte."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SAMPLE_KINDS = {"u": 1, "i": 2, "f": 3}
_FORMATS = {3: "H", 4: "I"}
"""TIFF's types of 16 and 32 bits, as ``struct`` formats."""


def write_tiff(
    path: Path, levels: NDArray[np.generic], *, order: str = "<", is_packed: bool = False
) -> Path:
    """A TIFF of these levels, [H, W] or [H, W, C], in this byte order; ``is_packed``: deflate."""
    height, width, *channels = levels.shape
    num = channels[0] if channels else 1
    pixels = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if is_packed else pixels
    tags = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [levels.dtype.itemsize * 8] * num),
        (259, 3, [8 if is_packed else 1]),
        (262, 3, [2 if num >= 3 else 1]),
        (273, 4, [8]),
        (277, 3, [num]),
        (278, 4, [height]),
        (279, 4, [len(pixels)]),
        (339, 3, [_SAMPLE_KINDS[levels.dtype.kind]] * num),
    ]
    pixels += b"\0" * (len(pixels) % 2)
    first, beyond, rows = 8 + len(pixels), b"", b""
    for tag, kind, values in tags:
        value = struct.pack(order + _FORMATS[kind] * len(values), *values)
        if len(value) > 4:
            place = first + 2 + 12 * len(tags) + 4 + len(beyond)
            value, beyond = struct.pack(f"{order}I", place), beyond + value
        rows += struct.pack(f"{order}HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, first)
    table = struct.pack(f"{order}H", len(tags)) + rows + bytes(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + pixels + table + beyond)
    return path


def write_png_16(path: Path, levels: NDArray[np.uint16]) -> Path:
    """A PNG with 16 bits per channel; [H, W, C] with C of 1 to 4."""
    height, width, num = levels.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in levels)
    size = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[num], 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    sums = [zlib.crc32(kind + content) for kind, content in chunks]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checked)
            for (kind, content), checked in zip(chunks, sums, strict=True)
        )
    )
    return path
