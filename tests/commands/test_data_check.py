"""``data check`` takes a folder, a ``data.yaml`` or a study, and says what it saw."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec
from tests.data.data_files import voc_xml, write_picture
from tests.data.yolo_files import DATA_YAML, MIDDLE, write_yolo
from tests.golden_words import assert_says


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETHINK_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))


def _check(*words: str) -> str:
    shown = CliRunner().invoke(app, ["data", "check", *words])
    assert shown.exit_code == 0, (shown.output, shown.exception)
    return shown.stdout


def test_a_folder_is_told_by_format_splits_pictures_boxes_classes_sizes_and_faults(
    tmp_path: Path,
) -> None:
    labels = {
        "train/a": f"{MIDDLE}\n1 0.25 0.5 0.5 1\n",
        "train/b": "1 0.5 0.5 0.2 0.4\n7 0.5 0.5 0.2 0.4\n",
        "train/c": None,
        "val/d": MIDDLE,
    }
    write_yolo(tmp_path, labels, DATA_YAML.replace("dog]", "dog, dgo]"))
    write_picture(tmp_path / "images/train/c.png", 40, 10, mark="wide")
    shown = _check(str(tmp_path))
    assert_says("commands", "data check of a folder", shown.replace(str(tmp_path), "DIR"))
    assert "train: 3 pictures of 20x10 to 40x10 px (1 without a box), 3 boxes" in shown
    assert "  cat: train 1, val 1" in shown
    assert "b.txt line 2: " in shown
    section = yaml.safe_load(shown.partition("in a study file:")[2])["data"]
    assert DataSpec.model_validate(section).report_on == "val"
    assert section["select_on"] == {"holdout": "20%"}
    assert _check(str(tmp_path / "data.yaml")).splitlines()[1:] == shown.splitlines()[1:]


def test_a_folder_of_one_split_is_checked_without_a_split_that_scores(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_picture(tmp_path / "images" / f"{stem}.jpg", mark=stem)
        path = tmp_path / "annots" / f"{stem}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(voc_xml(f"{stem}.jpg", [("kangaroo", 2, 2, 9, 9)]))
    shown = _check(str(tmp_path), "--strict")
    assert "PASCAL VOC (XML apart from the pictures), with train\n" in shown
    assert "  kangaroo: train 2\n" in shown
    assert "data.split" in shown
    assert json.loads(_check(str(tmp_path), "--json"))["findings"] == {"train": []}


def test_the_json_holds_all_that_was_seen(tmp_path: Path) -> None:
    labels = {"train/a": f"{MIDDLE}\n1 0.25 0.5 0.5 1\n", "train/b": None, "val/d": MIDDLE}
    write_yolo(tmp_path, labels, DATA_YAML)
    for name, mark in (("train/b", "wide"), ("val/d", "wide")):
        write_picture(tmp_path / f"images/{name}.png", 40, 10, mark=mark)
    seen = json.loads(_check(str(tmp_path), "--json"))
    assert seen["format"].startswith("YOLO")
    train = seen["splits"]["train"]
    assert (train["num_images"], train["num_empty"], train["num_boxes"]) == (2, 1, 2)
    assert (train["smallest_wh"], train["largest_wh"]) == ([20, 10], [40, 10])
    assert train["box_px"][1] == pytest.approx((4 + 10) / 2)
    assert seen["classes"]["train"] == {"cat": 1, "dog": 1}
    kinds = {one["kind"]: one["count"] for one in seen["findings"]["train"]}
    assert kinds["picture_in_two_splits"] == 1
    assert kinds["look_alike_in_two_splits"] == 1
    pairs = {how: [leak["pairs"] for leak in leaks] for how, leaks in seen["leaks"].items()}
    images = tmp_path / "images"
    assert pairs == {
        "same": [[[str(images / "train/b.png"), str(images / "val/d.png")]]],
        "alike": [[[str(images / "train/a.png"), str(images / "val/d.png")]]],
    }
    assert DataSpec.model_validate(seen["data"]).report_on == "val"
    assert "must show no picture in two of the splits" in seen["refused"]
    assert seen["cut"] is None


def test_a_data_set_can_be_named_by_its_kind(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": MIDDLE, "val/b": MIDDLE})
    both = ("--set", "data.select_on=val", "--set", "data.report_on=val")
    shown = _check("yolo", "--set", f"data.root={tmp_path}", *both)
    assert shown.startswith("train: 1 picture of 20x10 px, 1 box of 4 to 4 px")


def test_a_folder_of_no_format_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    shown = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert isinstance(shown.exception, DataError)
    assert_says(
        "commands", "a folder of no format", str(shown.exception).replace(str(tmp_path), "DIR")
    )
    shown = CliRunner().invoke(app, ["data", "check", f"{tmp_path}/nowhere/"])
    assert "a folder that does not exist" in str(shown.exception)
