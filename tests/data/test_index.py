import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from data_files import coco, coco_spec, many_images, write_coco, write_picture

from rethink_ray.data.splits import build_index, open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec


def test_an_entry_holds_its_boxes_as_corners_and_counts_labels_from_one(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({7: [("dog", 1, 2, 3, 4)]}))
    index = open_split(coco_spec(tmp_path), "train")
    entry = index.entry(7)
    assert index.categories == ("cat", "dog")
    assert entry.boxes_xyxy.tolist() == [[1, 2, 4, 6]]
    assert entry.labels.tolist() == [2]
    assert entry.area.tolist() == [12]
    assert (entry.width, entry.height) == (20, 10)
    assert entry.path == str(tmp_path / "train" / "7.png")


def test_an_image_without_objects_has_empty_arrays(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [], 2: [("cat", 0, 0, 5, 5)], 3: []}))
    index = open_split(coco_spec(tmp_path), "train")
    assert index.image_ids.tolist() == [1, 2, 3]
    assert index.entry(3).boxes_xyxy.shape == (0, 4)
    assert index.entry(2).boxes_xyxy.shape == (1, 4)


def test_the_order_of_the_file_reaches_neither_fingerprint_nor_entries(tmp_path: Path) -> None:
    told = coco({1: [("cat", 0, 0, 5, 5), ("dog", 3, 3, 4, 4)], 2: [("cat", 1, 1, 2, 2)]})
    write_coco(tmp_path / "a", "train", told)
    turned = {key: rows[::-1] for key, rows in told.items()}
    write_coco(tmp_path / "b", "train", turned)
    first = open_split(coco_spec(tmp_path / "a"), "train")
    second = open_split(coco_spec(tmp_path / "b"), "train")
    assert first.fingerprint == second.fingerprint
    assert np.array_equal(first.entry(1).boxes_xyxy, second.entry(1).boxes_xyxy)


def test_a_moved_box_changes_the_fingerprint(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [("cat", 0, 0, 5, 5)]}))
    before = open_split(coco_spec(tmp_path), "train").fingerprint
    write_coco(tmp_path, "train", coco({1: [("cat", 1, 0, 5, 5)]}))
    assert open_split(coco_spec(tmp_path), "train").fingerprint != before


def test_an_index_pickles_as_its_path(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(50)))
    index = open_split(coco_spec(tmp_path), "train")
    sent = pickle.dumps(index)
    assert len(sent) < 400
    again = pickle.loads(sent)
    assert again.fingerprint == index.fingerprint
    assert again.entry(50).boxes_xyxy.tolist() == index.entry(50).boxes_xyxy.tolist()


def _fingerprint(data: DataSpec) -> str:
    return open_split(data, "train").fingerprint


def test_two_processes_may_build_one_index_at_once(tmp_path: Path, own_cache: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(30)))
    data = coco_spec(tmp_path)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        found = list(pool.map(_fingerprint, [data] * 8))
    assert len(set(found)) == 1
    assert found[0] == open_split(data, "train").fingerprint
    built = list((own_cache / "index").iterdir())
    assert len(built) == 1
    assert sorted(path.name for path in built[0].iterdir()) == ["images.arrow", "objects.arrow"]


def test_labels_of_val_follow_the_names_of_train(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [("cat", 0, 0, 5, 5)]}, {1: "cat", 2: "dog"}))
    write_coco(tmp_path, "val", coco({9: [("dog", 0, 0, 5, 5)]}, {1: "dog", 2: "cat"}))
    val = open_split(coco_spec(tmp_path, "train", "val"), "val")
    assert val.categories == ("cat", "dog")
    assert val.entry(9).labels.tolist() == [2]


def test_an_image_that_cannot_be_read_is_left_out_until_it_can(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(3)))
    (tmp_path / "train" / "2.png").unlink()
    data = coco_spec(tmp_path)
    index = open_split(data, "train")
    assert index.image_ids.tolist() == [1, 3]
    assert index.dropped == {"missing_image": 1}
    write_picture(tmp_path / "train" / "2.png")
    assert open_split(data, "train").image_ids.tolist() == [1, 2, 3]
    assert index.entry(3).boxes_xyxy.tolist() == [[3, 2, 7, 6]]  # the old mapping still stands


