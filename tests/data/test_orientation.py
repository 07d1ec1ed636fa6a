"""A picture of 3 x 2 with one red corner, stored in all eight ways that EXIF knows."""

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import Box, coco, coco_spec, voc_xml, write_voc
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.check import check_split
from rethink_ray.data.decoded import DecodedImages
from rethink_ray.data.faults import count_faults
from rethink_ray.data.loader import Loading, eval_batches, train_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.orientation import PictureHeader, parse_orientation
from rethink_ray.data.pictures import open_rgb, picture_size, read_header, read_rgb
from rethink_ray.data.splits import open_split
from rethink_ray.data.upstream import open_upstream
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec, UpstreamSpec
from rethink_ray.spec.regime import DataSpec, SplitSpec

WIDE, HIGH = 48, 32
CELL = 16
CORNER_OF_STORED = {
    1: (0, 0),
    2: (2, 0),
    3: (2, 1),
    4: (0, 1),
    5: (0, 0),
    6: (0, 2),
    7: (1, 2),
    8: (1, 0),
}
"""Column and row of the stored cell that is at the top left as shown (EXIF 2.3, fig. 5)."""
EIGHT = sorted(CORNER_OF_STORED)
SIDEWAYS = (5, 6, 7, 8)


def stored_pixels(orientation: int) -> NDArray[np.uint8]:
    """What a camera stores of a picture whose top left cell is red, 48 x 32 as shown."""
    size = (WIDE, HIGH) if orientation in SIDEWAYS else (HIGH, WIDE)
    pixels = np.full((*size, 3), 90, np.uint8)
    column, row = CORNER_OF_STORED[orientation]
    pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = (250, 10, 10)
    return pixels


def save(path: Path, orientation: int, pixels: NDArray[np.uint8] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = stored_pixels(orientation) if pixels is None else pixels
    how = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}
    Image.fromarray(stored).save(path, exif=exif, **how.get(path.suffix, {}))
    return path


