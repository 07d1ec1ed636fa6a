"""Which format a folder has: COCO, VOC, YOLO, imagefolder, none, or two."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, voc_xml, write_coco, write_picture, write_voc
from yolo_files import DATA_YAML, MIDDLE, write_yolo

from rethink_ray.data.recognise import recognise_folder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

CAT = coco({1: [("cat", 2, 2, 5, 5)], 2: []})
XML = voc_xml("a.jpg", [("cat", 2, 2, 9, 9)])


def _open(root: Path, split: str = "train") -> Any:
    return open_split(DataSpec.model_validate(recognise_folder(root).data), split)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _write_pictures(folder: Path, mark: str = "") -> None:
    for name in ("1.png", "2.png"):
        write_picture(folder / name, mark=f"{mark}{name}")


def test_coco_files_beside_folders_named_after_them(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_coco(tmp_path, split, CAT)
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == ("train", "val")
    assert recognised.data["dataset"]["val"] == {"images": "val", "annotations": "val.json"}
    assert recognised.data["root"] == str(tmp_path)
    assert len(_open(tmp_path, "val").boxes_xyxy) == 1


def test_each_split_has_the_folder_of_its_name_if_all_number_their_pictures_alike(
    tmp_path: Path,
) -> None:
    for split in ("train", "val", "test"):
        _write_json(tmp_path / "annotations" / f"instances_{split}.json", CAT)
        _write_pictures(tmp_path / "pictures" / split, mark=split)
    dataset = recognise_folder(tmp_path).data["dataset"]
    folders = {split: files["images"] for split, files in dataset.items()}
    assert folders == {split: f"pictures/{split}" for split in ("train", "val", "test")}


def test_cocos_own_layout_is_called_coco(tmp_path: Path) -> None:
    for split in ("train", "val"):
        _write_json(tmp_path / "annotations" / f"instances_{split}2017.json", CAT)
        _write_json(tmp_path / "annotations" / f"captions_{split}2017.json", CAT)
        _write_pictures(tmp_path / f"{split}2017")
    recognised = recognise_folder(tmp_path)
    assert recognised.data == {"dataset": "coco", "root": str(tmp_path)}
    assert recognised.splits == ("train", "val")


def test_roboflows_files_lie_beside_their_pictures_and_their_category_0_is_no_class(
    tmp_path: Path,
) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)], 2: []}, {0: "pets", 1: "cat", 2: "dog"})
    parents = ("none", "pets", "pets")
    for category, parent in zip(document["categories"], parents, strict=True):
        category["supercategory"] = parent
    for split in ("train", "valid", "test"):
        _write_json(tmp_path / split / "_annotations.coco.json", document)
        _write_pictures(tmp_path / split, mark=split)
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == ("train", "val", "test")
    assert recognised.data["dataset"]["val"]["images"] == "valid"
    assert _open(tmp_path, "test").categories == ("cat", "dog")
    document["annotations"][0]["category_id"] = 0
    for split in ("train", "valid", "test"):
        _write_json(tmp_path / split / "_annotations.coco.json", document)
    assert _open(tmp_path).categories == ("pets", "cat", "dog")


@pytest.mark.parametrize("name", ["annotations/instances_default.json", "result.json"])
def test_cvats_and_label_studios_exports_are_one_split(name: str, tmp_path: Path) -> None:
    _write_json(tmp_path / name, CAT)
    _write_json(tmp_path / "notes.json", {"categories": [{"id": 0, "name": "cat"}], "info": {}})
    _write_pictures(tmp_path / "images")
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == ("train",)
    assert recognised.data["dataset"] == {"train": {"images": "images", "annotations": name}}
    assert "one split, train" in recognised.notes[0]


def test_label_studios_names_of_pictures_may_begin_with_their_folder(tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)]})
    document["images"][0]["file_name"] = "images/1.png"
    _write_json(tmp_path / "result.json", document)
    _write_pictures(tmp_path / "images")
    assert len(_open(tmp_path)) == 1


def test_a_coco_file_whose_pictures_are_nowhere_is_an_error(tmp_path: Path) -> None:
    _write_json(tmp_path / "result.json", CAT)
    with pytest.raises(DataError, match=r"must name pictures of this folder.*'1\.png, which"):
        recognise_folder(tmp_path)


def test_two_files_of_one_split_are_an_error_that_names_them(tmp_path: Path) -> None:
    for name in ("train_a.json", "train_b.json"):
        _write_json(tmp_path / name, CAT)
    _write_pictures(tmp_path / "images")
    with pytest.raises(DataError, match=r"train_a\.json, train_b\.json"):
        recognise_folder(tmp_path)


def test_voc_with_lists_is_called_voc(tmp_path: Path) -> None:
    write_voc(
        tmp_path, {"a": XML, "b": XML}, {"train": ["a"], "val": ["b"], "trainval": ["a", "b"]}
    )
    recognised = recognise_folder(tmp_path)
    assert recognised.data == {"dataset": "voc", "root": str(tmp_path)}
    assert recognised.splits == ("train", "val")


def test_voc_without_lists_is_one_split(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": XML, "b": XML}, {})
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == ("train",)
    assert recognised.notes
    assert len(_open(tmp_path)) == 2


@pytest.mark.parametrize("name", ["default", "trainval"])
def test_a_voc_folder_may_have_its_training_list_under_another_name(
    name: str, tmp_path: Path
) -> None:
    write_voc(tmp_path, {"a": XML, "b": XML}, {name: ["a"], "val": ["b"], "test": ["b"]})
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == (
        ("train", "test") if name == "trainval" else ("train", "val", "test")
    )
    assert len(_open(tmp_path)) == 1


def test_years_of_voc_are_gathered(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        write_voc(tmp_path / year, {year: XML}, {"train": [year], "val": [year]})
    assert recognise_folder(tmp_path).data == {"dataset": "voc", "root": str(tmp_path)}
    assert len(_open(tmp_path)) == 2


@pytest.mark.parametrize(
    ("xml", "pictures"), [("annots", "images"), (".", "."), ("data/xml", "data/jpg")]
)
def test_voc_files_may_lie_apart_from_or_beside_their_pictures(
    xml: str, pictures: str, tmp_path: Path
) -> None:
    (tmp_path / xml).mkdir(parents=True, exist_ok=True)
    (tmp_path / xml / "a.xml").write_text(XML)
    write_picture(tmp_path / pictures / "a.jpg")
    assert len(_open(tmp_path).boxes_xyxy) == 1


def test_roboflows_voc_export_has_a_folder_per_split(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_picture(tmp_path / split / "a.jpg", mark=split)
        (tmp_path / split / "a.xml").write_text(XML)
    recognised = recognise_folder(tmp_path)
    assert recognised.data["dataset"] == {
        "train": {"images": "train", "annotations": "train"},
        "val": {"images": "valid", "annotations": "valid"},
    }


def test_voc_files_in_two_folders_that_name_no_split_are_an_error(tmp_path: Path) -> None:
    for name in ("monday", "sunday"):
        write_picture(tmp_path / name / "a.jpg")
        (tmp_path / name / "a.xml").write_text(XML)
    with pytest.raises(DataError, match="monday, sunday"):
        recognise_folder(tmp_path)


def test_yolo_says_which_splits_it_has_and_why_not_others(tmp_path: Path) -> None:
    same = DATA_YAML.replace("images/val", "images/train") + "test: images/test\n"
    write_yolo(tmp_path, {"train/a": MIDDLE, "test/b": None}, same)
    recognised = recognise_folder(tmp_path)
    assert recognised.data == {"dataset": "yolo", "root": str(tmp_path)}
    assert recognised.splits == ("train",)
    assert recognised.notes == (
        "data.yaml: val names the pictures of train, so it is no split",
        "data.yaml: no picture of test has a label file, so it is no split",
    )


def test_a_data_yaml_stands_for_its_folder(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE})
    assert recognise_folder(tmp_path / "data.yaml") == recognise_folder(tmp_path)
    shutil.copy(tmp_path / "data.yaml", tmp_path / "other.yaml")
    assert recognise_folder(tmp_path / "other.yaml").data["root"] == str(tmp_path / "other.yaml")


def test_yolo_labels_without_names_of_classes_are_told_so(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": MIDDLE}, data_yaml="")
    with pytest.raises(DataError, match="must name the classes of its YOLO labels"):
        recognise_folder(tmp_path)


@pytest.mark.parametrize("key", ["categories", "category", "label"])
def test_an_imagefolder_has_a_line_of_json_per_picture(key: str, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        objects = {"bbox": [[2, 2, 5, 5], [0, 0, 4, 4]], key: ["cat", "dog"]}
        lines = [{"file_name": "1.png", "objects": objects}, {"file_name": "2.png", "objects": {}}]
        _write_pictures(tmp_path / split, mark=split)
        text = "\n".join(map(json.dumps, lines))
        (tmp_path / split / "metadata.jsonl").write_text(text)
    recognised = recognise_folder(tmp_path)
    assert recognised.splits == ("train", "val")
    index = _open(tmp_path, "val")
    assert index.categories == ("cat", "dog")
    assert sorted(index.boxes_xyxy.tolist()) == [[0, 0, 4, 4], [2, 2, 7, 7]]


def test_a_folder_that_holds_one_folder_is_that_folder(tmp_path: Path) -> None:
    write_yolo(tmp_path / "photos" / "photos-1", {"train/a": MIDDLE})
    (tmp_path / "photos" / "README.txt").write_text("unpacked")
    root = recognise_folder(tmp_path / "photos").data["root"]
    assert root == str(tmp_path / "photos" / "photos-1")


def test_a_folder_of_no_format_says_what_was_looked_for_and_seen(tmp_path: Path) -> None:
    _write_pictures(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b")
    with pytest.raises(DataError) as refused:
        recognise_folder(tmp_path)
    assert refused.value.came == "the folder itself with 2 .png, 1 .csv"
    assert all(word in refused.value.must for word in ("COCO", "VOC", "YOLO", "imagefolder"))
    with pytest.raises(DataError, match="a folder that does not exist"):
        recognise_folder(tmp_path / "nowhere")


def test_a_folder_of_two_formats_is_an_error_that_names_both(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"1": MIDDLE}, "train: images\nnames: [cat]\n")
    _write_json(tmp_path / "result.json", CAT)
    with pytest.raises(DataError, match=r"COCO \(result.json\) and YOLO \(data.yaml\)"):
        recognise_folder(tmp_path)
    assert recognise_folder(tmp_path / "data.yaml").data["dataset"] == "yolo"
