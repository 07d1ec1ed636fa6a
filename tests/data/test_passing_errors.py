"""Errors that may pass are met again; names and paths that no system call takes are counted."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import (
    coco,
    coco_spec,
    many_images,
    spoil_pixels,
    voc_xml,
    write_coco,
    write_picture,
    write_voc,
)
from PIL import Image, features

from rethink_ray.data.check import check_data, check_pools, check_split
from rethink_ray.data.contents import RETRIED, may_pass
from rethink_ray.data.inspection import inspect_picture, inspect_pictures, name_files
from rethink_ray.data.pictures import picture_size, read_or_gray
from rethink_ray.data.splits import build_index, open_split, refresh_split
from rethink_ray.data.upstream import require_upstream_pictures, upstream_fingerprint
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, UnlabelledSpec

BROKEN_NAME = os.fsdecode(b"\xff.png")


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    for split, count in {"train": 4, "val": 3}.items():
        write_coco(tmp_path, split, coco(many_images(count)))
    age(tmp_path)
    return coco_spec(tmp_path, "train", "val").model_copy(update={"report_on": "val"})


def age(folder: Path) -> None:
    """A file that changed within two seconds of being read is read again."""
    for path in folder.rglob("*.*"):
        if path.is_file():
            os.utime(path, (1, 1))


def fail_to_hash(patch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """The disk fails under one file while its bytes are read."""
    whole = hashlib.file_digest

    def digest(file: Any, kind: Any) -> Any:
        if Path(file.name).name == name:
            raise OSError(number, os.strerror(number), file.name)
        return whole(file, kind)

    patch.setattr(hashlib, "file_digest", digest)


def fail_to_decode(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """The decoder cannot open one file, whose bytes can be read."""
    whole = Image.open

    def open_picture(path: Any, *args: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise error
        return whole(path, *args, **options)

    patch.setattr(Image, "open", open_picture)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_a_picture_whose_bytes_could_not_be_read_comes_back_unchanged(
    data: DataSpec, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        fail_to_hash(patch, "2.png", number)
        index = open_split(data, "train")
        assert index.image_ids.tolist() == [1, 3, 4]
        assert index.dropped == {"unreadable_image": 1}
        assert [finding.kind for finding in check_split(data, "train")] == ["unreadable_image"]
        inode = index.directory.stat().st_ino
        assert open_split(data, "train").directory.stat().st_ino == inode
        assert refresh_split(data, "train").directory.stat().st_ino == inode
    assert open_split(data, "train").image_ids.tolist() == [1, 2, 3, 4]
    assert check_split(data, "train") == []


def test_a_picture_that_could_not_be_opened_for_decoding_comes_back_unchanged(
    data: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_to_decode(patch, "2.png", OSError(errno.EMFILE, "Too many open files"))
        assert open_split(data, "train").image_ids.tolist() == [1, 3, 4]
    assert refresh_split(data, "train").image_ids.tolist() == [1, 2, 3, 4]


def test_a_picture_that_did_not_fit_into_memory_is_counted_and_tried_again(
    data: DataSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train" / "2.png"
    with monkeypatch.context() as patch:
        fail_to_decode(patch, "2.png", MemoryError())
        assert open_split(data, "train").dropped == {"unreadable_image": 1}
        assert picture_size(path) == "unreadable_image"
        assert read_or_gray(str(path), 20, 10)[1] is False
    assert refresh_split(data, "train").image_ids.tolist() == [1, 2, 3, 4]


def test_what_was_seen_of_other_files_is_kept_while_one_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        write_picture(path)
    age(tmp_path)
    with monkeypatch.context() as patch:
        fail_to_hash(patch, "2.png", errno.EIO)
        [first, second] = inspect_pictures("folder", paths)
    assert second.content.changed_ns == RETRIED
    spoil_pixels(paths[0])  # nothing reads it again: its size and time stamp are the same
    age(tmp_path)
    [again, whole] = inspect_pictures("folder", paths)
    assert again == first
    assert not isinstance(whole.header, str)


def test_damage_and_absence_do_not_pass() -> None:
    lasting = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
    assert not any(may_pass(OSError(number, "")) for number in (*lasting, errno.EINVAL))
    assert not any(map(may_pass, (OSError("cut"), OSError(-2), ValueError(), SyntaxError())))
    assert all(may_pass(OSError(number, "")) for number in (errno.ETIMEDOUT, errno.ENFILE))


def test_an_xml_file_that_cannot_be_read_now_stops_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index without it would stay, since the file itself does not change."""
    boxes = [("cat", 1, 1, 5, 5)]
    write_voc(tmp_path, {s: voc_xml(f"{s}.jpg", boxes) for s in ("a", "b")}, {"train": ["a", "b"]})
    data = DataSpec(dataset="voc", root=str(tmp_path))
    whole = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "b.xml":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        with pytest.raises(DataError, match=r"b\.xml: must be a file that can be read"):
            open_split(data, "train")
    assert len(open_split(data, "train")) == 2


