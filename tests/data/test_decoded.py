import os
from pathlib import Path

import torch
from PIL import Image

from rethink_ray.data.decoded import DecodedImages


def paint(path: Path, gray: int, at: int) -> str:
    Image.new("RGB", (2, 1), (gray, gray, gray)).save(path)
    os.utime(path, ns=(at, at))
    return str(path)


def test_an_image_is_decoded_once(tmp_path: Path) -> None:
    images = DecodedImages()
    path = paint(tmp_path / "a.png", 10, at=1)
    first, was_read = images.read(path, 2, 1)
    assert was_read
    assert first.tolist() == [[[10, 10]]] * 3
    assert images.read(path, 2, 1)[0] is first


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    images = DecodedImages()
    images.read(paint(tmp_path / "a.png", 10, at=1), 2, 1)
    again, _ = images.read(paint(tmp_path / "a.png", 20, at=2), 2, 1)
    assert again.unique().tolist() == [20]


def test_no_more_is_kept_than_fits(tmp_path: Path) -> None:
    images = DecodedImages(capacity_bytes=6)  # one image of 3 x 1 x 2
    paths = [paint(tmp_path / f"{name}.png", 10, at=1) for name in "ab"]
    first, second = (images.read(path, 2, 1)[0] for path in paths)
    assert images.read(paths[0], 2, 1)[0] is first
    assert images.read(paths[1], 2, 1)[0] is not second


def test_a_broken_file_is_gray_and_tried_again(tmp_path: Path) -> None:
    images = DecodedImages()
    broken = tmp_path / "a.png"
    broken.write_bytes(b"")
    pixels, was_read = images.read(str(broken), 2, 1)
    assert not was_read
    assert torch.equal(pixels, torch.full((3, 1, 2), 128, dtype=torch.uint8))
    assert images.read(paint(broken, 10, at=1), 2, 1)[1]
