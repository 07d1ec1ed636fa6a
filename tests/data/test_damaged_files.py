"""Whatever happens to a picture file: it is called damaged, or it can be read."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from deep_pictures import write_png_16, write_tiff
from PIL import Image

from rethink_ray.data.pictures import open_rgb, picture_size

NUM_FILES = 40
"""Mutated files of each whole one: 16 x 40 in about three seconds."""


def whole_files(folder: Path) -> dict[str, bytes]:
    """Files of every format: name -> content."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (30, 24, 3), dtype=np.uint8))
    deep = rng.integers(0, 4096, (9, 8, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    saved = {
        "a.jpg": {},
        "progressive.jpg": {"progressive": True, "exif": exif},
        "a.png": {},
        "plain.png": {"compress_level": 0, "exif": exif},
        "a.bmp": {},
        "a.tif": {},
        "deflate.tif": {"compression": "tiff_deflate"},
        "lzw.tif": {"compression": "tiff_lzw"},
        "jpeg.tif": {"compression": "jpeg"},
        "a.webp": {},
        "a.gif": {},
    }
    files = {}
    for name, options in saved.items():
        kept = io.BytesIO()
        form = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name.partition(".")[2].upper())
        colours.save(kept, form, **options)
        files[name] = kept.getvalue()
    for name, kind in {"u2.tif": "u2", "i4.tif": "i4", "f4.tif": "f4"}.items():
        levels = deep[..., 0].astype(kind)
        files[name] = write_tiff(folder / name, levels, order=">", is_packed=True).read_bytes()
    files["colour.tif"] = write_tiff(folder / "deep.tif", deep).read_bytes()
    files["deep.png"] = write_png_16(folder / "deep.png", deep).read_bytes()
    return files


def mutate(content: bytes, draws: random.Random) -> bytes:
    """Cuts, flips, clears, sets or inserts bytes, once to three times."""
    spoilt = bytearray(content)
    for _ in range(draws.randint(1, 3)):
        at = draws.randrange(len(spoilt) or 1)
        match draws.choice(["cut", "flip", "clear", "insert"]):
            case "cut":
                del spoilt[at:]
            case "flip":
                spoilt[at : at + 1] = bytes(one ^ 16 for one in spoilt[at : at + 1])
            case "clear":
                rest = spoilt[at : at + draws.randint(1, 60)]
                spoilt[at : at + len(rest)] = bytes(len(rest))
            case _:
                spoilt[at:at] = draws.randbytes(draws.randint(1, 8))
    return bytes(spoilt)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of many damages before it raises
def test_what_is_not_called_damaged_can_be_read(tmp_path: Path) -> None:
    draws, num_read = random.Random(0), 0
    for name, content in whole_files(tmp_path).items():
        path = tmp_path / f"spoilt_{name}"
        for _ in range(NUM_FILES):
            path.write_bytes(mutate(content, draws))
            size = picture_size(path, decode=True)
            if isinstance(size, str):
                assert size == "unreadable_image"
                continue
            assert open_rgb(path).size == size, name
            num_read += 1
    assert num_read > NUM_FILES  # cleared zeros, flipped pixels of a BMP, notes behind the end