def test_building_anew_gives_the_same_index(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(5)))
    data = coco_spec(tmp_path)
    assert open_split(data, "train").fingerprint == build_index(data, "train").fingerprint


def test_masks_and_keypoints_can_be_reached(tmp_path: Path) -> None:
    told = coco({1: [("cat", 0, 0, 4, 4)]})
    told["annotations"][0]["segmentation"] = [[0, 0, 4, 0, 4, 4]]
    told["annotations"][0]["keypoints"] = [1, 2, 2, 3, 4, 1]
    write_coco(tmp_path, "train", told)
    index = open_split(coco_spec(tmp_path), "train")
    assert index.segmentations(1) == [[[0, 0, 4, 0, 4, 4]]]
    points = index.keypoints(1)
    assert points is not None
    assert points.tolist() == [[[1, 2, 2], [3, 4, 1]]]


def test_objects_without_mask_or_keypoints_stand_in_with_their_box_and_zeros(
    tmp_path: Path,
) -> None:
    told = coco({1: [("cat", 0, 0, 4, 4), ("dog", 10, 2, 3, 5)]})
    told["annotations"][0]["segmentation"] = [[0, 0, 4, 0, 4, 4, 0, 4], [5, 5, 6, 5, 6, 6, 5, 6]]
    told["annotations"][0]["keypoints"] = [1, 2, 2, 3, 4, 1]
    write_coco(tmp_path, "train", told)
    index = open_split(coco_spec(tmp_path), "train")
    masks = index.masks(1)
    assert masks.shape == (2, 10, 20)
    assert [int(mask.sum()) for mask in masks] == [17, 15]
    assert masks[1, 2:7, 10:13].all()
    points = index.keypoints(1)
    assert points is not None
    assert points.tolist() == [[[1, 2, 2], [3, 4, 1]], [[0, 0, 0], [0, 0, 0]]]
    assert index.keypoint_names == ("0", "1")


def test_categories_that_name_other_keypoints_have_none_in_common(tmp_path: Path) -> None:
    told = coco({1: [("cat", 0, 0, 4, 4)]})
    told["annotations"][0]["keypoints"] = [1, 2, 2]
    told["categories"][0]["keypoints"] = ["nose"]
    write_coco(tmp_path / "one", "train", told)
    assert open_split(coco_spec(tmp_path / "one"), "train").keypoint_names == ("nose",)
    told["categories"][1]["keypoints"] = ["tail"]
    write_coco(tmp_path / "two", "train", told)
    assert open_split(coco_spec(tmp_path / "two"), "train").keypoint_names == ()


def test_a_data_set_without_one_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train.json").write_text(json.dumps(coco(many_images(2))))
    with pytest.raises(
        DataError, match=r"at least one image.*none of 2, left out: 2 images: missing_image"
    ):
        open_split(coco_spec(tmp_path), "train")


def test_asking_for_an_unknown_image_names_it(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    with pytest.raises(DataError, match="77"):
        open_split(coco_spec(tmp_path), "train").entry(77)


def test_a_damaged_index_says_what_to_do(tmp_path: Path, own_cache: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    data = coco_spec(tmp_path)
    open_split(data, "train")
    for path in own_cache.glob("index/*/images.arrow"):
        path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="Delete that folder"):
        open_split(data, "train")


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    with pytest.raises(DataError, match=r"\(train\), but got 'test'"):
        open_split(coco_spec(tmp_path), "test")
    with pytest.raises(DataError, match=r"\(train, val\), but got 'test'"):
        open_split(DataSpec(dataset="coco", root=str(tmp_path)), "test")


def test_files_of_two_builds_are_not_mixed(tmp_path: Path, own_cache: Path) -> None:
    objects = {}
    for split, count in (("train", 2), ("val", 3)):
        write_coco(tmp_path, split, coco(many_images(count)))
    data = coco_spec(tmp_path, "train", "val")
    for split in ("train", "val"):
        objects[split] = open_split(data, split).directory / "objects.arrow"
    objects["val"].replace(objects["train"])
    with pytest.raises(DataError, match="two different builds"):
        open_split(data, "train")
