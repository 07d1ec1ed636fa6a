"""``data.keep_empty``: which training images have nothing to learn from."""

from pathlib import Path
from typing import Any

import pytest
from data_files import coco, coco_spec, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.check import check_data
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.regimes import holdout_image_ids, regime_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError, SpecError
from rethink_ray.spec.facts import left_out_words
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec
from tests.builders import micro_trial

CAT = ("cat", 2.0, 2.0, 5.0, 5.0)


def drop_empty(data: DataSpec, **more: object) -> DataSpec:
    return data.model_copy(update={"keep_empty": False, **more})


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    """Ten images to train on. Images 1 to 6 have a cat; 7 has no box, 8 a crowd, 9 a box of one
    pixel, 10 an object of an unknown category."""
    boxes = {key: [CAT] for key in range(1, 7)}
    train = coco({**boxes, 7: [], 8: [CAT], 9: [("cat", 4, 4, 1, 5)], 10: [("ghost", 2, 2, 5, 5)]})
    train["annotations"][6]["iscrowd"] = 1
    write_coco(tmp_path, "train", train)
    write_coco(tmp_path, "val", coco({1: [CAT], 2: []}))
    write_coco(tmp_path, "test", coco({1: [CAT], 2: [], 3: []}))
    return coco_spec(tmp_path, "train", "val", "test")


def test_empty_images_stay_unless_a_study_leaves_them_out(data: DataSpec) -> None:
    assert regime_image_ids(data, "all") != regime_image_ids(drop_empty(data), "all")
    assert sorted(regime_image_ids(data, "all")) == [*range(1, 11)]
    assert sorted(regime_image_ids(drop_empty(data), "all")) == [1, 2, 3, 4, 5, 6]


def test_images_that_score_are_never_left_out(data: DataSpec) -> None:
    for split in ("val", "test"):
        assert len(open_split(drop_empty(data), split)) == len(open_split(data, split))


def test_empty_images_go_before_a_hold_out_is_cut_and_regimes_are_drawn(data: DataSpec) -> None:
    held = drop_empty(data, select_on=HoldoutSpec(holdout=2))
    assert len(holdout_image_ids(held)) == 2
    assert {*holdout_image_ids(held), *regime_image_ids(held, "all")} == {1, 2, 3, 4, 5, 6}
    assert len(regime_image_ids(drop_empty(data), "50%")) == 3
    order = [key for key in regime_image_ids(data, "all") if key <= 6]
    assert list(regime_image_ids(drop_empty(data), 4)) == order[:4]
    with pytest.raises(DataError, match=r"at most the 6 .*keep_empty: false"):
        regime_image_ids(drop_empty(data), 7)


def test_images_that_are_left_out_are_counted_in_the_record(data: DataSpec) -> None:
    facts = gather_facts(drop_empty(data), {"full": RegimeSpec(images="all")})
    assert facts.num_empty == 4
    assert facts.split_sizes == {"train": 6, "val": 2, "test": 3}
    assert facts.regime_sizes == {"full": 6}
    assert left_out_words(facts).startswith("4 of train left out: without an object")
    assert left_out_words(gather_facts(data, {})) == ""
    notes = {note.kind: note for note in check_data(drop_empty(data), ["train"])["train"]}
    assert notes["dropped_empty"].count == 4
    assert notes["dropped_empty"].examples == ("train/7.png", "train/8.png", "train/9.png")
    assert not notes["dropped_empty"].is_fault
    assert "dropped_empty" not in {note.kind for note in check_data(data, ["train"])["train"]}


def test_an_empty_duplicate_is_counted_once(data: DataSpec, tmp_path: Path) -> None:
    """7 (empty) and 1 are in val, too."""
    for key, twin in ((1, 1), (7, 2)):
        picture = (tmp_path / "val" / f"{twin}.png").read_bytes()
        (tmp_path / "train" / f"{key}.png").write_bytes(picture)
    facts = gather_facts(drop_empty(data, duplicates="drop"), {})
    assert facts.num_dropped == {"train": 2}
    assert facts.num_empty == 3
    assert facts.split_sizes["train"] == 10 - 2 - 3
    assert left_out_words(facts).count("left out") == 2
    notes = {
        note.kind: note.count
        for note in check_data(drop_empty(data, duplicates="drop"), ["train"])["train"]
    }
    assert (notes["dropped_duplicate"], notes["dropped_empty"]) == (2, 3)
    refused = {note.kind: note.count for note in check_data(drop_empty(data), ["train"])["train"]}
    assert refused["picture_in_two_splits"] == 1, "run refuses the study for picture 1 alone"


