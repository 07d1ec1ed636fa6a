import json
from pathlib import Path
from typing import Any

import pytest
from data_files import coco, write_picture

from rethink_ray.data.check import check_split
from rethink_ray.data.faults import select_trainable
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, HoldoutSpec


@pytest.fixture
def lvis(tmp_path: Path) -> DataSpec:
    """1: a cat, no dog although looked for; 2: some of its dogs, cats not looked for."""

    told: dict[str, Any] = coco({1: [("cat", 2, 2, 4, 4)], 2: [("dog", 1, 1, 6, 6)]})
    for record, absent, partly in zip(told["images"], ([2], []), ([], [2]), strict=True):
        del record["file_name"]
        record["coco_url"] = f"http://somewhere/train2017/{record['id']}.png"
        record["neg_category_ids"], record["not_exhaustive_category_ids"] = absent, partly
        write_picture(tmp_path / "train2017" / f"{record['id']}.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "lvis_v1_train.json").write_text(json.dumps(told))
    return DataSpec(dataset="lvis", root=str(tmp_path), select_on=HoldoutSpec(holdout=1))


def test_an_image_says_which_categories_were_looked_for(lvis: DataSpec) -> None:
    index = open_split(lvis, "train")
    assert [index.entry(key).verified for key in (1, 2)] == [(1, 2), (2,)]


def test_other_categories_that_were_looked_for_are_other_data(lvis: DataSpec) -> None:
    """They decide which detections count as wrong."""
    file = Path(str(lvis.root)) / "annotations" / "lvis_v1_train.json"
    told = json.loads(file.read_text())
    prints = []
    for absent in ([2], [2, 1], [], None):
        told["images"][0]["neg_category_ids"] = absent
        file.write_text(json.dumps(told))
        prints.append(open_split(lvis, "train").fingerprint)
    first, same, *others = prints
    assert first == same  # a category that is marked was looked for
    assert len({first, *others}) == 3


def test_a_category_marked_in_part_is_a_crowd_over_the_image(lvis: DataSpec) -> None:
    entry = open_split(lvis, "train").entry(2)
    assert sorted(zip(entry.is_crowd.tolist(), entry.boxes_xyxy.tolist(), strict=True)) == [
        (False, [1, 1, 7, 7]),
        (True, [0, 0, 20, 10]),
    ]
    assert select_trainable(entry).boxes_xyxy.tolist() == [[1, 1, 7, 7]]


def test_files_are_found_by_their_address(lvis: DataSpec) -> None:
    assert {found.kind for found in check_split(lvis, "train")} == {"crowd"}


def test_a_folder_without_lvis_is_told_what_it_needs(lvis: DataSpec) -> None:
    with pytest.raises(DataError, match=r"must hold annotations/lvis_v1_val\.json beside COCO"):
        open_split(lvis, "val")
