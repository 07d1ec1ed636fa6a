import os
from pathlib import Path

import pytest

from rethink_ray.data.cache import build_once, content_hash
from rethink_ray.spec.errors import DataError


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_once(tmp_path / "made" / "target", build)
    assert list((tmp_path / "made").iterdir()) == []


def test_who_comes_second_keeps_what_the_first_built(tmp_path: Path) -> None:
    target = tmp_path / "target"

    def slow(folder: Path) -> None:
        (folder / "who").write_text("slow")
        build_once(target, fast)  # another process is done first

    def fast(folder: Path) -> None:
        (folder / "who").write_text("fast")

    build_once(target, slow)
    assert (target / "who").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_content_hash_knows_names_and_bytes_and_not_folders(tmp_path: Path) -> None:
    for folder, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(text)
    a, b, c = (content_hash([tmp_path / folder / "file"]) for folder in "abc")
    assert a == b != c


def test_a_file_that_was_given_its_old_time_stamp_again_is_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rethink_ray.data.cache.SETTLED_SECONDS", -1.0)  # each hash is kept
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "file"
    file.write_text("one")
    before, first = file.stat(), content_hash([file])
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # clocks of file systems tick in ms
        file.write_text("two")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert content_hash([file]) != first


def test_a_cache_that_cannot_be_written_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="RETHINK_RAY_CACHE"):
        build_once(tmp_path / "file" / "target", lambda folder: None)