@pytest.mark.parametrize("name", ["a/" * 3000 + "b.jpg", "1.png/b.jpg", "loop.png/b.jpg"])
def test_a_path_that_no_file_can_have_is_a_missing_image(
    data: DataSpec, tmp_path: Path, name: str
) -> None:
    (tmp_path / "train" / "loop.png").symlink_to("loop.png")
    content = coco(many_images(4))
    content["images"][1]["file_name"] = name
    (tmp_path / "train.json").write_text(json.dumps(content))
    index = open_split(data, "train")
    assert (index.image_ids.tolist(), index.dropped) == ([1, 3, 4], {"missing_image": 1})
    assert [finding.kind for finding in check_split(data, "train")] == ["missing_image"]


def test_a_closed_file_counts_as_unreadable_and_not_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "a.png")
    fail_to_hash(monkeypatch, "a.png", errno.EACCES)
    seen = inspect_picture(tmp_path / "a.png", hashed=True)
    assert (seen.header, seen.content.changed_ns) == ("unreadable_image", RETRIED)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_a_damaged_avif_picture_under_the_name_of_a_jpeg_is_unreadable(tmp_path: Path) -> None:
    """Pillow goes by the bytes of a file, and raises a RuntimeError for those of its planes."""
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="AVIF")
    assert picture_size(path, decode=True) == (40, 40)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : start + 8] = bytes(byte ^ 0xFF for byte in content[start : start + 8])
    path.write_bytes(bytes(content))
    assert picture_size(path, decode=True) == "unreadable_image"
    assert read_or_gray(str(path), 40, 40)[1] is False


def test_dangling_links_and_names_of_no_text_in_a_pool_are_counted(
    data: DataSpec, tmp_path: Path
) -> None:
    write_picture(tmp_path / "pool" / "whole.png", value=230)
    (tmp_path / "pool" / "link.png").symlink_to("nowhere.png")
    for folder in ("pool", "pool/sub"):
        write_picture(tmp_path / folder / BROKEN_NAME)
    pool = UnlabelledSpec(images=str(tmp_path / "pool"))
    data = data.model_copy(update={"unlabelled": pool})
    index = open_split(data, "unlabelled")
    assert len(index) == 1
    assert index.dropped == {"missing_image": 1, "unreadable_image": 2}
    findings = {finding.kind: finding.examples for finding in check_pools(data)["unlabelled"]}
    assert findings == {
        "missing_image": ("pool/link.png",),
        "unreadable_image": ("\\udcff.png", "sub/\\udcff.png"),
    }
    write_picture(tmp_path / "pool" / "nowhere.png", value=231)
    assert len(build_index(data, "unlabelled")) == 3


def test_a_name_of_no_text_under_upstream_is_refused_by_name(
    data: DataSpec, tmp_path: Path
) -> None:
    for number, kind in enumerate(("cat", "dog")):
        write_picture(tmp_path / "classes" / kind / "1.png", value=100 + number)
    data = data.model_copy(update={"upstream": str(tmp_path / "classes")})
    whole = upstream_fingerprint(data)
    write_picture(tmp_path / "classes" / "dog" / BROKEN_NAME)
    assert upstream_fingerprint(data) != whole
    with pytest.raises(DataError, match=r"1 that cannot: .*classes/dog/\\udcff\.png"):
        require_upstream_pictures(data)
    [finding] = check_pools(data)["upstream"]
    assert (finding.kind, finding.examples) == ("unreadable_image", ("dog/\\udcff.png",))
    assert name_files([tmp_path / BROKEN_NAME]) == f"{tmp_path}/\\udcff.png"


def test_one_split_is_checked_alone(data: DataSpec, tmp_path: Path) -> None:
    """A finding that concerns train as well is listed under train."""
    assert check_data(data, ["val"]) == {"val": []}
    (tmp_path / "train" / "1.png").write_bytes((tmp_path / "val" / "1.png").read_bytes())
    findings = check_data(data, ["val"])
    assert findings["val"] == []
    assert [finding.kind for finding in findings["train"]] == ["picture_in_two_splits"]


def test_a_store_of_what_was_seen_is_read_anew_once_another_process_replaced_it(
    tmp_path: Path, own_cache: Path
) -> None:
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        write_picture(path)
    age(tmp_path)
    inspect_pictures("folder", paths[:1])
    [store] = (own_cache / "pictures").glob("*.arrow")
    earlier = store.read_bytes()
    seen = inspect_pictures("folder", paths)
    for path in paths:
        path.write_bytes(bytes(path.stat().st_size))
    age(tmp_path)
    assert inspect_pictures("folder", paths) == seen
    fresh = store.with_name("fresh")
    fresh.write_bytes(earlier)
    os.replace(fresh, store)
    [first, second] = inspect_pictures("folder", paths)
    assert first == seen[0]
    assert second.header == "unreadable_image"
