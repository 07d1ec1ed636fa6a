"""Folders that people have: links to nothing, other systems' paths, splits that number alike."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, voc_xml, write_picture
from yolo_files import MIDDLE, write_yolo

from rethink_ray.data.recognise import recognise_folder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

CAT = coco({1: [("cat", 2, 2, 5, 5)], 2: []})


def _open(root: Path, split: str = "train") -> Any:
    return open_split(DataSpec.model_validate(recognise_folder(root).data), split)


def _write_voc(folder: Path, stems: range, mark: str) -> None:
    (folder / "annotations").mkdir(parents=True)
    for stem in stems:
        write_picture(folder / "images" / f"{stem}.jpg", mark=f"{mark}{stem}")
        xml = folder / "annotations" / f"{stem}.xml"
        xml.write_text(voc_xml(f"{stem}.jpg", [("cat", 2, 2, 9, 9)]))


def test_vocs_splits_that_number_their_pictures_alike_keep_their_own(tmp_path: Path) -> None:
    _write_voc(tmp_path / "train", range(1, 5), "train")
    _write_voc(tmp_path / "valid", range(1, 3), "valid")
    (tmp_path / "valid" / "images" / "2.jpg").unlink()  # train has one of this name
    dataset = recognise_folder(tmp_path).data["dataset"]
    assert dataset["train"] == {"images": "train/images", "annotations": "train/annotations"}
    assert dataset["val"] == {"images": "valid/images", "annotations": "valid/annotations"}


def test_pictures_may_be_named_behind_a_megabyte_of_objects(tmp_path: Path) -> None:
    """As a program writes them that sorts keys: annotations, categories, images."""
    document = coco({1: [("cat", 2, 2, 5, 5)] * 15000, 2: []})
    for name in ("1.png", "2.png"):
        write_picture(tmp_path / "images" / name, mark=name)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document, sort_keys=True))
    assert path.read_bytes().index(b"file_name") > 1_000_000
    assert recognise_folder(tmp_path).data["dataset"]["train"]["images"] == "images"


def test_cocos_names_of_pictures_in_another_encoding_have_their_sentence(tmp_path: Path) -> None:
    document = json.dumps(CAT).replace("1.png", "caf\u00e9.png")
    (tmp_path / "labels.json").write_bytes(document.encode("latin-1"))
    with pytest.raises(DataError, match="must be text in UTF-8") as refused:
        recognise_folder(tmp_path)
    assert refused.value.remedy


def test_a_name_that_is_no_file_is_not_looked_for(tmp_path: Path) -> None:
    """Such as a picture that is inside the JSON file: longer than any name."""
    write_picture(tmp_path / "2.png")
    text = json.dumps(CAT).replace("1.png", "data:image/png;base64," + 400 * "A")
    (tmp_path / "labels.json").write_text(text)
    assert recognise_folder(tmp_path).splits == ("train",)


def test_windows_writes_backslashes_between_folders(tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)]})
    document["images"][0]["file_name"] = "images\\1.png"
    write_picture(tmp_path / "images" / "1.png")
    (tmp_path / "result.json").write_text(json.dumps(document))
    index = _open(tmp_path)
    assert index.entry(1).path == str(tmp_path / "images" / "1.png")


def test_a_backslash_may_be_part_of_a_name(tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)]})
    document["images"][0]["file_name"] = "a\\1.png"
    write_picture(tmp_path / "a\\1.png")
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert _open_listed(tmp_path) == [str(tmp_path / "a\\1.png")]


def _open_listed(root: Path) -> list[str]:
    files = {"train": {"images": ".", "annotations": "result.json"}}
    index = open_split(DataSpec.model_validate({"dataset": files, "root": str(root)}), "train")
    return [index.entry(int(image_id)).path for image_id in index.image_ids]


def test_links_to_nothing_are_passed_over(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "val/b": MIDDLE})
    for name in ("labels.json", "old.xml", "gone.png"):
        (tmp_path / name).symlink_to(tmp_path / "moved" / name)
    assert recognise_folder(tmp_path).splits == ("train", "val")


def test_a_folder_inside_that_may_not_be_entered_counts_as_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "val/b": MIDDLE})
    (tmp_path / "lost+found").mkdir()
    scan = os.scandir

    def refuse(path: str | Path) -> Any:
        """As the system does for everybody but root, who may run these tests."""
        if Path(path).name in ("lost+found", "locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert recognise_folder(tmp_path).splits == ("train", "val")
    (tmp_path / "locked").mkdir()
    with pytest.raises(PermissionError):  # the command line says so
        recognise_folder(tmp_path / "locked")


def test_labels_that_begin_with_an_empty_line_are_yolos(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": f"\n{MIDDLE}"}, data_yaml="")
    with pytest.raises(DataError, match="must name the classes of its YOLO labels"):
        recognise_folder(tmp_path)


def test_a_long_line_that_is_no_label_is_read_in_an_instant(tmp_path: Path) -> None:
    """Sixty whole numbers and a word: a pattern that can split digits anywhere never ends."""
    write_yolo(tmp_path, {"train/a": f"0 {'1234 ' * 60}end"}, data_yaml="")
    with pytest.raises(DataError, match="must hold labelled pictures"):
        recognise_folder(tmp_path)


def test_a_text_in_metadata_may_hold_a_line_separator(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    objects = {"bbox": [[2, 2, 5, 5]], "categories": ["cat\u2028tabby"]}
    line = json.dumps({"file_name": "a.png", "objects": objects}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(line + "\n", encoding="utf-8")
    assert _open(tmp_path).categories == ("cat\u2028tabby",)


def test_the_data_yaml_that_is_missing_is_suggested_with_the_folders_splits(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train2017/a": MIDDLE, "val2017/b": MIDDLE}, data_yaml="")
    with pytest.raises(DataError) as refused:
        recognise_folder(tmp_path)
    assert refused.value.remedy == (
        "Write data.yaml: {train: images/train2017, val: images/val2017, names: [cat, dog]}, in "
        "the order of class ids."
    )


def test_a_data_yaml_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": None}, data_yaml="train: images\nnames: [cat\n")
    with pytest.raises(DataError, match=r"(?s)data\.yaml: must be a YAML.*line 3") as refused:
        recognise_folder(tmp_path)
    assert refused.value.remedy.startswith("It reads {train: ")


def test_a_coco_file_that_was_cut_is_named(tmp_path: Path) -> None:
    text = json.dumps(CAT)
    (tmp_path / "labels.json").write_text(text[: text.index('"categories"')])
    with pytest.raises(DataError) as refused:
        recognise_folder(tmp_path)
    assert refused.value.remedy.startswith(
        "labels.json begins as COCO's files do, but has no categories."
    )
