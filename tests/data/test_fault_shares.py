"""What share of its images and boxes a regime or split loses, by numbers of a pencil."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from data_files import Box, coco, coco_spec, many_images, write_coco, write_picture

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.fault_shares import count_split_faults, measure_faults
from rethink_ray.data.regimes import regime_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.protocol.same_facts import require_same_facts
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.session import start_study
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.met_faults import list_met_faults
from rethink_ray.spec.regime import DataSpec, RegimeSpec, UnlabelledSpec
from tests.records.small_records import small_study

WITHOUT_PIXELS: Box = ("cat", 25, 2, 4, 4)
"""Pictures are 20 pixels wide."""
FULL = {"full": RegimeSpec(images="all")}


def ten_boxes(num_bad: int) -> dict[int, Sequence[Box]]:
    """Ten images with a box each; the boxes of the last ``num_bad`` lie outside their picture."""
    good: Mapping[int, Sequence[Box]] = many_images(10 - num_bad)
    return {**good, **{key: [WITHOUT_PIXELS] for key in range(11 - num_bad, 11)}}


@pytest.fixture
def lossy(tmp_path: Path) -> DataSpec:
    """Three of ten boxes of train have no pixels; val and test are whole."""
    write_coco(tmp_path, "train", coco(ten_boxes(3)))
    for split in ("val", "test"):
        write_coco(tmp_path, split, coco(many_images(5)))
    return coco_spec(tmp_path, "train", "val", "test")


def test_three_of_ten_boxes_without_pixels_are_30_percent_of_train(lossy: DataSpec) -> None:
    facts = gather_facts(lossy, FULL)
    assert facts.split_faults == {"train": {"box_degenerate": FaultShare(count=3, total=10)}}
    (met,) = list_met_faults(facts)
    assert met.sentence.startswith("30 % of the boxes of train were dropped (3 of 10): they have")


def test_a_picture_that_a_pool_lost_is_counted_with_the_splits(
    lossy: DataSpec, tmp_path: Path
) -> None:
    for number in range(4):
        write_picture(tmp_path / "pool" / f"{number}.png", value=number)
    (tmp_path / "pool" / "3.png").write_bytes(b"")
    data = lossy.model_copy(update={"unlabelled": UnlabelledSpec(images=str(tmp_path / "pool"))})
    facts = gather_facts(data, FULL)
    lost = {"unreadable_image": FaultShare(count=1, total=4)}
    assert facts.split_faults["unlabelled"] == lost
    assert (
        list_met_faults(facts)[-1].summary
        == "1 of 4 images of unlabelled were left out (unreadable_image)"
    )


def test_an_object_without_an_image_is_counted_among_boxes_and_an_image_among_images(
    tmp_path: Path,
) -> None:
    document = coco(many_images(4))
    write_coco(tmp_path, "train", document)
    document["annotations"][0]["image_id"] = None
    document["images"].append({"id": None, "file_name": "x.png"})
    (tmp_path / "train.json").write_text(json.dumps(document))
    index = open_split(coco_spec(tmp_path), "train")
    assert measure_faults(index, index.image_ids.tolist()) == {
        "unreadable_object": FaultShare(count=1, total=4),
        "unreadable_annotation": FaultShare(count=1, total=5),
    }


def test_a_regime_counts_the_boxes_of_its_own_images(lossy: DataSpec) -> None:
    facts = gather_facts(lossy, FULL | {"small": RegimeSpec(images=5)})
    index = open_split(lossy, "train")
    assert measure_faults(index, [1, 2, 7, 8]) == {
        "box_degenerate": FaultShare(count=1, total=4)  # image 8
    }
    assert measure_faults(index, [1, 2]) == {}
    assert facts.regime_faults["full"]["box_degenerate"] == FaultShare(count=3, total=10)
    num_bad = sum(image_id > 7 for image_id in regime_image_ids(lossy, 5))
    assert num_bad
    assert facts.regime_faults["small"]["box_degenerate"] == FaultShare(count=num_bad, total=5)


def test_crowds_are_no_fault_but_are_boxes_among_which_faults_are_counted(tmp_path: Path) -> None:
    boxes = {**ten_boxes(2), 11: [("cat", 0, 0, 9, 9)], 12: [WITHOUT_PIXELS]}
    tree = coco(boxes)
    for record in tree["annotations"][10:]:
        record["iscrowd"] = 1
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, tree)
    data = coco_spec(tmp_path, "train", "val", "test")
    a_quarter = {"box_degenerate": FaultShare(count=3, total=12)}
    facts = gather_facts(data, FULL)
    assert facts.split_faults == dict.fromkeys(("train", "val", "test"), a_quarter)
    assert count_split_faults(data, "val") == {"box_degenerate": 3}


def test_images_that_were_left_out_are_counted_among_all_that_are_listed(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(10)))
    for name in ("2", "3"):
        (tmp_path / "val" / f"{name}.png").unlink()
    write_picture(tmp_path / "val" / "4.png", 30, 30)
    (tmp_path / "val" / "5.png").write_text("no picture")
    (tmp_path / "train" / "1.png").write_text("no picture")
    facts = gather_facts(coco_spec(tmp_path, "train", "val", "test"), FULL)
    assert facts.split_faults["val"] == {
        "missing_image": FaultShare(count=2, total=10),
        "unreadable_image": FaultShare(count=1, total=10),
        "size_disagrees": FaultShare(count=1, total=7),
    }
    unreadable = {"unreadable_image": FaultShare(count=1, total=10)}
    assert facts.split_faults["train"] == facts.regime_faults["full"] == unreadable


def test_objects_that_name_no_image_are_counted_among_all_objects(tmp_path: Path) -> None:
    tree = coco(many_images(10))
    tree["annotations"].append({**tree["annotations"][0], "id": 50, "image_id": 1234})
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, tree)
    facts = gather_facts(coco_spec(tmp_path, "train", "val", "test"), FULL)
    assert facts.split_faults["val"] == {"unknown_image": FaultShare(count=1, total=11)}


def test_masks_and_keypoints_are_counted_among_the_objects_that_have_some(tmp_path: Path) -> None:
    """Of 40 boxes ten have a mask and eight keypoints; of each, every second one is broken."""
    document = coco(many_images(40))
    document["categories"][0]["keypoints"] = ["nose"]
    for number, record in enumerate(document["annotations"]):
        is_whole = number % 2
        if number < 10:
            record["segmentation"] = [[2, 2, 6, 2, 6, 6]] if is_whole else [[2, 2]]
        elif number < 18:
            record["keypoints"] = [5, 5, 2] if is_whole else [[1, 1], "x"][number % 4 // 2]
        elif number < 30:
            record["keypoints"] = [0, 0, 0]
    write_coco(tmp_path, "train", document)
    index = open_split(coco_spec(tmp_path), "train")
    half = measure_faults(index, index.image_ids.tolist())
    assert half.pop("missing_masks") == FaultShare(count=30, total=40)
    assert half.pop("mask_off_box") == FaultShare(count=4, total=10)
    assert half == {
        "unreadable_masks": FaultShare(count=5, total=10),
        "unreadable_keypoints": FaultShare(count=4, total=8),
    }
    assert measure_faults(index, [1, 2, 3, 40])["unreadable_masks"].percent == "67 %"


def test_a_mask_that_lost_a_piece_is_counted_among_masks(tmp_path: Path) -> None:
    document = coco(many_images(8))
    for record in document["annotations"][:4]:
        record["segmentation"] = [[2, 2, 6, 2, 6, 6], *([[2, 2]] * (record["id"] == 1))]
    write_coco(tmp_path, "train", document)
    index = open_split(coco_spec(tmp_path), "train")
    faults = measure_faults(index, index.image_ids.tolist())
    assert faults["mask_piece_left_out"] == FaultShare(count=1, total=4)


def test_a_hold_out_has_no_share_in_what_train_lost_before_it_was_cut(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_coco(tmp_path, split, coco(many_images(12)))
    (tmp_path / "train" / "1.png").unlink()
    data = coco_spec(tmp_path, "train", "test", holdout=5)
    facts = gather_facts(data, FULL)
    assert facts.split_faults == {"train": {"missing_image": FaultShare(count=1, total=12)}}
    assert count_split_faults(data, "holdout") == {}


def test_facts_with_faults_are_read_back_as_they_were_written(
    lossy: DataSpec, tmp_path: Path
) -> None:
    facts = gather_facts(lossy, FULL)
    directory = start_study(tmp_path / "study", small_study(), "study: small\n", facts)
    assert StudyDirectory.open(directory.root).facts.split_faults == facts.split_faults
    assert StudyDirectory.open(directory.root).facts.regime_faults == facts.regime_faults


def test_a_study_of_a_version_that_counted_no_faults_continues(lossy: DataSpec) -> None:
    measured = gather_facts(lossy, FULL)
    recorded: DataFacts = measured.without_faults
    assert (recorded.split_faults, recorded.regime_faults) == ({}, {})
    require_same_facts(recorded, measured)


def test_a_study_on_other_boxes_does_not_continue(lossy: DataSpec, tmp_path: Path) -> None:
    recorded = gather_facts(lossy, FULL)
    write_coco(tmp_path, "train", coco(ten_boxes(2)))
    with pytest.raises(DataError, match="must be what the study was started on"):
        require_same_facts(recorded, gather_facts(lossy, FULL))
