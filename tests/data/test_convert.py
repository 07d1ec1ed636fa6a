"""Rarer formats become COCO JSON beside their pictures; without the library one is told so."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from data_files import write_picture

from rethink_ray.data.convert import convert_labels
from rethink_ray.data.recognise import recognise_folder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

KITTI = "{} 0 0 0 {} {} {} {} 0 0 0 0 0 0 0\n"
BOX = [2.0, 3.0, 12.0, 8.0]
BOX_LINES = KITTI.format("Cat", *BOX) + KITTI.format("DontCare", 0, 0, 4, 4)
CVAT = (
    "<annotations><meta><task><labels><label><name>Cat</name></label></labels></task></meta>"
    '<image id="0" name="a.png" width="20" height="10">'
    '<box label="Cat" xtl="2" ytl="3" xbr="12" ybr="8"/></image></annotations>'
)


def _write(folder: Path, format_name: str) -> None:
    write_picture(folder / "images" / "a.png")
    if format_name == "kitti":
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_text(BOX_LINES)
    elif format_name == "cvat":
        (folder / "annotations.xml").write_text(CVAT)
    elif format_name == "labelbox":
        bounds = {"left": 2, "top": 3, "width": 10, "height": 5}
        kind = {"annotation_kind": "ImageBoundingBox", "name": "Cat", "bounding_box": bounds}
        row = {
            "data_row": {"id": "x", "global_key": "a.png", "external_id": "a.png"},
            "media_attributes": {"width": 20, "height": 10},
            "projects": {"p": {"labels": [{"annotations": {"objects": [kind]}}]}},
        }
        (folder / "export.ndjson").write_text(json.dumps(row) + "\n")
    else:
        schema = {"task_type": "object-detection", "categories": [{"id": 0, "name": "Cat"}]}
        seen = [{"category_id": 0, "bbox": [2, 3, 10, 5], "score": 1.0}]
        (folder / "labels").mkdir()
        (folder / "labels" / "schema.json").write_text(json.dumps(schema))
        label = {"file_name": "a.png", "predictions": seen}
        (folder / "labels" / "a.json").write_text(json.dumps(label))


@pytest.mark.parametrize("format_name", ["kitti", "cvat", "labelbox", "lightly"])
def test_a_rarer_format_is_read_after_its_conversion(format_name: str, tmp_path: Path) -> None:
    pytest.importorskip("labelformat", reason="an extra: pip install 'rethink-ray[formats]'")
    _write(tmp_path / "in", format_name)
    converted = convert_labels(tmp_path / "in", format_name, tmp_path / "out")
    assert (converted.num_images, converted.num_objects, converted.num_missing) == (1, 1, 0)
    assert converted.num_ignored == (format_name == "kitti")
    recognised = recognise_folder(tmp_path / "out")
    index = open_split(DataSpec.model_validate(recognised.data), "train")
    assert index.categories == ("Cat",)
    assert index.boxes_xyxy.tolist() == [BOX]
    with pytest.raises(DataError, match="must be a folder that does not exist yet"):
        convert_labels(tmp_path / "in", format_name, tmp_path / "out")


def test_files_that_the_library_cannot_read_are_named(tmp_path: Path) -> None:
    pytest.importorskip("labelformat", reason="an extra: pip install 'rethink-ray[formats]'")
    _write(tmp_path / "in", "kitti")
    (tmp_path / "in/labels/a.txt").unlink()
    with pytest.raises(DataError, match="must hold labels of kitti that labelformat can read"):
        convert_labels(tmp_path / "in", "kitti", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="must hold labels of cvat: annotations.xml"):
        convert_labels(tmp_path / "in", "cvat", tmp_path / "out")
    with pytest.raises(DataError, match="must be one of kitti, cvat"):
        convert_labels(tmp_path / "in", "coco", tmp_path / "out")


def test_without_the_library_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_import = builtins.__import__

    def refuse(name: str, *rest: Any, **keys: Any) -> Any:
        if name.startswith("labelformat"):
            raise ImportError(f"No module named '{name}'")
        return plain_import(name, *rest, **keys)

    _write(tmp_path / "in", "kitti")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"pip install 'rethink-ray\[formats\]'"):
        convert_labels(tmp_path / "in", "kitti", tmp_path / "out")
