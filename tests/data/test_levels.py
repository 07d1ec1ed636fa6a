"""Deep pictures become eight bits by one scale per kind, which the training split decides."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import coco, coco_spec, many_images, write_picture
from deep_pictures import write_png_16, write_tiff
from numpy.typing import NDArray
from PIL import Image

from rethink_ray.data.check import check_pools, check_split
from rethink_ray.data.fault_shares import measure_faults
from rethink_ray.data.faults import count_faults
from rethink_ray.data.levels import LevelRange, choose_range, kind_of, read_levels
from rethink_ray.data.loader import EvalImages
from rethink_ray.data.pictures import read_rgb
from rethink_ray.data.splits import build_index, open_split
from rethink_ray.data.upstream import open_upstream
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.recipe import UpstreamSpec
from rethink_ray.spec.regime import DataSpec, UnlabelledSpec


def write_split(folder: Path, split: str, tops: list[float], kind: str = "u2") -> None:
    """A TIFF of 4 x 1 pixels for each top: black, a quarter, half of it, and the top."""
    document = coco({key: [] for key in range(1, len(tops) + 1)}, size=(4, 1))
    for record, top in zip(document["images"], tops, strict=True):
        record["file_name"] = f"{record['id']}.tif"
        levels = np.array([[0, top / 4, top / 2, top]]).astype(kind)
        write_tiff(folder / split / f"{record['id']}.tif", levels)
    (folder / f"{split}.json").write_text(json.dumps(document))


def read_image(data: DataSpec, split: str, image_id: int) -> list[int]:
    """The four gray levels of an image, as scoring sees them."""
    image = EvalImages(open_split(data, split))[image_id]
    return image[0, 0].tolist()


def found_in(data: DataSpec, split: str = "train") -> dict[str, int]:
    findings = check_split(data, split)
    return {found.kind: found.count for found in findings if found.kind != "empty_image"}


@pytest.mark.parametrize(
    ("kind", "tops", "black", "white"),
    [
        ("gray16", [65535, 40000], 0, 65535),
        ("gray16", [4095, 3000], 0, 4095),
        ("gray16", [255, 200], 0, 255),
        ("gray16", [1, 1], 0, 1),  # a mask
        ("gray32", [1023], 0, 1023),
        ("gray32", [70000], 0, 70000),  # no depth: the highest level
        ("gray32", [5], 0, 5),  # of eight bits, less than an eighth would be used
        ("float32", [0.9], 0, 1),
        ("float32", [1.05], 0, 1),  # overshoot of a resize
        ("float32", [200.0, 255.3], 0, 255),
        ("float32", [60000.0], 0, 65535),
        ("float32", [3.0], 0, 3),
        ("gray16", [0], 0, 1),
    ],
)
def test_white_is_the_highest_level_of_the_smallest_depth_that_fits(
    kind: str, tops: list[float], black: float, white: float
) -> None:
    pictures = [LevelRange(lowest=0, highest=top) for top in tops]
    assert choose_range(kind, pictures) == LevelRange(lowest=black, highest=white)


def test_negative_levels_are_scaled_from_the_lowest_to_the_highest() -> None:
    scan = [LevelRange(lowest=-1024, highest=3071), LevelRange(lowest=-900, highest=100)]
    assert choose_range("gray32", scan) == LevelRange(lowest=-1024, highest=3071)
    near_zero = [LevelRange(lowest=-0.02, highest=1.0)]
    assert choose_range("float32", near_zero) == LevelRange(lowest=0, highest=1)
    centred = [LevelRange(lowest=-1.0, highest=1.0)]
    assert choose_range("float32", centred) == LevelRange(lowest=-1, highest=1)


def test_one_picture_in_a_hundred_does_not_decide() -> None:
    pictures = [LevelRange(lowest=0, highest=4000)] * 99 + [LevelRange(lowest=0, highest=65535)]
    assert choose_range("gray16", pictures).highest == 4095
    assert choose_range("gray16", pictures[-50:]).highest == 65535


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f4"])
def test_every_byte_order_and_packing_gives_the_levels_that_were_written(
    tmp_path: Path, order: str, is_packed: bool, kind: str
) -> None:
    if (order, kind) == (">", "u4"):
        pytest.skip("Pillow cannot open it: counted as unreadable")
    levels = np.array([[0, 7, 300, 30000]]) * (1 if kind[0] == "u" else -1)
    levels[0, 1] = 7
    if kind == "u4":
        levels[0, 3] = 3_000_000_000
    path = write_tiff(tmp_path / "a.tif", levels.astype(kind), order=order, is_packed=is_packed)
    with Image.open(path) as picture:
        assert read_levels(picture, kind_of(picture)).tolist() == levels.tolist()


def colours(top: int) -> NDArray[np.uint16]:
    """Two pixels: (top, half, 0) and (1, 2, 3)."""
    return np.array([[[top, top // 2, 0], [1, 2, 3]]], np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_colours_of_16_bits_are_read_whole(tmp_path: Path, order: str, is_packed: bool) -> None:
    path = write_tiff(tmp_path / "a.tif", colours(4095), order=order, is_packed=is_packed)
    png = write_png_16(tmp_path / "a.png", colours(4095))
    for file in (path, png):
        with Image.open(file) as picture:
            assert read_levels(picture, kind_of(picture)).tolist() == colours(4095).tolist()
        assert read_rgb(str(file))[:, 0, 0].tolist() == [255, 127, 0]
    full = write_png_16(tmp_path / "b.png", colours(65535))
    assert read_rgb(str(full))[:, 0, 0].tolist() == [255, 127, 0]


def test_alpha_of_16_bits_is_left_out(tmp_path: Path) -> None:
    gray = write_png_16(tmp_path / "gray.png", np.array([[[65535, 9], [0, 9]]], np.uint16))
    assert read_rgb(str(gray))[:, 0].tolist() == [[255, 0]] * 3
    both = np.concatenate([colours(65535), np.full((1, 2, 1), 9, np.uint16)], axis=2)
    assert read_rgb(str(write_png_16(tmp_path / "both.png", both)))[:, 0, 0].tolist() == [
        255,
        127,
        0,
    ]


@pytest.mark.parametrize(("kind", "top"), [("f4", 255.0), ("i4", 255), ("u2", 4095), ("f4", 1.0)])
def test_pictures_are_neither_white_nor_black(tmp_path: Path, kind: str, top: float) -> None:
    write_split(tmp_path, "train", [top] * 3, kind)
    quarter = int(np.array(top / 4).astype(kind) / top * 255 + 0.5)
    half = int(np.array(top / 2).astype(kind) / top * 255 + 0.5)
    assert read_image(coco_spec(tmp_path), "train", 1) == [0, quarter, half, 255]


def test_a_dark_picture_stays_dark_beside_bright_ones(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [4095, 1023, 255])
    data = coco_spec(tmp_path)
    assert read_image(data, "train", 2)[3] == 64  # 1023 of 4095
    assert read_image(data, "train", 3)[3] == 16
    assert found_in(data)["scaled_gray16_0_4095"] == 3


def test_train_decides_for_every_split_and_what_exceeds_it_is_counted(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [4095, 4000])
    write_split(tmp_path, "val", [255, 65535])
    data = coco_spec(tmp_path, "train", "val")
    assert read_image(data, "val", 1)[3] == 16  # 255 of 4095
    assert read_image(data, "val", 2) == [0, 255, 255, 255]
    found = {finding.kind: finding for finding in check_split(data, "val")}
    assert found["scaled_gray16_0_4095"].count == 2
    assert not found["scaled_gray16_0_4095"].is_fault
    assert found["levels_cut"].examples == ("val/2.tif: 0..65535, cut to 0..4095",)
    assert found["levels_cut"].is_fault
    assert count_faults(open_split(data, "val"), [1, 2]) == {"levels_cut": 1}
    assert count_faults(open_split(data, "val"), [1]) == {}


def test_another_scale_is_other_data(tmp_path: Path) -> None:
    """A brighter picture in train changes the pixels of val, so val's fingerprint changes."""
    write_split(tmp_path, "train", [4095, 4000])
    write_split(tmp_path, "val", [4095])
    data = coco_spec(tmp_path, "train", "val")
    before = open_split(data, "val").fingerprint
    write_split(tmp_path, "train", [65535, 4000])
    build_index(data, "train")
    assert open_split(data, "val").fingerprint != before
    assert read_image(data, "val", 1)[3] == 16  # 4095 of 65535


