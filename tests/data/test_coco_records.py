"""Records of a COCO file that share an id, or name none: which ones stay, and what is counted."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, coco_spec, write_coco, write_picture

from rethink_ray.data.check import check_split
from rethink_ray.data.faults import count_faults
from rethink_ray.data.sources.raw import id_from_name
from rethink_ray.data.sources.segmentations import read_segmentation
from rethink_ray.data.sources.values import read_key
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

CAT, DOG = ("cat", 2.0, 2.0, 5.0, 5.0), ("dog", 9.0, 3.0, 4.0, 4.0)


def _counted(data: DataSpec) -> dict[str, int]:
    return {finding.kind: finding.count for finding in check_split(data, "train")}


def _write(folder: Path, document: dict[str, Any]) -> DataSpec:
    for record in document["images"]:
        write_picture(folder / "train" / record["file_name"], value=len(str(record)))
    (folder / "train.json").write_text(json.dumps(document))
    return coco_spec(folder)


def test_each_object_of_an_image_that_is_not_listed_counts(tmp_path: Path) -> None:
    document = coco({1: [CAT], 2: [CAT, DOG, CAT]})
    del document["images"][1]
    write_coco(tmp_path, "train", document)
    data = coco_spec(tmp_path)
    assert _counted(data) == {"unknown_image": 3}
    assert count_faults(open_split(data, "train"), [1]) == {"unknown_image": 3}


def _listed_twice(folder: Path, first: list[Any], second: list[Any]) -> DataSpec:
    """One file name under one id, with these widths and heights."""
    document = coco({1: [CAT]})
    document["images"] *= 2
    sizes = [dict(zip(("width", "height"), sides, strict=True)) for sides in (first, second)]
    document["images"] = [r | s for r, s in zip(document["images"], sizes, strict=True)]
    return _write(folder, document)


@pytest.mark.parametrize("second", [[30, 10], [20, 30], [10, 20], ["30", None]])
def test_one_name_and_id_for_pictures_of_two_sizes_is_refused(
    second: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"id 1 for 1\.png \(20 x 10\) and for 1\.png \("):
        open_split(_listed_twice(tmp_path, [20, 10], second), "train")


@pytest.mark.parametrize("second", [[20, 10], ["20", 10.0], [None, None], [0, 10], ["?", 30]])
def test_one_name_and_id_is_one_picture_if_no_size_contradicts(
    second: list[Any], tmp_path: Path
) -> None:
    data = _listed_twice(tmp_path, [20, 10], second)
    assert _counted(data) == {"duplicate_id": 1}
    assert open_split(data, "train").entry(1).labels.tolist() == [1]


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("abb"))))
def test_the_order_of_records_of_one_id_does_not_decide_which_stay(
    order: tuple[str, ...], tmp_path: Path
) -> None:
    document = coco({1: [{"a": CAT, "b": DOG}[name] for name in order]})
    for record in document["annotations"]:
        record["id"] = 1
    data = _write(tmp_path, document)
    assert sorted(open_split(data, "train").entry(1).labels.tolist()) == [1, 2]
    assert _counted(data) == {"duplicate_id": 2}


def test_two_boxes_of_one_id_stay_where_their_numbers_have_one_hash(tmp_path: Path) -> None:
    boxes = [("cat", -1.0, 2.0, 6.0, 5.0), ("cat", -2.0, 2.0, 7.0, 5.0)]
    document = coco({1: boxes})
    for record in document["annotations"]:
        record |= {"id": 1, "area": 25}
    assert len(open_split(_write(tmp_path, document), "train").entry(1).labels) == 2


@pytest.mark.parametrize("kind", [float, str])
def test_run_lengths_may_exceed_the_sides_of_any_picture(kind: type) -> None:
    whole = {"size": [500, 400], "counts": [100_001, 5, 99_994]}
    read = read_segmentation(whole | {"counts": [kind(run) for run in whole["counts"]]})
    assert json.loads(read.text) == whole
    assert read_segmentation(whole | {"counts": [1e300, 5.0]}).is_unreadable
    assert read_segmentation(whole | {"counts": [100_001.5, 99_998.5]}).is_unreadable


def test_ids_with_leading_zeros_are_names(tmp_path: Path) -> None:
    document = coco({1: [CAT], 2: [DOG, DOG[:1] + CAT[1:]]}, {1: "cat", 2: "dog"})
    names = {1: "007", 2: "7"}
    for record in (*document["images"], *document["categories"]):
        record["id"] = names[int(record["id"])]
    for record in document["annotations"]:
        record |= {key: names[int(record[key])] for key in ("image_id", "category_id")}
    data = _write(tmp_path, document)
    index = open_split(data, "train")
    assert len(index.entry(id_from_name("007")).labels) == 1
    assert len(index.entry(7).labels) == 2
    assert _counted(data) == {}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        *(("7", 7), ("7.0", 7), (" 7 ", 7), ("-7", -7), ("0", 0), (7.0, 7)),
        *(("007", "007"), ("-07", "-07"), ("00", "00"), ("-0", "-0"), ("07.0", "07.0")),
    ],
)
def test_a_text_is_a_whole_number_if_it_is_written_as_one(value: object, key: object) -> None:
    assert read_key(value) == key
