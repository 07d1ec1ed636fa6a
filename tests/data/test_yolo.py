"""YOLO's label files: boxes, polygons and keypoints in pixels, and lines that are left out."""

import os
import shutil
from pathlib import Path

import pytest
from data_files import write_picture
from PIL import Image
from yolo_files import DATA_YAML, MIDDLE, MIDDLE_BOX, write_yolo, yolo_spec

from rethink_ray.data.check import check_data, check_split, find_refusal
from rethink_ray.data.index import AnnotationIndex, ImageEntry
from rethink_ray.data.pool import open_pool
from rethink_ray.data.splits import open_split, refresh_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import RegimeSpec


def _entries(index: AnnotationIndex) -> dict[str, ImageEntry]:
    return {Path(entry.path).stem: entry for entry in map(index.entry, map(int, index.image_ids))}


def _counted(root: Path, split: str = "train") -> dict[str, int]:
    return {one.kind: one.count for one in check_split(yolo_spec(root), split)}


def test_a_line_is_a_class_and_a_box_in_shares_of_the_picture(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": f"{MIDDLE}\n1 0.25 0.5 0.5 1\n"})
    index = open_split(yolo_spec(tmp_path), "train")
    assert index.categories == ("cat", "dog")
    entry = _entries(index)["a"]
    assert (entry.width, entry.height) == (20, 10)
    assert entry.boxes_xyxy.tolist() == [MIDDLE_BOX, [0, 0, 10, 10]]
    assert entry.labels.tolist() == [1, 2]
    assert entry.area.tolist() == [16, 100]
    assert _counted(tmp_path) == {}


def test_a_picture_without_a_label_file_or_with_an_empty_one_has_no_object(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": "", "train/c": "\n \n", "train/d": None})
    entries = _entries(open_split(yolo_spec(tmp_path), "train"))
    assert [len(entries[name].labels) for name in "abcd"] == [1, 0, 0, 0]
    assert _counted(tmp_path) == {"empty_image": 3}


def test_a_polygon_is_a_box_and_a_mask(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": "0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8"})
    index = open_split(yolo_spec(tmp_path), "train")
    entry = _entries(index)["a"]
    assert entry.boxes_xyxy.tolist() == [[2, 2, 10, 8]]
    assert entry.area.tolist() == [48]
    assert entry.has_mask.all()
    assert index.masks(entry.image_id).sum() == 48


def test_keypoints_follow_the_box_where_the_file_states_their_shape(tmp_path: Path) -> None:
    shape = DATA_YAML + "kpt_shape: [2, 3]\n"
    write_yolo(tmp_path, {"train/a": f"{MIDDLE} 0.5 0.5 2 0 0 0\n{MIDDLE}\n"}, shape)
    index = open_split(yolo_spec(tmp_path), "train")
    points = index.keypoints(int(index.image_ids[0]))
    assert points is not None
    assert sorted(points.tolist()) == [[[0, 0, 0], [0, 0, 0]], [[10, 5, 2], [0, 0, 0]]]
    assert index.keypoint_names == ("0", "1")


def test_keypoints_without_a_visibility_are_unseen_at_the_corner_alone(tmp_path: Path) -> None:
    named = DATA_YAML + "kpt_shape: [2, 2]\nkpt_names: {0: [nose, tail], 1: [nose, tail]}\n"
    write_yolo(tmp_path, {"train/a": f"{MIDDLE} 0.5 0.5 0 0"}, named)
    index = open_split(yolo_spec(tmp_path), "train")
    points = index.keypoints(int(index.image_ids[0]))
    assert points is not None
    assert points.tolist() == [[[10, 5, 2], [0, 0, 0]]]
    assert index.keypoint_names == ("nose", "tail")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5 0.2", "unreadable_box"),
        ("0 0.5 0.5 0.2 0.4 0.9", "unreadable_box"),  # a detection with its score
        ("0 0.5 0.5 0.2 nan", "unreadable_box"),
        ("0 0.5 0.5 inf 0.4", "unreadable_box"),
        ("0,0.5,0.5,0.2,0.4", "unreadable_box"),
        ("0 0.1 0.1 0.9 0.1 0.5 x", "unreadable_box"),
        ("0 10 5 4 4", "box_not_normalised"),
        ("0 0.5 0.5 -0.2 0.4", "box_not_normalised"),
        ("0 0.1 0.1 1.9 0.1 0.5 0.8", "box_not_normalised"),
        ("2 0.5 0.5 0.2 0.4", "unknown_category"),
        ("-1 0.5 0.5 0.2 0.4", "unknown_category"),
        ("0.5 0.5 0.5 0.2 0.4", "unknown_category"),
        ("cat 0.5 0.5 0.2 0.4", "unknown_category"),
        ("0 0.5 0.5 0 0", "box_degenerate"),
        ("0 1 0.5 0.4 0.4", "box_outside"),
    ],
)
def test_a_bad_line_is_counted_with_its_file_and_number(
    line: str, kind: str, tmp_path: Path
) -> None:
    write_yolo(tmp_path, {"train/a": f"{MIDDLE}\n\n{line}\n"})
    findings = check_split(yolo_spec(tmp_path), "train")
    assert {one.kind: one.count for one in findings} == {kind: 1}
    assert findings[0].examples[0].startswith("train/a.txt line 3: ")
    assert findings[0].is_fault
    boxes = _entries(open_split(yolo_spec(tmp_path), "train"))["a"].boxes_xyxy.tolist()
    assert MIDDLE_BOX in boxes


def test_a_share_that_is_rounded_over_the_edge_is_read(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": "0 0.5 0.5 1.000001 1"})
    assert _counted(tmp_path) == {}


def test_a_label_file_that_is_no_text_costs_its_picture(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": MIDDLE})
    (tmp_path / "labels/train/b.txt").write_bytes(b"0 0.5 \xff\xfe")
    assert list(_entries(open_split(yolo_spec(tmp_path), "train"))) == ["a"]
    assert _counted(tmp_path) == {"unreadable_annotation": 1}


def test_labels_whose_picture_is_missing_or_broken_are_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"train/{name}": MIDDLE for name in "abc"})
    (tmp_path / "images/train/b.png").unlink()
    (tmp_path / "images/train/c.png").write_text("no picture")
    (tmp_path / "labels/train/classes.txt").write_text("cat\n")
    index = open_split(yolo_spec(tmp_path), "train")
    assert list(_entries(index)) == ["a"]
    assert dict(index.dropped) == {"missing_image": 1, "unreadable_image": 1}
    assert _counted(tmp_path) == {"missing_image": 1, "unreadable_image": 1}


def test_boxes_belong_to_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE})
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 20 x 10, shown 10 x 20
    path = tmp_path / "images/train/a.png"
    Image.open(path).save(path, exif=exif)
    entry = _entries(open_split(yolo_spec(tmp_path), "train"))["a"]
    assert (entry.width, entry.height) == (10, 20)
    assert entry.boxes_xyxy.tolist() == [[4, 6, 6, 14]]