def test_levels_that_are_no_numbers_become_black_and_are_counted(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [200.0, 255.0], "f4")
    holed = np.array([[np.nan, 255.0, np.inf, -np.inf]], np.float32)
    write_tiff(tmp_path / "train" / "1.tif", holed)
    data = coco_spec(tmp_path)
    assert read_image(data, "train", 1) == [0, 255, 255, 0]
    assert found_in(data) == {"levels_not_finite": 1, "scaled_float32_0_255": 2}
    index = open_split(data, "train")
    assert measure_faults(index, [1, 2]) == {"levels_not_finite": FaultShare(count=1, total=2)}
    assert measure_faults(index, [2]) == {}


def write_bmp_16(path: Path, pixel: int, masks: tuple[int, int, int]) -> Path:
    """A BMP of one pixel of 16 bits, which the masks share out among red, green and blue."""
    size = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    content = size + struct.pack("<III", *masks) + struct.pack("<HH", pixel, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(content), 0, 0, 66) + content)
    return path


@pytest.mark.parametrize(
    ("pixel", "masks"),
    [(0b11111_000000_00000, (0xF800, 0x7E0, 0x1F)), (0b0_11111_00000_00000, (0x7C00, 0x3E0, 0x1F))],
    ids=["5, 6 and 5 bits", "5, 5 and 5 bits"],
)
def test_16_bits_for_three_colours_are_no_deep_picture(
    tmp_path: Path, pixel: int, masks: tuple[int, int, int]
) -> None:
    path = write_bmp_16(tmp_path / "red.bmp", pixel, masks)
    with Image.open(path) as picture:
        assert kind_of(picture) == ""
    assert read_rgb(str(path)).ravel().tolist() == [255, 0, 0]