def test_trials_on_fewer_images_have_ids_of_their_own(data: DataSpec, tmp_path: Path) -> None:
    assert micro_trial(data=drop_empty(data)).trial_id != micro_trial(data=data).trial_id
    write_coco(tmp_path, "train", coco({key: [CAT] for key in range(1, 7)}))
    assert micro_trial(data=drop_empty(data)).trial_id == micro_trial(data=data).trial_id


def test_a_difficult_object_alone_leaves_a_voc_image_empty(tmp_path: Path) -> None:
    box = [("cat", 2, 2, 9, 9)]
    files = {"a": voc_xml("a.jpg", box), "b": voc_xml("b.jpg", box, difficult=1)}
    write_voc(tmp_path, files, {"train": "ab", "test": "ab", "val": "a"})
    voc = DataSpec(dataset="voc", root=str(tmp_path), keep_empty=False)
    assert [Path(open_split(voc, "train").entry(i).path).stem for i in _ids(voc)] == ["a"]
    assert len(open_split(voc, "test")) == 2


def _ids(data: DataSpec) -> list[int]:
    return [int(image_id) for image_id in open_split(data, "train").image_ids]


def test_a_data_set_without_any_object_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [], 2: []}))
    with pytest.raises(DataError, match="split train: must hold an image with an object"):
        open_split(drop_empty(coco_spec(tmp_path)), "train")


# keypoints


@pytest.fixture
def poses(tmp_path: Path) -> DataSpec:
    """Objects with two keypoints: both visible in image 1, one covered in 2, none in 3; in 4 a
    crowd's; in 5 an object without the field; 6 has no object."""
    train: dict[str, list[dict[str, Any]]] = coco({**{key: [CAT] for key in range(1, 6)}, 6: []})
    seen = {1: (2, 2), 2: (1, 0), 3: (0, 0), 4: (2, 2)}
    for annotation in train["annotations"]:
        key = annotation["image_id"]
        if key in seen:
            annotation["keypoints"] = [3, 3, seen[key][0], 5, 5, seen[key][1]]
        annotation["iscrowd"] = int(key == 4)
    for category in train["categories"]:
        category["keypoints"] = ["head", "tail"]
    write_coco(tmp_path, "train", train)
    return coco_spec(tmp_path)


@pytest.mark.parametrize(
    ("min_keypoints", "kept"), [(None, [1, 2]), (0, [1, 2, 3, 5]), (1, [1, 2]), (2, [1])]
)
def test_images_without_a_visible_keypoint_go_where_annotations_have_keypoints(
    poses: DataSpec, min_keypoints: int | None, kept: list[int]
) -> None:
    assert _ids(poses) == [1, 2, 3, 4, 5, 6]
    assert _ids(drop_empty(poses, min_keypoints=min_keypoints)) == kept


def test_keypoints_of_all_objects_of_an_image_are_counted_together(tmp_path: Path) -> None:
    train: dict[str, list[dict[str, Any]]] = coco({1: [CAT, CAT], 2: [CAT]})
    for annotation in train["annotations"]:
        annotation["keypoints"] = [3, 3, 2, 5, 5, 0]
    write_coco(tmp_path, "train", train)
    assert _ids(drop_empty(coco_spec(tmp_path), min_keypoints=2)) == [1]


def test_a_number_of_keypoints_needs_empty_images_to_go() -> None:
    with pytest.raises(SpecError, match="data.min_keypoints: must be left out where empty"):
        validate(DataSpec, {"dataset": "shapes", "min_keypoints": 1}, "data")
    given = {"dataset": "shapes", "keep_empty": False, "min_keypoints": 1}
    assert validate(DataSpec, given, "data").min_keypoints == 1


def test_a_number_of_keypoints_is_refused_where_annotations_have_boxes_alone(
    data: DataSpec,
) -> None:
    with pytest.raises(DataError) as refused:
        open_split(drop_empty(data, min_keypoints=3), "train")
    assert str(refused.value) == (
        "data.min_keypoints: must be left out, or 0, where training annotations have no "
        "keypoints, but got 3."
    )
    assert _ids(drop_empty(data, min_keypoints=0)) == _ids(drop_empty(data))


def test_a_picture_that_cannot_be_read_is_no_empty_image(data: DataSpec, tmp_path: Path) -> None:
    (tmp_path / "train" / "7.png").write_text("no picture")
    assert gather_facts(drop_empty(data), {}).num_empty == 3
    write_picture(tmp_path / "train" / "7.png", value=7, mark="train")
    assert gather_facts(drop_empty(data), {}).num_empty == 4
