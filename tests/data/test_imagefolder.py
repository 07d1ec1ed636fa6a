"""Hugging Face's ``metadata.jsonl``: which lines are read, counted or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import write_picture

from rethink_ray.data.check import check_split
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, SplitSpec


def _write(folder: Path, *lines: Any) -> DataSpec:
    for name in ("a.png", "b.png"):
        write_picture(folder / name, mark=name)
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    files = SplitSpec(images=".", annotations="metadata.jsonl")
    return DataSpec(dataset={"train": files}, root=str(folder))


def _line(boxes: list[Any], classes: list[Any], name: str = "a.png") -> dict[str, Any]:
    return {"file_name": name, "objects": {"bbox": boxes, "categories": classes}}


def test_classes_that_are_numbers_are_called_by_them(tmp_path: Path) -> None:
    data = _write(tmp_path, _line([[2, 2, 5, 5], [0, 0, 4, 4]], [10, 2]), _line([], [], "b.png"))
    assert open_split(data, "train").categories == ("2", "10")


def test_a_fault_names_line_and_box(tmp_path: Path) -> None:
    data = _write(tmp_path, _line([[2, 2, 5, 5]], ["cat"], "b.png"), _line([[2, 2, 5]], ["cat"]))
    (finding,) = (one for one in check_split(data, "train") if one.kind == "unreadable_box")
    assert finding.examples == ("annotation 'of line 2, box 1,' of image 'a.png': bbox [2, 2, 5]",)


def test_objects_may_be_one_entry_each(tmp_path: Path) -> None:
    objects = [{"bbox": [2, 2, 5, 5], "category": "cat"}]
    data = _write(tmp_path, {"file_name": "a.png", "objects": objects})
    assert open_split(data, "train").boxes_xyxy.tolist() == [[2, 2, 7, 7]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "metadata.jsonl line 2: must have one JSON object per line"),
        ("[1]", "line 2: must be a JSON object"),
        (json.dumps(_line([[2, 2, 5, 5]], [])), "line 2: objects: must have as many classes"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    data = _write(tmp_path, _line([[2, 2, 5, 5]], ["cat"]))
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write(text)
    with pytest.raises(DataError, match=complaint):
        open_split(data, "train")
