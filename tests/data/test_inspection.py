"""Every picture is decoded once; damaged ones are left out by name."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from data_files import coco, coco_spec, many_images, spoil_pixels, write_coco, write_picture
from PIL import Image

from rethink_ray.data.check import check_pools, check_split
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.inspection import inspect_pictures, name_files
from rethink_ray.data.leaks import require_disjoint
from rethink_ray.data.pictures import picture_size
from rethink_ray.data.pool import open_pool
from rethink_ray.data.splits import build_index, open_split, refresh_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, UnlabelledSpec


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    for split, count in {"train": 4, "val": 3}.items():
        write_coco(tmp_path, split, coco(many_images(count)))
    return coco_spec(tmp_path, "train", "val").model_copy(update={"report_on": "val"})


def age(folder: Path) -> None:
    """A file that changed within two seconds of being read is read again."""
    for path in folder.rglob("*.*"):
        if path.is_file():
            os.utime(path, (1, 1))


def save_noise(path: Path, **options: object) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path, **options)
    return path


def test_a_picture_that_cannot_be_decoded_is_left_out_and_counted(
    data: DataSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_pixels(tmp_path / "val" / "2.png")
    index = open_split(data, "val")
    assert index.image_ids.tolist() == [1, 3]
    assert index.dropped == {"unreadable_image": 1}
    assert f"val.json: 1 unreadable picture left out: {tmp_path}/val/2.png" in caplog.text
    [finding] = check_split(data, "val")
    assert (finding.kind, finding.examples) == ("unreadable_image", ("val/2.png",))


def test_a_damaged_picture_comes_back_once_it_is_mended(data: DataSpec, tmp_path: Path) -> None:
    whole = (tmp_path / "val" / "2.png").read_bytes()
    spoil_pixels(tmp_path / "val" / "2.png")
    age(tmp_path)
    before = open_split(data, "val")
    inode = before.directory.stat().st_ino
    assert open_split(data, "val").directory.stat().st_ino == inode
    assert refresh_split(data, "val").directory.stat().st_ino == inode
    (tmp_path / "val" / "2.png").write_bytes(whole)
    assert open_split(data, "val").image_ids.tolist() == [1, 2, 3]


def test_a_picture_damaged_later_is_left_out_by_the_next_refresh(
    data: DataSpec, tmp_path: Path
) -> None:
    age(tmp_path)
    assert len(refresh_split(data, "val")) == 3
    spoil_pixels(tmp_path / "val" / "2.png")
    assert refresh_split(data, "val").image_ids.tolist() == [1, 3]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp", "gif"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_cut_file_of_any_format_is_unreadable(tmp_path: Path, suffix: str, share: float) -> None:
    path = save_noise(tmp_path / f"a.{suffix}")
    assert picture_size(path, decode=True) == (40, 40)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert picture_size(path, decode=True) == "unreadable_image"


def test_a_packed_tiff_is_decoded_too(tmp_path: Path) -> None:
    path = save_noise(tmp_path / "a.tif", compression="tiff_deflate")
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(bytes(content))
    assert picture_size(path, decode=True) == "unreadable_image"


def test_a_png_whose_check_sum_differs_is_damaged(tmp_path: Path) -> None:
    """One bit changed in stored pixels still decodes, to another colour."""
    path = save_noise(tmp_path / "a.png", compress_level=0)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 1
    path.write_bytes(bytes(content))
    assert picture_size(path, decode=True) == "unreadable_image"


@pytest.mark.parametrize("has_thumbnail", [False, True])
def test_zeros_in_place_of_the_rest_of_a_jpeg_are_noticed(
    tmp_path: Path, has_thumbnail: bool
) -> None:
    """They decode to a gray rest; a thumbnail in the header has an end mark of its own."""
    thumbnail = save_noise(tmp_path / "small.jpg").read_bytes()
    exif = b"Exif\x00\x00" + thumbnail if has_thumbnail else b""
    path = save_noise(tmp_path / "a.jpg", exif=exif)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))  # cameras pad behind the end mark
    assert picture_size(path, decode=True) == (40, 40)
    path.write_bytes(whole[:-500] + bytes(500))
    assert picture_size(path, decode=True) == "unreadable_image"


def test_a_progressive_jpeg_and_one_in_cmyk_are_whole(tmp_path: Path) -> None:
    assert picture_size(save_noise(tmp_path / "a.jpg", progressive=True), decode=True) == (40, 40)
    Image.new("CMYK", (9, 8)).save(tmp_path / "b.jpg")
    assert picture_size(tmp_path / "b.jpg", decode=True) == (9, 8)


def test_what_was_seen_is_kept_for_other_annotations_of_the_same_folder(
    tmp_path: Path, own_cache: Path
) -> None:
    """A file whose stamp did not change is not read again: its new content goes unnoticed."""
    write_coco(tmp_path, "train", coco(many_images(2)))
    age(tmp_path)
    data = coco_spec(tmp_path)
    open_split(data, "train")
    [store] = (own_cache / "pictures").iterdir()
    size = (tmp_path / "train" / "1.png").stat().st_size
    (tmp_path / "train" / "1.png").write_bytes(bytes(size))
    age(tmp_path)
    write_coco(tmp_path / "other", "train", coco(many_images(1)))
    (tmp_path / "train.json").write_text((tmp_path / "other" / "train.json").read_text())
    assert len(open_split(data, "train")) == 1
    with pytest.raises(DataError, match="at least one image that can be read"):
        build_index(data, "train")  # `data index` reads every file
    store.write_bytes(b"no store")
    with pytest.raises(DataError, match="at least one image that can be read"):
        build_index(data, "train")


def test_splits_that_share_a_folder_share_what_was_seen(tmp_path: Path, own_cache: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        write_picture(path)
    age(tmp_path)
    first = inspect_pictures("folder", paths[:2])
    inspect_pictures("folder", paths[2:])
    for path in paths:
        path.write_bytes(bytes(path.stat().st_size))
    age(tmp_path)
    assert inspect_pictures("folder", paths[:2]) == first
    assert all(not isinstance(s.header, str) for s in inspect_pictures("folder", paths))


def test_a_file_seen_without_its_content_is_read_for_it(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    age(tmp_path)
    [seen] = inspect_pictures("folder", [tmp_path / "a.png"], hashed=False)
    assert seen.content.digest is None
    [seen] = inspect_pictures("folder", [tmp_path / "a.png"])
    assert seen.content.digest is not None
    assert inspect_pictures("folder", [tmp_path / "a.png"], hashed=False) == [seen]


def test_damaged_pictures_of_a_pool_are_left_out_and_counted(
    data: DataSpec, tmp_path: Path
) -> None:
    for number in range(3):
        write_picture(tmp_path / "pool" / f"{number}.png", value=200 + number)
    spoil_pixels(tmp_path / "pool" / "1.png")
    pool = UnlabelledSpec(images=str(tmp_path / "pool"))
    data = data.model_copy(update={"unlabelled": pool})
    opened = open_pool(data, "all", "unlabelled")
    assert len(opened.image_ids) == 2
    assert opened.index.dropped == {"unreadable_image": 1}
    [finding] = check_pools(data)["unlabelled"]
    assert finding.examples == ("pool/1.png",)
    for number in (0, 2):
        spoil_pixels(tmp_path / "pool" / f"{number}.png")
    refresh_split(data, "train")
    with pytest.raises(DataError, match=r"pool: must have at least one image that can be read"):
        build_index(data, "unlabelled")


def test_a_pool_whose_pictures_were_replaced_is_indexed_again(
    data: DataSpec, tmp_path: Path
) -> None:
    write_picture(tmp_path / "pool" / "a.png")
    listed = tmp_path / "list.json"
    listed.write_text('{"images": [{"file_name": "a.png"}]}')
    pool = UnlabelledSpec(images=str(tmp_path / "pool"), annotations=str(listed))
    data = data.model_copy(update={"unlabelled": pool})
    before = gather_facts(data, {}).unlabelled_fingerprint
    write_picture(tmp_path / "pool" / "a.png", 30, 20)
    require_disjoint(data, "s.yaml")
    index = open_split(data, "unlabelled")
    assert index.entry(int(index.image_ids[0])).width == 30
    assert gather_facts(data, {}).unlabelled_fingerprint != before


def test_three_files_are_named_and_the_rest_counted() -> None:
    assert name_files(["a", "b"]) == "a, b"
    assert name_files(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def _inspect(paths: list[Path]) -> int:
    seen = inspect_pictures("folder", paths)
    return sum(not isinstance(picture.header, str) for picture in seen)


def test_processes_wait_for_the_one_that_decodes_a_folder(tmp_path: Path, own_cache: Path) -> None:
    paths = [tmp_path / "p" / f"{number}.png" for number in range(120)]
    for path in paths:
        write_picture(path)
    age(tmp_path / "p")
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        assert list(pool.map(_inspect, [paths] * 6)) == [120] * 6
    stores = sorted(path.suffix for path in (own_cache / "pictures").iterdir())
    assert stores == [".arrow", ".lock"]
