"""Which files of a VOC folder are read, and in which encoding; also after files are added."""

from collections.abc import Callable
from pathlib import Path

import pytest
from data_files import voc_xml, write_picture, write_voc

from rethink_ray.data.check import check_split
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.spec.regime import DataSpec, SplitSpec

OBJECTS = [("cat", 2, 2, 9, 9)]


def _listed(root: Path) -> DataSpec:
    return DataSpec(dataset="voc", root=str(root))


def _all_files(root: Path) -> DataSpec:
    files = SplitSpec(images="JPEGImages", annotations="Annotations")
    return DataSpec(dataset={"train": files}, root=str(root))


def _names(index: AnnotationIndex) -> list[str]:
    return sorted(Path(path).name for path in index.pictures().paths)


def _counted(data: DataSpec) -> dict[str, int]:
    return {finding.kind: finding.count for finding in check_split(data, "train")}


@pytest.mark.parametrize("name", ["b.png", "b.jpg", "b.JPG", "b.jpeg"])
@pytest.mark.parametrize("make", [_listed, _all_files])
def test_a_picture_that_is_copied_in_later_is_seen_whatever_its_suffix(
    name: str, make: Callable[[Path], DataSpec], tmp_path: Path
) -> None:
    xml_of = {stem: voc_xml(f"{stem}.jpg", OBJECTS) for stem in "ab"}
    write_voc(tmp_path, xml_of, {"train": ["a", "b"]})
    (tmp_path / "JPEGImages" / "b.jpg").unlink()
    assert _names(open_split(make(tmp_path), "train")) == ["a.jpg"]
    write_picture(tmp_path / "JPEGImages" / name, value=7)
    assert _names(open_split(make(tmp_path), "train")) == ["a.jpg", name]
    assert _names(refresh_split(make(tmp_path), "train")) == ["a.jpg", name]


def test_the_picture_that_an_xml_file_names_replaces_another_one_once_it_is_there(
    tmp_path: Path,
) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.png", OBJECTS)}, {"train": ["a"]})
    assert _names(open_split(_listed(tmp_path), "train")) == ["a.jpg"]
    write_picture(tmp_path / "JPEGImages" / "a.png")
    assert _names(open_split(_listed(tmp_path), "train")) == ["a.png"]
    (tmp_path / "JPEGImages" / "a.png").unlink()
    assert _names(open_split(_listed(tmp_path), "train")) == ["a.jpg"]


def test_pictures_of_other_splits_leave_an_index_as_it_is(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.jpg", OBJECTS)}, {"train": ["a"]})
    before = open_split(_listed(tmp_path), "train").directory
    write_picture(tmp_path / "JPEGImages" / "z.png")
    assert open_split(_listed(tmp_path), "train").directory == before


@pytest.mark.parametrize("suffix", [".XML", ".Xml"])
@pytest.mark.parametrize("make", [_listed, _all_files])
def test_the_suffix_of_xml_files_may_have_capital_letters(
    suffix: str, make: Callable[[Path], DataSpec], tmp_path: Path
) -> None:
    xml_of = {stem: voc_xml(f"{stem}.jpg", OBJECTS) for stem in "ab"}
    write_voc(tmp_path, xml_of, {"train": ["a", "b"]})
    path = tmp_path / "Annotations" / "b.xml"
    path.rename(path.with_suffix(suffix))
    assert _names(open_split(make(tmp_path), "train")) == ["a.jpg", "b.jpg"]
    assert _counted(make(tmp_path)) == {}


def test_two_xml_files_that_differ_in_their_suffix_alone_are_counted(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.jpg", OBJECTS)}, {})
    (tmp_path / "Annotations" / "a.XML").write_text(voc_xml("a.jpg", [("dog", 2, 2, 9, 9)]))
    assert open_split(_all_files(tmp_path), "train").categories == ("cat",)
    assert _counted(_all_files(tmp_path)) == {"duplicate_id": 1}


def _categories(root: Path, name: str, declared: str, codec: str) -> tuple[str, ...]:
    """The categories of a file that declares one encoding and is written in another."""
    text = voc_xml("a.jpg", [(name, 2, 2, 9, 9)])
    write_voc(root, {"a": ""}, {"train": ["a"]})
    head = f'<?xml version="1.0" encoding="{declared}"?>\r\n'
    (root / "Annotations" / "a.xml").write_bytes((head + text).encode(codec))
    return open_split(_listed(root), "train").categories


@pytest.mark.parametrize("name", ["\u5c71", "\u5c71\u7f8a", "\u5c71\u7f8a\u732b\u72d7"])
@pytest.mark.parametrize("declared", ["GBK", "gb2312", "gb18030", "big5", "euc-kr", "shift_jis"])
def test_utf_8_is_recognised_where_an_encoding_of_several_bytes_is_declared(
    declared: str, name: str, tmp_path: Path
) -> None:
    assert _categories(tmp_path, name, declared, "utf-8") == (name,)


@pytest.mark.parametrize(
    "name", ["caf\u00e9", "\u00e9t\u00e9", "\u5c71\u7f8a", "\u043a\u043e\u0442"]
)
@pytest.mark.parametrize("declared", ["ISO-8859-1", "windows-1252", "iso-8859-15", "cp1251"])
def test_utf_8_is_recognised_where_an_encoding_of_one_byte_is_declared(
    declared: str, name: str, tmp_path: Path
) -> None:
    assert _categories(tmp_path, name, declared, "utf-8") == (name,)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("\u732b", "gbk"), ("\u5c71", "gb2312"), ("\u732b\u5c71\u72d7", "gbk")),
        *(("caf\u00e9", "iso-8859-1"), ("\u00fcber", "windows-1252")),
        *(("\u043a\u043e\u0442", "cp1251"), ("\uace0\uc591\uc774", "euc-kr")),
    ],
)
def test_an_encoding_that_is_declared_rightly_stays(name: str, codec: str, tmp_path: Path) -> None:
    assert _categories(tmp_path, name, codec, codec) == (name,)


@pytest.mark.parametrize("length", [3, 4])
@pytest.mark.parametrize("declared", ["utf-16", "UTF-16LE", "utf-16-be", "utf-32", "utf_16"])
@pytest.mark.parametrize("letter", ["c", "\u5c71"])
def test_a_declaration_of_utf_16_in_a_file_of_utf_8_is_ignored(
    letter: str, declared: str, length: int, tmp_path: Path
) -> None:
    assert _categories(tmp_path, letter * length, declared, "utf-8") == (letter * length,)