def test_an_index_is_built_again_when_labels_names_or_pictures_change(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": None})
    data = yolo_spec(tmp_path)
    prints = [open_split(data, "train").fingerprint]
    (tmp_path / "labels/train/b.txt").write_text(MIDDLE)
    prints.append(open_split(data, "train").fingerprint)
    (tmp_path / "data.yaml").write_text(DATA_YAML.replace("dog", "cow"))
    prints.append(open_split(data, "train").fingerprint)
    write_picture(tmp_path / "images/train/c.png", mark="c")
    prints.append(open_split(data, "train").fingerprint)
    assert len({*prints}) == 4
    write_picture(tmp_path / "images/train/a.png", 40, 30, mark="larger")
    entry = _entries(refresh_split(data, "train"))["a"]
    assert entry.boxes_xyxy.tolist() == [[16, 9, 24, 21]]


def test_the_same_data_set_in_another_folder_is_the_same(tmp_path: Path) -> None:
    write_yolo(tmp_path / "one", {"train/a": MIDDLE, "train/b": None})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (open_split(yolo_spec(tmp_path / name), "train") for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.image_ids.tolist() == two.image_ids.tolist()
    assert one.directory != two.directory


def test_a_split_without_a_single_label_file_is_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "val/b": None})
    with pytest.raises(DataError, match="must have a label file for at least one picture"):
        open_split(yolo_spec(tmp_path), "val")


def test_a_study_is_checked_as_one_of_coco_is(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": MIDDLE, "val/c": MIDDLE})
    data = yolo_spec(tmp_path, select_on="val", report_on="val")
    assert check_data(data, ["train", "val"]) == {"train": [], "val": []}
    assert find_refusal(data, {"all": RegimeSpec(images="all")}) == ""
    shutil.copy(tmp_path / "images/val/c.png", tmp_path / "images/train/d.png")
    assert "1 of train in val" in find_refusal(data, {"all": RegimeSpec(images="all")})


def test_the_rest_of_train_is_a_pool(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": MIDDLE, "val/c": MIDDLE})
    data = yolo_spec(tmp_path, select_on="val", report_on="val")
    assert len(open_pool(data, 1, "rest").image_ids) == 1


def test_pictures_are_listed_through_folders_inside_but_not_hidden_ones(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/day/a": MIDDLE, "train/.thumbs/b": MIDDLE, "train/._c": None})
    assert list(_entries(open_split(yolo_spec(tmp_path), "train"))) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="needs a file name that is no UTF-8")
def test_a_picture_whose_name_is_no_text_is_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE})
    shutil.copy(
        tmp_path / "images/train/a.png", os.fsencode(tmp_path / "images/train") + b"/\xff.png"
    )
    assert _counted(tmp_path) == {"unreadable_image": 1}
