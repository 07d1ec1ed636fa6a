from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from rethink_ray.data.near_duplicates import find_near_duplicates, read_look, read_looks
from tests.looking import draw, slide

EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by a quarter": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
    "with more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.2),
    "gray": ImageOps.grayscale,
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "stretched": lambda picture: picture.resize((96, 60)),
    "cropped by 2 %": lambda picture: picture.crop((0, 0, 47, 47)),
}


def looks_of(folder: Path, pictures: list[Image.Image]) -> np.ndarray:  # type: ignore[type-arg]
    looks = []
    for number, picture in enumerate(pictures):
        path = folder / f"{number}.png"
        picture.save(path)
        looks.append(read_look(path))
    return np.array(looks)


def pairs_of(folder: Path, pictures: list[Image.Image]) -> set[tuple[int, int]]:
    likeness = find_near_duplicates(looks_of(folder, pictures))
    return set(zip(likeness.first.tolist(), likeness.second.tolist(), strict=True))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_copy_looks_like_its_source(
    tmp_path: Path, edit: Callable[[Image.Image], Image.Image]
) -> None:
    sources = [draw(seed) for seed in range(4)]
    pairs = pairs_of(tmp_path, [*sources, *map(edit, sources)])
    assert pairs == {(0, 4), (1, 5), (2, 6), (3, 7)}


def test_other_pictures_do_not_look_alike(tmp_path: Path) -> None:
    assert pairs_of(tmp_path, [draw(seed) for seed in range(40)]) == set()


def test_frames_of_a_moving_camera_make_a_chain(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, slide(12))
    assert pairs == {(frame, frame + 1) for frame in range(11)}


def test_a_jpeg_looks_like_the_png_that_it_was_saved_from(tmp_path: Path) -> None:
    draw(1, side=640).save(tmp_path / "a.jpg", quality=60)
    draw(1, side=640).save(tmp_path / "a.png")
    looks = np.array([read_look(tmp_path / "a.jpg"), read_look(tmp_path / "a.png")])
    assert find_near_duplicates(looks).first.tolist() == [0]


def test_pictures_of_one_colour_look_like_nothing(tmp_path: Path) -> None:
    black, white = (Image.new("RGB", (48, 48), colour) for colour in ("black", "white"))
    assert pairs_of(tmp_path, [black, white]) == set()


def test_a_look_is_kept_under_the_content_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    draw(1).save(path)
    first = read_looks("folder", [path], [b"1" * 32])
    draw(2).save(path)
    assert (read_looks("folder", [path], [b"1" * 32]) == first).all()
    assert (read_looks("folder", [path], [b"2" * 32]) != first).any()


def test_a_palette_with_transparency_is_looked_at_without_a_warning(tmp_path: Path) -> None:
    picture = draw(1).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes(range(256)))
    draw(1).save(tmp_path / "b.png")
    looks = np.array([read_look(tmp_path / "a.png"), read_look(tmp_path / "b.png")])
    assert find_near_duplicates(looks).first.tolist() == [0]
