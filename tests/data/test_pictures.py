from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rethink_ray.data.pictures import open_unchanged, picture_size, read_or_gray, read_rgb
from rethink_ray.spec.errors import DataError

LEVELS = np.array([[0, 64, 128, 255]], np.uint8)


def saved(path: Path, pixels: np.ndarray, **options: object) -> str:
    Image.fromarray(pixels).save(path, **options)
    return str(path)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("gray.png", LEVELS),
        ("sixteen.png", LEVELS.astype(np.uint16) * 257),
        ("sixteen.tif", LEVELS.astype(np.uint16) * 257),
        ("thirty_two.tif", LEVELS.astype(np.int32) * 257),
        ("floats.tif", LEVELS.astype(np.float32) / 255),
    ],
)
def test_every_depth_keeps_its_range_in_eight_bits(
    tmp_path: Path, name: str, pixels: np.ndarray
) -> None:
    assert read_rgb(saved(tmp_path / name, pixels)).tolist() == [LEVELS.tolist()] * 3


def test_a_cmyk_picture_is_read_as_rgb(tmp_path: Path) -> None:
    white = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    white.save(tmp_path / "a.jpg")
    assert read_rgb(str(tmp_path / "a.jpg")).unique().tolist() == [255]


def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((2, 2, 3), (200, 10, 30), np.uint8)).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes([128] * 256))
    plain = Image.open(tmp_path / "a.png")
    expected = np.asarray(plain.convert("RGBA"))[0, 0, :3].tolist()
    plain.close()
    assert read_rgb(str(tmp_path / "a.png"))[:, 0, 0].tolist() == expected


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_jpeg_cut_short_is_noticed_when_indexed_and_gray_when_read(
    tmp_path: Path, share: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = Path(saved(tmp_path / "a.jpg", noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert picture_size(path) == "unreadable_image"
    pixels, was_read = read_or_gray(str(path), 32, 32)
    assert not was_read
    assert torch.equal(pixels, torch.full((3, 32, 32), 128, dtype=torch.uint8))


def test_a_picture_that_changed_its_size_counts_as_broken(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.zeros((4, 8, 3), np.uint8))
    assert read_or_gray(path, 8, 4)[1]
    assert not read_or_gray(path, 16, 8)[1]


def test_a_picture_of_another_size_or_none_is_not_opened_as_it_was_indexed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    assert open_unchanged(path, (8, 6)).size == (8, 6)
    with pytest.raises(DataError, match="must have 6x6 pixels, as when it was indexed"):
        open_unchanged(path, (6, 6))
    with pytest.raises(DataError, match="must be an image that can be decoded"):
        open_unchanged(str(tmp_path / "gone.png"), (8, 6))
