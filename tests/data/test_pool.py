import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rethink_ray.data.pool import LabelPool, TeacherLabels, open_labelled, open_pool
from rethink_ray.data.regimes import regime_image_ids
from rethink_ray.data.shapes import shapes_folder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, UnlabelledSpec

NOTHING = TeacherLabels(
    boxes_xyxy=np.zeros((0, 4), np.float32),
    labels=np.zeros(0, np.int64),
    scores=np.zeros(0, np.float32),
)
TWO = TeacherLabels(
    boxes_xyxy=np.array([[1.5, 2.0, 20.0, 30.0], [4.0, 4.0, 10.0, 12.0]], np.float32),
    labels=np.array([3, 1]),
    scores=np.array([0.9, 0.6], np.float32),
)


def paths(pool: LabelPool) -> list[Path]:
    return [Path(pool.index.entry(image_id).path) for image_id in pool.image_ids]


def test_the_built_in_pool_has_pictures_and_no_labels(shapes: DataSpec) -> None:
    pool = open_pool(shapes, "all", "unlabelled")
    assert len(paths(pool)) == 4
    assert pool.index.categories == open_split(shapes, "train").categories
    assert all(len(pool.index.entry(image_id).labels) == 0 for image_id in pool.image_ids)


def test_the_rest_is_what_neither_the_regime_nor_the_holdout_holds(shapes: DataSpec) -> None:
    data = shapes.model_copy(update={"select_on": HoldoutSpec(holdout=8)})
    pool = open_pool(data, 10, "rest")
    used = {*regime_image_ids(data, 10)}
    held_out = {int(i) for i in open_split(data, "holdout").image_ids}
    assert len(pool.image_ids) == 48 - 8 - 10
    assert not {*pool.image_ids} & (used | held_out)
    with pytest.raises(DataError, match="must leave images for the teacher"):
        open_pool(data, "all", "rest")


def test_the_rest_of_another_draw_holds_none_of_its_images(shapes: DataSpec) -> None:
    pool = open_pool(shapes, 10, "rest", draw=2)
    assert {*pool.image_ids} == set(range(1, 49)) - {*regime_image_ids(shapes, 10, 2)}


def test_a_picture_of_a_scoring_split_is_left_out_under_any_name(
    shapes: DataSpec, tmp_path: Path
) -> None:
    folder = shapes_folder(shapes.shapes, shapes.root)
    shutil.copytree(folder / "unlabelled", tmp_path / "mine" / "deep")
    shutil.copy(folder / "test" / "000003.png", tmp_path / "mine" / "holiday.png")
    shutil.copy(folder / "val" / "000001.png", tmp_path / "mine" / "deep" / "a.png")
    data = shapes.model_copy(
        update={"unlabelled": UnlabelledSpec(images=str(tmp_path / "mine")), "report_on": "test"}
    )
    pool = open_pool(data, "all", "unlabelled")
    assert sorted(path.name for path in paths(pool)) == [f"00000{i}.png" for i in range(1, 5)]
    assert pool.num_scored == 2


def test_a_list_says_which_images_of_a_folder_and_its_boxes_are_not_read(
    shapes: DataSpec, tmp_path: Path
) -> None:
    folder = shapes_folder(shapes.shapes, shapes.root)
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"images": [{"id": 9, "file_name": "000002.png"}]}))
    asked = UnlabelledSpec(images=str(folder / "unlabelled"), annotations=str(listed))
    data = shapes.model_copy(update={"unlabelled": asked})
    assert [path.name for path in paths(open_pool(data, "all", "unlabelled"))] == ["000002.png"]
    listed.write_text("{}")
    with pytest.raises(DataError, match="'file_name'"):
        open_pool(data, "all", "unlabelled")


def test_a_study_without_a_pool_says_how_to_name_one(shapes: DataSpec) -> None:
    none = shapes.shapes.model_copy(update={"unlabelled": 0})
    with pytest.raises(DataError, match=r"data\.unlabelled: \{images: FOLDER\}"):
        open_pool(shapes.model_copy(update={"shapes": none}), "all", "unlabelled")


def test_what_a_teacher_found_are_labels_like_any(shapes: DataSpec) -> None:
    pool = open_pool(shapes, "all", "unlabelled")
    found = dict.fromkeys(pool.image_ids, NOTHING) | {pool.image_ids[2]: TWO}
    split = open_labelled(pool, found, keep_empty=False)
    assert list(split.image_ids) == [pool.image_ids[2]]
    entry = split.entry(pool.image_ids[2])
    assert entry.path == pool.index.entry(pool.image_ids[2]).path
    assert entry.labels.tolist() == [1, 3]
    assert entry.boxes_xyxy[1].tolist() == [1.5, 2.0, 20.0, 30.0]
    assert entry.area.tolist() == [48.0, 18.5 * 28]
    assert len(open_labelled(pool, found, keep_empty=True)) == 4
