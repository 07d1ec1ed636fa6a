"""What an annotation plainly means is read; the rest is counted, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, coco_spec, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.check import check_split
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.faults import count_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.sources.raw import id_from_name
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from tests.golden_words import assert_says

FULL = {"full": RegimeSpec(images="all")}


def _counted(data: DataSpec, split: str = "train") -> dict[str, int]:
    return {finding.kind: finding.count for finding in check_split(data, split)}


def _with(folder: Path, **fields: Any) -> DataSpec:
    """A cat of 5 x 5 and a good dog in one image; ``fields`` replace fields of the cat."""
    document = coco({1: [("cat", 2, 2, 5, 5), ("dog", 9, 3, 4, 4)]})
    document["annotations"][0].update(fields)
    write_coco(folder, "train", document)
    return coco_spec(folder)


def _voc(root: Path) -> DataSpec:
    return DataSpec(dataset="voc", root=str(root))


@pytest.mark.parametrize(
    "fields",
    [
        {"bbox": ["2", "2.0", " 5 ", "5e0"]},
        {"bbox": [2.0, 2, 5, 5]},
        {"iscrowd": "0"},
        {"iscrowd": "false"},
        {"iscrowd": False},
        {"iscrowd": 0.0},
        {"iscrowd": None},
        {"category_id": "1"},
        {"category_id": 1.0},
        {"image_id": "1"},
        {"image_id": 1.0},
        {"area": "25"},
        {"area": None},
    ],
)
def test_a_value_of_another_type_is_read_as_what_it_means(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    data = _with(tmp_path, **fields)
    entry = open_split(data, "train").entry(1)
    assert entry.boxes_xyxy.tolist() == [[2, 2, 7, 7], [9, 3, 13, 7]]
    assert entry.labels.tolist() == [1, 2]
    assert not entry.is_crowd.any()
    assert entry.area.tolist() == [25, 16]
    assert check_split(data, "train") == []


@pytest.mark.parametrize("flag", [1, True, "1", 1.0, "true"])
def test_a_crowd_may_be_said_in_other_types_too(flag: object, tmp_path: Path) -> None:
    data = _with(tmp_path, iscrowd=flag)
    assert open_split(data, "train").entry(1).is_crowd.tolist() == [True, False]
    assert _counted(data) == {"crowd": 1}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"bbox": ["wide", 2, 5, 5]}, "unreadable_box"),
        ({"bbox": ["1,5", 2, 5, 5]}, "unreadable_box"),
        ({"bbox": None}, "unreadable_box"),
        ({"bbox": [2, 2, 5, 5, 5]}, "unreadable_box"),
        ({"bbox": [True, 2, 5, 5]}, "unreadable_box"),
        ({"bbox": [1e300, 2, 5, 5]}, "unreadable_box"),
        ({"iscrowd": 2}, "unreadable_crowd"),
        ({"iscrowd": "abc"}, "unreadable_crowd"),
        ({"image_id": 1.5}, "unreadable_object"),
        ({"image_id": True}, "unreadable_object"),
        ({"category_id": None}, "unknown_category"),
        ({"category_id": [1]}, "unknown_category"),
    ],
)
def test_an_object_with_a_field_that_means_nothing_is_left_out_and_counted(
    fields: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    data = _with(tmp_path, **fields)
    index = open_split(data, "train")
    assert index.entry(1).labels.tolist() == [2]
    assert _counted(data) == {kind: 1}
    assert count_faults(index, [1]) == {kind: 1}


@pytest.mark.parametrize("area", ["large", -5, 0, float("nan")])
def test_an_area_that_means_nothing_becomes_that_of_the_box(area: object, tmp_path: Path) -> None:
    data = _with(tmp_path, area=area)
    assert open_split(data, "train").entry(1).area.tolist() == [25, 16]
    assert _counted(data) == {"unreadable_area": 1}


def test_a_box_of_negative_size_is_degenerate_and_no_other_box(tmp_path: Path) -> None:
    assert _counted(_with(tmp_path, bbox=[7, 7, -5, -5], area=25)) == {"box_degenerate": 1}


def test_an_example_names_the_object_its_image_and_what_came(tmp_path: Path) -> None:
    [finding] = check_split(_with(tmp_path, bbox=["a", 2, 5, 5]), "train")
    assert finding.examples == ("annotation 1 of image 1: bbox ['a', 2, 5, 5]",)
    long = [["a"] * 5000, 2, 5, 5]
    [finding] = check_split(_with(tmp_path / "long", bbox=long), "train")
    assert len(finding.examples[0]) < 200


@pytest.mark.parametrize(
    "fields", [{"iscrowd": 1}, {"bbox": ["a", 1, 2, 3]}, {"bbox": [5, 5, -2, -2]}]
)
def test_a_regime_of_such_objects_alone_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    for split in ("train", "val"):
        document = coco({1: [("cat", 2, 2, 5, 5)]})
        if split == "train":
            document["annotations"][0].update(fields)
        write_coco(tmp_path, split, document)
    data = coco_spec(tmp_path, "train", "val").model_copy(update={"report_on": "val"})
    with pytest.raises(DataError, match=r"regimes\.full: must hold at least one object"):
        gather_facts(data, FULL)


def _merged(folder: Path, second: str, image_id: object = 1) -> DataSpec:
    document = coco({1: [("cat", 2, 2, 5, 5)]})
    document["images"].append({**document["images"][0], "id": image_id, "file_name": second})
    write_coco(folder, "train", coco({1: []}))
    write_picture(folder / "train" / "other.png", value=7)
    (folder / "train.json").write_text(json.dumps(document))
    return coco_spec(folder)


@pytest.mark.parametrize("image_id", [1, "1", 1.0])
def test_two_pictures_of_one_id_are_refused(image_id: object, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        open_split(_merged(tmp_path, "other.png", image_id), "train")
    assert "for 1.png and for other.png" in str(refused.value)
    if type(image_id) is int:
        text = str(refused.value).replace(str(tmp_path), "FOLDER")
        assert_says("data", "two pictures of one id", text)


def test_one_picture_listed_twice_under_one_id_is_counted(tmp_path: Path) -> None:
    data = _merged(tmp_path, "1.png")
    assert _counted(data) == {"duplicate_id": 1}
    assert open_split(data, "train").entry(1).labels.tolist() == [1]


def test_an_object_listed_twice_counts_once_but_two_objects_of_one_id_are_two(
    tmp_path: Path,
) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5), ("dog", 9, 3, 4, 4)]})
    document["annotations"].append(dict(document["annotations"][0]))
    document["annotations"][1]["id"] = 1
    write_coco(tmp_path, "train", document)
    data = coco_spec(tmp_path)
    assert open_split(data, "train").entry(1).labels.tolist() == [1, 2]
    assert _counted(data) == {"duplicate_id": 2}


def test_a_size_that_is_none_is_counted_and_not_stated(tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)]})
    document["images"][0]["width"] = "wide"
    write_coco(tmp_path, "train", document)
    assert _counted(coco_spec(tmp_path)) == {"unreadable_size": 1}


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "x" * 300, 7, ["1.png"]])
def test_a_name_that_no_file_can_have_costs_one_image(name: object, tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)], 2: []})
    write_coco(tmp_path, "train", document)
    document["images"][1]["file_name"] = name
    (tmp_path / "train.json").write_text(json.dumps(document))
    data = coco_spec(tmp_path)
    assert open_split(data, "train").image_ids.tolist() == [1]
    assert _counted(data) == {"unreadable_annotation": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_may_have_any_encoding_of_json(encoding: str, tmp_path: Path) -> None:
    data = _with(tmp_path)
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_bytes(text.encode(encoding))
    assert len(open_split(data, "train").entry(1).labels) == 2


def _listed(root: Path, content: bytes, *stems: str) -> AnnotationIndex:
    xml_of = {stem: voc_xml(f"{stem}.jpg", [("cat", 2, 2, 9, 9)]) for stem in stems}
    write_voc(root, xml_of, {})
    (root / "ImageSets/Main/train.txt").write_bytes(content)
    return open_split(_voc(root), "train")


@pytest.mark.parametrize(
    ("content", "stems"),
    [
        (b"train\ntrain (1)\n", ("train", "train (1)")),
        (b"a  1\nb -1\nc\t0\n", ("a", "b", "c")),
        (b"plate 1\nplate\n", ("plate 1", "plate")),
        (b"shelf 7\n", ("shelf 7",)),
        (b"\xef\xbb\xbfa\r\nb\r\n", ("a", "b")),
        ("a\nb\n".encode("utf-16"), ("a", "b")),
        (b"a.jpg\nb.xml\n", ("a", "b")),
        (b" a \n\n\nb\n", ("a", "b")),
    ],
)
def test_a_line_of_a_voc_list_is_a_stem_or_a_stem_and_a_label(
    content: bytes, stems: tuple[str, ...], tmp_path: Path
) -> None:
    index = _listed(tmp_path, content, *stems)
    assert set(index.image_ids.tolist()) == {id_from_name(stem) for stem in stems}
    assert index.dropped == {}


def _xml(name: str = "cat", head: str = "", inside: str = "") -> str:
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    return f"{head}<annotation>{inside}<object><name>{name}</name>{box}</object></annotation>"


def _read_bytes(root: Path, content: bytes) -> AnnotationIndex:
    write_voc(root, {"a": "", "good": voc_xml("good.jpg")}, {"train": ["a", "good"]})
    (root / "Annotations" / "a.xml").write_bytes(content)
    return open_split(_voc(root), "train")


@pytest.mark.parametrize("codec", ["gb2312", "gbk", "gb18030", "big5", "shift_jis", "utf-16"])
def test_xml_is_read_in_the_encoding_that_it_declares(codec: str, tmp_path: Path) -> None:
    text = _xml("\u5c71", f'<?xml version="1.0" encoding="{codec}"?>')
    assert _read_bytes(tmp_path, text.encode(codec)).categories == ("\u5c71",)


@pytest.mark.parametrize("declared", ["ANSI", "utf-8", "nonsense"])
def test_text_in_another_encoding_matters_only_in_names(declared: str, tmp_path: Path) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    path = _xml("cat", head, "<path>\u56fe\u7247</path>").encode("gbk")
    assert _read_bytes(tmp_path / "path", path).categories == ("cat",)
    index = _read_bytes(tmp_path / "name", _xml("\u5c71\u7f8a", head).encode("gbk"))
    assert index.dropped == {"unreadable_annotation": 1}


def test_capital_letters_in_tags_hide_no_object(tmp_path: Path) -> None:
    text = _xml().replace("object>", "Object>").replace("bndbox>", "BndBox>")
    index = _read_bytes(tmp_path, text.encode())
    assert index.entry(id_from_name("a")).boxes_xyxy.tolist() == [[1, 1, 9, 9]]


def test_an_object_with_two_boxes_is_left_out_and_counted(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"
    index = _read_bytes(tmp_path, _xml().replace("</object>", box, 1).encode())
    assert index.dropped == {"unreadable_box": 1}


def test_an_xml_file_that_links_to_itself_costs_one_image(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.jpg")}, {"train": ["a", "b"]})
    (tmp_path / "Annotations" / "b.xml").symlink_to("b.xml")
    index = open_split(DataSpec(dataset="voc", root=str(tmp_path)), "train")
    assert index.image_ids.tolist() == [id_from_name("a")]
    assert index.dropped == {"unreadable_annotation": 1}


def test_a_namespace_hides_no_object(tmp_path: Path) -> None:
    text = _xml().replace("<annotation>", '<annotation xmlns="http://example.org/voc">')
    index = _read_bytes(tmp_path, text.encode())
    assert index.entry(id_from_name("a")).boxes_xyxy.tolist() == [[1, 1, 9, 9]]


@pytest.mark.parametrize(
    "text",
    [
        _xml("&a;", '<!DOCTYPE annotation [<!ENTITY a "cat">]>'),
        _xml("cat", "<!DOCTYPE annotation>"),
        "<html><body/></html>",
        _xml()[:60],
        "",
    ],
)
def test_a_file_with_entities_or_of_another_kind_is_counted(text: str, tmp_path: Path) -> None:
    assert _read_bytes(tmp_path, text.encode()).dropped == {"unreadable_annotation": 1}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("<xmin>2</xmin>", "<xmin>abc</xmin>", "unreadable_box"),
        ("<xmin>2</xmin>", "", "unreadable_box"),
        ("<xmin>2</xmin>", "<xmin>15</xmin>", "box_degenerate"),
        ("<name>cat</name>", "<name>cat</name><difficult>?</difficult>", "unreadable_crowd"),
        ("<annotation>", "<annotation><size><width>-3</width></size>", "unreadable_size"),
    ],
)
def test_a_field_of_xml_that_means_nothing_is_counted(
    old: str, new: str, kind: str, tmp_path: Path
) -> None:
    _read_bytes(tmp_path, _xml().replace(old, new, 1).encode())
    assert _counted(_voc(tmp_path))[kind] == 1


def test_two_years_with_the_same_stems_are_two_pictures(tmp_path: Path) -> None:
    for year, corner in (("VOC2007", 2), ("VOC2012", 3)):
        xml_of = {
            "a": voc_xml("a.jpg", [("cat", corner, 2, 9, 9)]),
            year: voc_xml(f"{year}.jpg", [("cat", 2, 2, 9, 9)]),
        }
        write_voc(tmp_path / year, xml_of, {"train": ["a", year]})
    index = open_split(_voc(tmp_path), "train")
    corners = {
        name: index.entry(id_from_name(name)).boxes_xyxy[0, 0]
        for name in ("VOC2007/a", "VOC2012/a", "VOC2007", "VOC2012")
    }
    assert corners == {"VOC2007/a": 1, "VOC2012/a": 2, "VOC2007": 1, "VOC2012": 1}


def test_a_year_that_is_there_twice_is_refused_by_name(tmp_path: Path) -> None:
    for folder in ("VOC2007", "VOCdevkit/VOC2007"):
        write_voc(tmp_path / folder, {"a": voc_xml("a.jpg")}, {"train": ["a"]})
    with pytest.raises(DataError, match=r"VOC2007/a\.xml in .* and in .*VOCdevkit"):
        open_split(_voc(tmp_path), "train")


def test_a_picture_in_two_lists_of_a_split_counts_once(tmp_path: Path) -> None:
    xml_of = {stem: voc_xml(f"{stem}.jpg", [("cat", 2, 2, 9, 9)]) for stem in "ab"}
    write_voc(tmp_path / "VOC2007", xml_of, {"train": ["a"], "trainval": ["a", "b"]})
    lists = {"train": ("VOC2007/train", "VOC2007/trainval"), "val": ("VOC2007/train",)}
    data = DataSpec(dataset="voc", root=str(tmp_path), image_sets=lists, report_on="val")
    assert len(open_split(data, "train")) == 2
    assert _counted(data) == {"duplicate_id": 1}


def test_of_two_pictures_of_one_stem_the_one_that_the_xml_names_is_meant(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": voc_xml("a.png", [("cat", 2, 2, 9, 9)])}, {"train": ["a"]})
    write_picture(tmp_path / "JPEGImages" / "a.png")
    index = open_split(_voc(tmp_path), "train")
    assert Path(index.entry(id_from_name("a")).path).name == "a.png"


def test_a_crowd_without_a_box_is_counted_since_it_covers_nothing(tmp_path: Path) -> None:
    data = _with(tmp_path, iscrowd=1, bbox=[7, 7, -5, -5], area=25)
    assert _counted(data) == {"box_degenerate": 1, "crowd": 1}
    assert count_faults(open_split(data, "train"), [1]) == {"box_degenerate": 1, "crowd": 1}
