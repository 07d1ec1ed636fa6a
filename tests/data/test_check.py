import json
import shutil
from pathlib import Path

import pytest
from data_files import (
    Box,
    coco,
    coco_spec,
    many_images,
    spoil_pixels,
    voc_xml,
    write_coco,
    write_picture,
    write_voc,
)

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.check import check_data, check_split, find_refusal
from rethink_ray.data.faults import count_faults
from rethink_ray.data.loader import Loading, train_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec, RegimeSpec


def _found(data: DataSpec, split: str = "train") -> dict[str, int]:
    return {finding.kind: finding.count for finding in check_split(data, split)}


@pytest.fixture
def faulty(tmp_path: Path) -> DataSpec:
    """Ten COCO images with one fault of every kind, and two good boxes."""
    told = coco(
        {
            1: [("cat", 2, 2, 5, 5)],
            2: [("cat", 15, 2, 9, 5)],  # reaches x = 24 in an image of 20
            3: [("cat", 4, 4, 1, 5)],  # one pixel wide
            4: [("ghost", 2, 2, 5, 5)],  # category 99 does not exist
            5: [],
            6: [("cat", 2, 2, 5, 5)],  # crowd, below
            7: [("cat", 2, 2, 5, 5)],  # file missing
            8: [("cat", 2, 2, 5, 5)],  # file is no picture
            9: [("cat", 2, 2, 5, 5)],  # file has another size
            10: [("cat", 2, 2, 5, 5)],  # file is cut off
        }
    )
    told["annotations"][5 - 1]["iscrowd"] = 1
    told["images"].append(dict(told["images"][0]))
    told["annotations"].append({**told["annotations"][0], "id": 50, "image_id": 1234})
    write_coco(tmp_path, "train", told)
    pictures = tmp_path / "train"
    (pictures / "7.png").unlink()
    (pictures / "8.png").write_text("no picture")
    write_picture(pictures / "9.png", 30, 30)
    whole = (pictures / "10.png").read_bytes()
    (pictures / "10.png").write_bytes(whole[: len(whole) - 30])
    return coco_spec(tmp_path)


def test_every_kind_of_fault_is_found(faulty: DataSpec) -> None:
    assert _found(faulty) == {
        "box_degenerate": 1,
        "box_outside": 1,
        "crowd": 1,
        "duplicate_id": 1,
        "empty_image": 1,
        "missing_image": 1,
        "size_disagrees": 1,
        "unknown_category": 1,
        "unknown_image": 1,
        "unreadable_image": 2,
    }


def test_a_finding_shows_where_to_look(faulty: DataSpec) -> None:
    found = {finding.kind: finding for finding in check_split(faulty, "train")}
    assert found["missing_image"].examples == ("train/7.png",)
    assert found["box_outside"].examples == ("train/2.png: cat [15, 2, 24, 7]",)
    assert found["size_disagrees"].examples == ("train/9.png: 20x10, is 30x30",)
    assert found["box_outside"].is_fault
    assert not found["crowd"].is_fault
    assert not found["empty_image"].is_fault


def test_training_counts_what_it_clamps_and_drops(faulty: DataSpec) -> None:
    index = open_split(faulty, "train")
    assert index.image_ids.tolist() == [1, 2, 3, 4, 5, 6, 9]
    assert count_faults(index, index.image_ids.tolist()) == {
        "box_outside": 1,
        "box_degenerate": 1,
        "unknown_category": 1,
        "crowd": 1,
        "size_disagrees": 1,
        "missing_image": 1,
        "unreadable_image": 2,
        "duplicate_id": 1,
        "unknown_image": 1,
    }
    assert "box_outside" not in count_faults(index, [9, 1])


def test_training_on_faulty_data_sees_only_good_boxes(faulty: DataSpec) -> None:
    index = open_split(faulty, "train")
    batches = train_batches(
        index,
        index.image_ids.tolist(),
        Augmentation(spec=AugmentSpec(flip=0.0), detector=DetectorSpec()),
        RunOrder(seed=0, batch_size=7),
        Loading(),
    )
    _, targets = next(batches)
    boxes = {int(target["image_id"]): target["boxes"].tolist() for target in targets}
    good = [[2, 2, 7, 7]]
    assert boxes == {1: good, 2: [[15, 2, 20, 7]], 3: [], 4: [], 5: [], 6: [], 9: good}


def test_a_clean_data_set_has_no_findings(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(4)))
    assert check_split(coco_spec(tmp_path), "train") == []


def test_a_pixel_that_cannot_be_decoded_is_found_by_decoding(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(2)))
    path = tmp_path / "train" / "1.png"
    spoil_pixels(path)
    assert _found(coco_spec(tmp_path)) == {"unreadable_image": 1}


