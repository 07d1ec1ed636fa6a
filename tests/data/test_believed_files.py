"""Areas that cannot be, and pictures under two ids, are not believed."""

import json
from pathlib import Path

import pytest
from data_files import coco, coco_spec, write_coco, write_picture

from rethink_ray.data.check import check_data, check_split
from rethink_ray.data.faults import count_faults
from rethink_ray.data.sources.areas import is_area_believable, measure_mask
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError

BOX = (0.0, 0.0, 10.0, 10.0)
THIN = json.dumps([[0, 0, 10, 10, 9.9, 10]]).encode()
"""A sliver of half a pixel along the diagonal of ``BOX``."""


@pytest.mark.parametrize(
    ("area", "mask", "is_believed"),
    [
        (100, b"", True),
        (121, b"", True),
        (1, b"", True),
        (150, b"", False),
        (0.5, b"", False),
        (0.5, THIN, True),
        (0.1, THIN, False),
        (10_000, THIN, False),
    ],
)
def test_an_area_fits_its_box_or_its_mask(area: float, mask: bytes, is_believed: bool) -> None:
    assert is_area_believable(area, BOX, mask) == is_believed


def test_masks_are_measured_in_polygons_and_run_lengths() -> None:
    assert measure_mask(b"[[0, 0, 4, 0, 4, 3, 0, 3], [5, 5, 7, 5, 7, 7]]") == 14.0
    assert measure_mask(b'{"size": [2, 4], "counts": [1, 3, 2, 2]}') == 5.0
    assert measure_mask(b"") == 0.0


@pytest.mark.parametrize("factor", [100, 1 / 200])
def test_scaled_areas_are_counted_and_replaced_by_those_of_the_boxes(
    tmp_path: Path, factor: float
) -> None:
    document = coco({1: [("cat", 2, 2, 5, 4)], 2: [("cat", 2, 2, 6, 4)]})
    for record in document["annotations"]:
        record["area"] *= factor  # type: ignore[operator]
    write_coco(tmp_path, "train", document)
    data = coco_spec(tmp_path)
    index = open_split(data, "train")
    assert index.object_column("area").tolist() == [20.0, 24.0]
    assert count_faults(index, [1, 2])["area_unbelievable"] == 2
    assert [finding.kind for finding in check_split(data, "train")] == ["area_unbelievable"]


@pytest.mark.parametrize("name", ["1.png", "./1.png"])
def test_a_picture_under_two_ids_with_other_objects_is_refused(tmp_path: Path, name: str) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)], 2: [("dog", 9, 2, 5, 5)]})
    document["images"][1]["file_name"] = name
    write_coco(tmp_path, "train", document)
    with pytest.raises(DataError, match=r"1\.png under the ids 1 and 2"):
        check_split(coco_spec(tmp_path), "train")


def test_a_picture_under_two_ids_with_the_same_objects_is_a_note(tmp_path: Path) -> None:
    document = coco({1: [("cat", 2, 2, 5, 5)], 2: [("cat", 2, 2, 5, 5)], 3: [("dog", 2, 2, 5, 5)]})
    document["images"][1]["file_name"] = "1.png"
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, document)
        write_picture(tmp_path / split / "1.png", mark=split)
    findings = check_data(coco_spec(tmp_path, "train", "val", "test"), ["train", "val", "test"])[
        "train"
    ]
    (note,) = [one for one in findings if one.kind == "repeated_picture"]
    assert note.examples == ("train/1.png, listed twice",)


@pytest.mark.parametrize(
    ("shift", "sentence"),
    [
        (-1, "ids of annotations begin at 0, those of categories at 1"),
        (1, "ids of annotations end at 3, those of categories at 2"),
    ],
)
def test_categories_that_are_counted_from_another_number_are_named(
    tmp_path: Path, shift: int, sentence: str
) -> None:
    document = coco({1: [("cat", 2, 2, 5, 4)], 2: [("dog", 2, 2, 6, 4)]})
    for record in document["annotations"]:
        record["category_id"] += shift  # type: ignore[operator]
    write_coco(tmp_path, "train", document)
    findings = {one.kind: one for one in check_split(coco_spec(tmp_path), "train")}
    assert findings["unknown_category"].count == 1
    assert sentence in findings["unknown_category"].examples[0]