def red_cells(pixels: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Column and row of every cell whose middle is red."""
    middles = pixels[CELL // 2 :: CELL, CELL // 2 :: CELL].astype(int)
    return [(int(x), int(y)) for y, x in np.argwhere(middles[..., 0] - middles[..., 1] > 150)]


def array(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", EIGHT)
def test_every_orientation_is_shown_upright_and_can_be_read_as_stored(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = save(tmp_path / f"a{suffix}", orientation)
    stored_wh = (HIGH, WIDE) if orientation in SIDEWAYS else (WIDE, HIGH)
    assert picture_size(path) == (WIDE, HIGH)
    shown = array(open_rgb(path, (WIDE, HIGH)))
    assert red_cells(shown) == [(0, 0)]
    with Image.open(path) as opened:
        assert np.array_equal(shown, array(ImageOps.exif_transpose(opened)))
    if orientation in SIDEWAYS:
        assert red_cells(array(open_rgb(path, stored_wh))) == [CORNER_OF_STORED[orientation]]


@pytest.mark.parametrize(
    ("annotated_wh", "is_turned"),
    [
        ((96, 64), True),  # of the picture as shown
        ((64, 96), False),  # of the file
        ((192, 128), True),  # neither
        ((0, 0), True),  # not stated
    ],
)
def test_the_annotated_size_tells_whether_a_sideways_picture_is_turned(
    annotated_wh: tuple[int, int], is_turned: bool
) -> None:
    header = PictureHeader(stored_wh=(64, 96), orientation=6, decodes_turned=False)
    assert header.is_turned(annotated_wh) is is_turned
    assert header.size_for(annotated_wh) == ((96, 64) if is_turned else (64, 96))


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_a_picture_whose_size_tells_nothing_is_turned(orientation: int) -> None:
    square = PictureHeader(stored_wh=(64, 64), orientation=orientation, decodes_turned=False)
    assert square.is_turned((64, 64))


def test_an_upright_picture_is_never_turned() -> None:
    upright = PictureHeader(stored_wh=(64, 96), orientation=1, decodes_turned=False)
    assert not any(upright.is_turned(size) for size in [(64, 96), (96, 64), (0, 0)])


def _chunks(png: bytes) -> list[bytes]:
    chunks, start = [], 8
    while start < len(png):
        end = start + 12 + struct.unpack(">I", png[start : start + 4])[0]
        chunks.append(png[start:end])
        start = end
    return chunks


def test_a_png_that_says_it_after_its_pixels_is_turned_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 6)
    chunks = _chunks(path.read_bytes())
    exif = next(chunk for chunk in chunks if chunk[4:8] == b"eXIf")
    others = [chunk for chunk in chunks if chunk is not exif]
    path.write_bytes(b"".join([b"\x89PNG\r\n\x1a\n", *others[:-1], exif, others[-1]]))
    assert picture_size(path) == (WIDE, HIGH)
    assert red_cells(array(open_rgb(path))) == [(0, 0)]


def _text_chunk(kind: bytes, content: bytes) -> bytes:
    whole = kind + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


@pytest.mark.parametrize("orientation", [3, 6])
def test_old_png_states_it_as_text(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(stored_pixels(orientation)).save(path)
    head, *rest = _chunks(path.read_bytes())
    block = b"Exif\x00\x00" + _exif_block("<", orientation)
    text = f"\nexif\n{len(block):8d}\n{block.hex()}\n".encode()
    said = _text_chunk(b"zTXt", b"Raw profile type exif\x00\x00" + zlib.compress(text))
    path.write_bytes(b"".join([b"\x89PNG\r\n\x1a\n", head, said, *rest]))
    assert red_cells(array(open_rgb(path))) == [(0, 0)]


def test_xmp_counts_where_there_is_no_exif(tmp_path: Path) -> None:
    told = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    path = tmp_path / "a.jpg"
    Image.fromarray(stored_pixels(8)).save(path, quality=95, subsampling=0, xmp=told)
    assert red_cells(array(open_rgb(path))) == [(0, 0)]


def _exif_block(order: str, orientation: int, kind: str = "H") -> bytes:
    """The smallest there is: one entry."""
    mark = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    number = {"B": 1, "H": 3, "I": 4}[kind]
    value = struct.pack(order + kind, orientation).ljust(4, b"\x00")
    return mark + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, number, 1) + value


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["B", "H", "I"])
def test_both_byte_orders_and_all_whole_numbers_are_read(order: str, kind: str) -> None:
    assert parse_orientation(_exif_block(order, 7, kind)) == 7
    assert parse_orientation(b"Exif\x00\x00" + _exif_block(order, 7, kind)) == 7


def test_exif_cut_short_anywhere_states_nothing() -> None:
    whole = _exif_block("<", 6)
    assert [parse_orientation(whole[:length]) for length in range(len(whole) - 2)] == [None] * 20


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the block it does not understand
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_damaged_exif_is_no_fault_of_the_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    luck = np.random.default_rng(0)
    for length in range(0, 60, 3):
        noise = b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + luck.bytes(length)
        Image.fromarray(stored_pixels(1)).save(path, exif=noise)
        header = read_header(path)
        assert isinstance(header, PictureHeader)
        assert (header.stored_wh, header.orientation) == ((WIDE, HIGH), 1)
        assert read_rgb(str(path)).shape == (3, HIGH, WIDE)


@pytest.mark.parametrize("orientation", [0, 9, 200])
def test_a_number_that_is_no_orientation_turns_nothing(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.jpg", orientation, stored_pixels(1))
    assert red_cells(array(open_rgb(path))) == [(0, 0)]


def write_turned(
    folder: Path, orientations: Mapping[int, int], size: tuple[int, int] = (WIDE, HIGH)
) -> DataSpec:
    """A COCO split of one red cat each at the top left; image id -> how its file is stored."""
    cat: list[Box] = [("cat", 0, 0, CELL, CELL)]
    told = coco(dict.fromkeys(orientations, cat), size=size)
    for record in told["images"]:
        record["file_name"] = f"{record['id']}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.json").write_text(json.dumps(told))
    for image_id, orientation in orientations.items():
        save(folder / "train" / f"{image_id}.jpg", orientation)
    return coco_spec(folder)


def _share_of_red(image: torch.Tensor, box: list[float]) -> float:
    x0, y0, x1, y1 = (round(side) for side in box)
    inside = image[:, y0:y1, x0:x1]
    return float((inside[0] - inside[1] > 0.6).float().mean())


def test_boxes_lie_on_their_objects_in_training_and_in_scoring(tmp_path: Path) -> None:
    data = write_turned(tmp_path, {orientation: orientation for orientation in EIGHT})
    index = open_split(data, "train")
    assert set(index.image_column("width").tolist()) == {WIDE}
    augmentation = Augmentation(spec=AugmentSpec(flip=0.0), detector=DetectorSpec())
    order = RunOrder(seed=0, batch_size=8)
    images, targets = next(train_batches(index, EIGHT, augmentation, order, Loading()))
    boxes = [target["boxes"].tolist() for target in targets]
    assert boxes == [[[0, 0, CELL, CELL]]] * 8
    seen, entries = next(eval_batches(index, EIGHT, 8))
    boxes += [entry.boxes_xyxy.tolist() for entry in entries]
    for image, (box,) in zip([*images, *seen], boxes, strict=True):
        assert _share_of_red(image, box) > 0.9
    assert count_faults(index, EIGHT) == {}


def test_boxes_drawn_on_the_stored_picture_stay_there(tmp_path: Path) -> None:
    data = write_turned(tmp_path, {5: 5}, size=(HIGH, WIDE))
    index = open_split(data, "train")
    (image,), (entry,) = next(eval_batches(index, [5], 1))
    assert image.shape == (3, WIDE, HIGH)
    assert _share_of_red(image, entry.boxes_xyxy[0].tolist()) > 0.9
    assert [f.kind for f in check_split(data, "train")] == ["orientation_5_as_stored"]


def test_orientations_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    data = write_turned(tmp_path, {1: 1, 2: 6, 3: 6, 4: 3})
    found = {finding.kind: finding for finding in check_split(data, "train")}
    assert {kind: finding.count for kind, finding in found.items()} == {
        "orientation_3_turned": 1,
        "orientation_6_turned": 2,
    }
    assert found["orientation_6_turned"].examples == ("train/2.jpg: 48x32", "train/3.jpg: 48x32")
    assert not any(finding.is_fault for finding in found.values())


def test_a_size_that_is_neither_is_a_fault_that_is_counted(tmp_path: Path) -> None:
    data = write_turned(tmp_path, {1: 6}, size=(50, 50))
    found = {finding.kind: finding for finding in check_split(data, "train")}
    assert found["size_disagrees"].examples == ("train/1.jpg: 50x50, is 48x32",)
    assert found["size_disagrees"].is_fault
    assert found["orientation_6_turned"].count == 1
    assert count_faults(open_split(data, "train"), [1]) == {"size_disagrees": 1}


def test_voc_without_a_size_is_turned_and_disagrees_with_nothing(tmp_path: Path) -> None:
    objects = [("cat", 1, 1, CELL, CELL)]
    text = voc_xml("a.jpg", objects).replace("<width>20</width><height>10</height>", "")
    write_voc(tmp_path, {"a": text}, {"train": ["a"]})
    save(tmp_path / "JPEGImages" / "a.jpg", 8)
    data = DataSpec(dataset="voc", root=str(tmp_path))
    index = open_split(data, "train")
    (image,), (entry,) = next(eval_batches(index, index.image_ids.tolist(), 1))
    assert _share_of_red(image, entry.boxes_xyxy[0].tolist()) > 0.9
    assert count_faults(index, index.image_ids.tolist()) == {}
    assert [f.kind for f in check_split(data, "train")] == ["orientation_8_turned"]


def test_a_pool_without_labels_is_turned(tmp_path: Path) -> None:
    data = write_turned(tmp_path, {1: 1})
    save(tmp_path / "pool" / "a.jpg", 6)
    spec = data.model_validate(
        {**data.model_dump(mode="json"), "unlabelled": {"images": str(tmp_path / "pool")}}
    )
    index = open_split(spec, "unlabelled")
    (image,), _ = next(eval_batches(index, index.image_ids.tolist(), 1))
    assert _share_of_red(image, [0, 0, CELL, CELL]) > 0.9


def test_one_file_annotated_both_ways_keeps_no_pixels_for_the_other(tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.jpg", 6))
    images = DecodedImages()
    shown, stored = images.read(path, WIDE, HIGH)[0], images.read(path, HIGH, WIDE)[0]
    assert (shown.shape, stored.shape) == ((3, HIGH, WIDE), (3, WIDE, HIGH))
    assert images.read(path, WIDE, HIGH)[0] is shown


def test_two_ways_to_turn_the_same_size_are_two_data_sets(tmp_path: Path) -> None:
    """Upside down has the size of upright; its pixels are others, and so is the fingerprint."""
    prints = {
        open_split(write_turned(tmp_path / str(way), {1: way}), "train").fingerprint
        for way in (1, 2, 3, 4)
    }
    assert len(prints) == 4


def test_upstream_folders_show_their_pictures_upright(tmp_path: Path) -> None:
    for kind in ("left", "right"):
        for way, (column, row) in CORNER_OF_STORED.items():
            square = np.full((2 * CELL, 2 * CELL, 3), 90, np.uint8)
            x, y = min(column, 1) * CELL, min(row, 1) * CELL
            square[y : y + CELL, x : x + CELL] = (250, 10, 10)
            save(tmp_path / kind / f"{way}.png", way, square)
    data = DataSpec(
        dataset={"train": SplitSpec(images="a", annotations="a.json")}, upstream=str(tmp_path)
    )
    found = open_upstream(data, UpstreamSpec(classes=2, images=16, image_px=2 * CELL))
    assert [red_cells(image.transpose(1, 2, 0)) for image in found.images] == [[(0, 0)]] * 16
