"""The forms of ``data.yaml``, and YOLO folders without one: classes, splits, where labels lie."""

from pathlib import Path

import pytest
from data_files import write_picture
from yolo_files import DATA_YAML, MIDDLE, write_yolo, yolo_spec

from rethink_ray.data.check import check_split
from rethink_ray.data.recognise import recognise_folder
from rethink_ray.data.sources.yolo_config import read_yolo_config
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError


def _listed(root: Path, split: str = "train") -> list[str]:
    index = open_split(yolo_spec(root), split)
    return sorted(Path(path).relative_to(root).as_posix() for path in index.pictures().paths)


@pytest.mark.parametrize(
    ("names", "categories"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names: {0: cat, 1: dog}", ("cat", "dog")),
        ("names: {1: dog, 0: cat}\nnc: 2", ("cat", "dog")),
        ("names: {'0': cat, '3': dog}", ("cat", "dog")),
        ("names: [yes, no, 007, 1e3]", ("yes", "no", "007", "1e3")),
        ("nc: 2", ("class_0", "class_1")),
    ],
)
def test_classes_are_named_as_written(
    names: str, categories: tuple[str, ...], tmp_path: Path
) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE}, f"train: images/train\n{names}\n")
    assert open_split(yolo_spec(tmp_path), "train").categories == categories


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("names: [cat, cat]", "must name each class once"),
        ("names: []", "must give each class a name"),
        ("names: {a: cat}", "must map each class id"),
        ("nc: 3\nnames: [cat, dog]", "must be the number of names, 2"),
        ("names: [cat, '']", "must give each class a name"),
    ],
)
def test_names_that_tell_no_class_are_refused(names: str, complaint: str, tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE}, f"train: images/train\n{names}\n")
    with pytest.raises(DataError, match=complaint):
        read_yolo_config(tmp_path)


@pytest.mark.parametrize(
    "train",
    [
        "train: images/train",
        "train: ./images/train/",
        "train: ../images/train",  # as Roboflow writes it
        "train: [images/train]",
        "path: .\ntrain: images/train",
        "path: ../datasets/mine\ntrain: images/train",  # a folder of another machine
        "path: /content/mine\ntrain: images/train",
        "train: /content/mine/images/train",
        "train: images/train\nval:\ntest:",
    ],
)
def test_training_pictures_are_found_from_every_form_of_path(train: str, tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE}, f"{train}\nnames: [cat, dog]\n")
    assert _listed(tmp_path) == ["images/train/a.png"]
    assert list(read_yolo_config(tmp_path).splits) == ["train"]


def test_roboflow_puts_images_and_labels_into_each_split(tmp_path: Path) -> None:
    splits = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    (tmp_path / "data.yaml").write_text(splits + "nc: 2\nnames: ['cat', 'dog']\n")
    for split in ("train", "valid"):
        write_picture(tmp_path / split / "images" / "a.png", mark=split)
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text(MIDDLE)
    assert list(read_yolo_config(tmp_path).splits) == ["train", "val"]
    assert _listed(tmp_path, "val") == ["valid/images/a.png"]
    assert len(open_split(yolo_spec(tmp_path), "val").boxes_xyxy) == 1


@pytest.mark.parametrize(
    "line",
    [
        "images/train/a.png",
        "./images/train/a.png",
        "data/images/train/a.png",
        "/x/images/train/a.png",
    ],
)
def test_a_text_file_lists_pictures(line: str, tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "train/b": MIDDLE})
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n")
    (tmp_path / "train.txt").write_text(f"{line}\n\n{line}\nimages/train/missing.png\n")
    assert _listed(tmp_path) == ["images/train/a.png"]
    counts = {one.kind: one.count for one in check_split(yolo_spec(tmp_path), "train")}
    assert counts == {"duplicate_id": 1, "missing_image": 1}


def test_a_split_may_be_several_folders(tmp_path: Path) -> None:
    labels = {f"{day}/a": MIDDLE for day in ("monday", "sunday")}
    write_yolo(tmp_path, labels, "train: [images/monday, images/sunday]\nnames: [cat, dog]\n")
    assert _listed(tmp_path) == ["images/monday/a.png", "images/sunday/a.png"]


def test_a_val_that_names_the_pictures_of_train_is_no_split(tmp_path: Path) -> None:
    same = DATA_YAML.replace("images/val", "images/train")
    write_yolo(tmp_path, {"train/a": MIDDLE}, same)
    config = read_yolo_config(tmp_path)
    assert list(config.splits) == ["train"]
    assert config.absent == {"val": "names the pictures of train"}
    with pytest.raises(DataError, match="whose val names the pictures of train"):
        open_split(yolo_spec(tmp_path), "val")


def test_labels_may_lie_beside_their_pictures_or_in_one_folder_for_all(tmp_path: Path) -> None:
    write_yolo(tmp_path / "one", {"train/a": None}, "train: images/train\nnames: [cat]\n")
    (tmp_path / "one/images/train/a.txt").write_text(MIDDLE)
    write_yolo(
        tmp_path / "two", {"train/a": None, "a": MIDDLE}, "train: images/train\nnames: [cat]\n"
    )
    for root in (tmp_path / "one", tmp_path / "two"):
        assert len(open_split(yolo_spec(root), "train").boxes_xyxy) == 1


def test_the_file_itself_may_be_the_root(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE})
    (tmp_path / "other.yaml").write_text("train: images/train\nnames: [fox]\n")
    assert open_split(yolo_spec(tmp_path), "train").categories == ("cat", "dog")
    assert open_split(yolo_spec(tmp_path / "other.yaml"), "train").categories == ("fox",)
    (tmp_path / "data.yaml").rename(tmp_path / "mine.yaml")
    assert recognise_folder(tmp_path / "mine.yaml").data["root"] == str(tmp_path / "mine.yaml")
    with pytest.raises(DataError, match="Name the file itself"):
        read_yolo_config(tmp_path)


def test_cvats_darknet_export_is_read(tmp_path: Path) -> None:
    write_picture(tmp_path / "obj_train_data" / "a.png")
    (tmp_path / "obj_train_data" / "a.txt").write_text(MIDDLE)
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    (tmp_path / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n"
    )
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\n")
    assert _listed(tmp_path) == ["obj_train_data/a.png"]
    assert open_split(yolo_spec(tmp_path), "train").categories == ("cat", "dog")


def test_label_studios_export_names_its_classes_in_a_text_file(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": MIDDLE}, data_yaml="")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert _listed(tmp_path) == ["images/a.png"]
    write_yolo(tmp_path, {"val/b": MIDDLE, "train/c": MIDDLE}, data_yaml="")
    assert list(read_yolo_config(tmp_path).splits) == ["train", "val"]


def test_training_pictures_that_are_nowhere_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(DATA_YAML)
    with pytest.raises(DataError, match="must name training pictures"):
        read_yolo_config(tmp_path)
    with pytest.raises(DataError, match=r"must hold data\.yaml"):
        read_yolo_config(tmp_path / "nowhere")