def test_pictures_of_eight_bits_are_left_alone(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "1.png", 20, 10, value=7)
    (tmp_path / "train.json").write_text(json.dumps(coco(many_images(1))))
    data = coco_spec(tmp_path)
    assert open_split(data, "train").level_ranges == {}
    assert found_in(data) == {}


def test_an_upstream_folder_has_one_scale_too(tmp_path: Path) -> None:
    for name, top in {"ants": 4095, "bees": 1023}.items():
        for number in range(4):
            levels = np.full((8, 8), top, np.uint16)
            write_tiff(tmp_path / name / f"{number}.tif", levels)
    data = DataSpec(dataset="shapes", upstream=str(tmp_path))
    opened = open_upstream(data, UpstreamSpec(classes=2, image_px=8))
    gray_of = {
        int(label): int(image.max())
        for image, label in zip(opened.images, opened.labels, strict=True)
    }
    assert gray_of == {0: 255, 1: 64}
    [finding] = check_pools(data)["upstream"]
    assert (finding.kind, finding.count) == ("scaled_gray16_0_4095", 8)


def test_a_pool_without_labels_is_scaled_as_train_is(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [4095])
    write_tiff(tmp_path / "pool" / "a.tif", np.full((2, 2), 255, np.uint16))
    write_tiff(tmp_path / "pool" / ".hidden" / "b.tif", np.full((2, 2), 65535, np.uint16))
    pool = UnlabelledSpec(images=str(tmp_path / "pool"))
    data = coco_spec(tmp_path).model_copy(update={"unlabelled": pool})
    index = open_split(data, "unlabelled")
    assert len(index) == 1
    image = EvalImages(index)[int(index.image_ids[0])]
    assert image.unique().tolist() == [16]
    [finding] = check_pools(data)["unlabelled"]
    assert finding.kind == "scaled_gray16_0_4095"


def test_a_bitmap_of_five_or_six_bits_per_channel_is_not_deep(tmp_path: Path) -> None:
    for green, masks in ((6, (0xF800, 0x07E0, 0x001F)), (5, (0x7C00, 0x03E0, 0x001F))):
        path = tmp_path / f"{green}.bmp"
        head = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
        pixels = struct.pack("<HH", masks[0], masks[2])  # red and blue
        content = struct.pack("<IHHI", 14 + 40 + 12 + 4, 0, 0, 14 + 40 + 12) + head
        path.write_bytes(b"BM" + content + struct.pack("<III", *masks) + pixels)
        with Image.open(path) as picture:
            assert kind_of(picture) == ""
        assert read_rgb(str(path))[:, 0].tolist() == [[255, 0], [0, 0], [0, 255]]