def test_a_check_refuses_a_regime_without_an_object_to_learn_from(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        document = coco(many_images(4))
        for record in document["annotations"]:
            record["iscrowd"] = int(split == "train")
        write_coco(tmp_path, split, document)
    data = coco_spec(tmp_path, "train", "val", "test")
    must = "must hold at least one object to learn from, but got '{} images without any'"
    assert find_refusal(data).startswith("regimes.all: " + must.format(4))
    small = {"small": RegimeSpec(images=2)}
    assert find_refusal(data, small).startswith("regimes.small: " + must.format(2))


def test_a_box_that_is_annotated_twice_stays_and_is_counted(tmp_path: Path) -> None:
    cat, dog, big = ("cat", 2, 2, 5, 5), ("dog", 2, 2, 5, 5), ("cat", 2, 2, 5, 6)
    write_coco(tmp_path, "train", coco({1: [cat, dog, cat, big, cat], 2: [cat]}))
    index = open_split(coco_spec(tmp_path), "train")
    assert len(index.entry(1).labels) == 5
    assert count_faults(index, [1, 2]) == {"repeated_object": 2}
    [finding] = check_split(coco_spec(tmp_path), "train")
    assert (finding.kind, finding.count) == ("repeated_object", 2)
    assert finding.examples[0] == "train/1.png: cat [2, 2, 7, 7]"


def test_boxes_that_are_one_in_32_bits_are_repeated_for_the_check_and_in_training(
    tmp_path: Path,
) -> None:
    near: list[Box] = [("cat", 2, 3, 5, 5), ("cat", 2 + 1e-9, 2, 5, 5), ("cat", 2 + 2e-9, 3, 5, 5)]
    write_coco(tmp_path, "train", coco({1: near}))
    assert _found(coco_spec(tmp_path)) == {"repeated_object": 1}
    assert count_faults(open_split(coco_spec(tmp_path), "train"), [1]) == {"repeated_object": 1}


@pytest.mark.parametrize("sides", [{}, {"width": 20}, {"width": 0, "height": 0}], ids=str)
def test_boxes_of_a_missing_picture_of_unknown_size_are_not_judged(
    tmp_path: Path, sides: dict[str, int]
) -> None:
    told = coco({1: [("cat", 2, 2, 5, 5)], 2: [("cat", 2, 2, 5, 5), ("cat", 9, 2, 5, 5)]})
    told["images"][1] = {"id": 2, "file_name": "2.png", **sides}
    write_coco(tmp_path, "train", told)
    (tmp_path / "train" / "2.png").unlink()
    assert _found(coco_spec(tmp_path)) == {"missing_image": 1}
    assert count_faults(open_split(coco_spec(tmp_path), "train"), [1]) == {"missing_image": 1}


def test_a_check_of_one_split_names_the_pictures_that_it_shares(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_coco(tmp_path, split, coco(many_images(3)))
    data = coco_spec(tmp_path, "train", "val", "test")
    assert check_data(data, ["val"]) == {"val": []}
    shutil.copy(tmp_path / "val" / "1.png", tmp_path / "train" / "2.png")
    found = check_data(data, ["val"])
    assert {split: [one.kind for one in of_split] for split, of_split in found.items()} == {
        "val": [],
        "train": ["picture_in_two_splits"],
    }


def test_voc_faults_are_found(tmp_path: Path) -> None:
    xml_of = {
        "a": voc_xml("other.jpg", [("cat", 5, 5, 9, 9)]),
        "b": "<annotation",
        "c": voc_xml("c.jpg", [("dog", 5, 5, 9, 9), ("cat", 9, 5, 5, 9)]),
    }
    write_voc(tmp_path, xml_of, {"train": ["a", "b"], "val": ["c"]})
    data = DataSpec(dataset="voc", root=str(tmp_path))
    assert _found(data) == {"file_name_disagrees": 1, "unreadable_annotation": 1}
    assert _found(data, "val") == {"unknown_category": 1, "box_degenerate": 1}


def test_numbers_that_are_none_are_faults_and_not_crashes(tmp_path: Path) -> None:
    told = coco({1: [("cat", 2, 2, 5, 5)], 2: [("cat", 2, 2, 5, 5)]})
    told["annotations"][0]["bbox"] = [1, 2, float("nan"), 4]
    told["annotations"][1]["bbox"] = "wide"
    told["images"].append({"id": None, "file_name": "x.png"})
    write_picture(tmp_path / "train" / "1.png")
    write_picture(tmp_path / "train" / "2.png")
    (tmp_path / "train.json").write_text(json.dumps(told))
    assert _found(coco_spec(tmp_path)) == {
        "empty_image": 2,
        "unreadable_annotation": 1,
        "unreadable_box": 2,
    }


def test_only_a_data_set_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("<xml>")
    with pytest.raises(DataError, match=r"train\.json.*copy is whole"):
        check_split(coco_spec(tmp_path), "train")
    write_voc(tmp_path, {"a": "<broken"}, {"train": ["a"]})
    with pytest.raises(DataError, match="at least one XML file"):
        check_split(DataSpec(dataset="voc", root=str(tmp_path)), "train")
