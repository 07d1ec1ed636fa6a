"""Slips of users that are named, with what to do about them."""

import json
import os
from pathlib import Path

import pytest
from data_files import coco, coco_spec, voc_xml, write_coco, write_voc

from rethink_ray.commands.datasets import class_lines
from rethink_ray.data.check import check_data, check_split
from rethink_ray.data.class_counts import find_alike
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.heavy_losses import find_heavy_losses
from rethink_ray.data.other_forms import find_other_form
from rethink_ray.data.regimes import holdout_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.met_faults import MetFault
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec

CAT, DOG = ("cat", 2, 2, 5, 5), ("dog", 2, 2, 5, 5)


@pytest.fixture
def uneven(tmp_path: Path) -> DataSpec:
    """Train has cats, val dogs; both know both names."""
    write_coco(tmp_path, "train", coco({1: [CAT], 2: [CAT]}))
    write_coco(tmp_path, "val", coco({1: [DOG]}))
    return coco_spec(tmp_path, "train", "val").model_copy(update={"report_on": "val"})


def test_classes_that_only_one_split_has_are_named(uneven: DataSpec) -> None:
    val = {one.kind: one.examples for one in check_data(uneven, ["train", "val"])["val"]}
    assert val == {"untrained_class": ("dog",), "unscored_class": ("cat",)}
    facts = gather_facts(uneven, {"all": RegimeSpec(images="all")})
    assert facts.untrained_classes == {"val": ("dog",)}
    assert [*class_lines(uneven)][1:] == ["  cat: train 2, val 0", "  dog: train 0, val 1"]


def test_a_class_that_only_the_hold_out_has_is_not_trained(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({number: [CAT] for number in range(1, 7)}))
    write_coco(tmp_path, "val", coco({1: [CAT, DOG]}))
    cut = {"report_on": "val", "select_on": HoldoutSpec(holdout=2)}
    data = coco_spec(tmp_path, "train", "val").model_copy(update=cut)
    held_out = holdout_image_ids(data)
    objects = {number: [DOG if number in held_out else CAT] for number in range(1, 7)}
    write_coco(tmp_path, "train", coco(objects))
    facts = gather_facts(data, {"all": RegimeSpec(images="all")})
    assert facts.untrained_classes == {"holdout": ("dog",), "val": ("dog",)}
    assert [*class_lines(data)][1:] == [
        "  cat: train 4, holdout 0, val 1",
        "  dog: train 0, holdout 2, val 1",
    ]


def test_names_that_are_nearly_equal_are_a_note(tmp_path: Path) -> None:
    pairs = find_alike(["Helmet", "helmet", "hemlet", "vest", "class_1", "class_2", "cat", "bat"])
    assert len(pairs) == 3
    assert {name for pair in pairs for name in pair} == {"Helmet", "helmet", "hemlet"}
    assert find_alike(["vest", "vest "], ["vest"]) == [("vest", "vest ")]
    assert find_alike(["letter_a", "letter_b", "type A", "type B"]) == []
    write_coco(tmp_path, "train", coco({1: [CAT]}, {1: "cat", 2: "Cat"}))
    kinds = {one.kind: one.examples for one in check_split(coco_spec(tmp_path), "train")}
    assert kinds["similar_names"] == ("cat = Cat",)


def test_a_tenth_of_a_split_lost_to_one_kind_is_a_heavy_loss(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [CAT]}))
    write_coco(tmp_path, "val", coco({1: [CAT] * 6 + [("ghost", 1, 1, 5, 5)] * 4}))
    data = coco_spec(tmp_path, "train", "val").model_copy(update={"report_on": "val"})
    (loss,) = find_heavy_losses(data)
    assert loss.startswith("40 % of the boxes of val were dropped (4 of 10): train does not")


@pytest.mark.parametrize(
    ("there", "stated"),
    [
        ("a.JPG", "a.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("a.jpg", "images\\a.jpg"),
        ("a.jpg", "images/a.jpg"),
    ],
)
def test_a_missing_file_is_found_under_another_form(
    tmp_path: Path, there: str, stated: str
) -> None:
    (tmp_path / there).touch()
    assert find_other_form(tmp_path / stated) == tmp_path / there
    assert find_other_form(tmp_path / there) is None
    assert find_other_form(tmp_path / "other.jpg") is None


@pytest.mark.parametrize("name", ["/", "%2F", "..", "%00", "a%2Fb.png"])
def test_a_name_that_no_file_can_have_has_no_other_form(tmp_path: Path, name: str) -> None:
    assert find_other_form(tmp_path / name) is None


def test_a_split_without_its_files_says_so_in_words_and_where_they_are(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [CAT]}))
    os.rename(tmp_path / "train/1.png", tmp_path / "train/1.PNG")
    with pytest.raises(DataError) as refused:
        open_split(coco_spec(tmp_path), "train")
    assert "1 images: missing_image" in str(refused.value)
    assert "(there is train/1.PNG)" in str(refused.value)
    assert "{" not in str(refused.value)
    assert "data check" not in str(refused.value)
    missing = [one for one in check_split(coco_spec(tmp_path), "train") if "missing" in one.kind]
    assert missing[0].examples == ("train/1.png (there is train/1.PNG)",)


def test_an_object_without_a_known_category_is_not_called_none(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco({1: [("ghost", 2, 2, 5, 5)]}))
    kinds = {one.kind: one.examples for one in check_split(coco_spec(tmp_path), "train")}
    assert kinds["unknown_category"] == ("train/1.png: a category that the file does not name",)


def test_a_list_or_json_in_another_encoding_is_to_be_saved_as_utf8(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", {"a": voc_xml("a.jpg", [("cat", 2, 2, 9, 9)])}, {"train": ["a"]})
    listed = tmp_path / "voc/ImageSets/Main/train.txt"
    listed.write_bytes("\u732b".encode("gbk"))  # is UTF-8, too
    with pytest.raises(DataError, match=r"train\.txt: .* in GBK or Latin-1, save it as UTF-8"):
        open_split(DataSpec(dataset="voc", root=str(tmp_path / "voc")), "train")
    listed.write_bytes("\u4e2d".encode("gbk"))
    with pytest.raises(DataError, match=r"train\.txt: must be text in UTF-8.*Save the list"):
        open_split(DataSpec(dataset="voc", root=str(tmp_path / "voc")), "train")
    write_coco(tmp_path, "train", coco({1: [CAT]}, {1: "cat"}))
    text = json.dumps(coco({1: [CAT]}, {1: "caf\u00e9"}), ensure_ascii=False)
    (tmp_path / "train.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.json: must be text in UTF-8.*Save the file"):
        open_split(coco_spec(tmp_path), "train")


def test_an_unused_category_of_the_same_name_is_to_be_deleted(tmp_path: Path) -> None:
    document = coco({1: [CAT]})
    document["categories"] = [{"id": 0, "name": "cat "}, {"id": 1, "name": "cat"}]
    write_coco(tmp_path, "train", document)
    with pytest.raises(DataError) as refused:
        open_split(coco_spec(tmp_path), "train")
    assert "but got 'cat ' with id 0 and 'cat' with id 1." in str(refused.value)
    assert "No annotation has category_id 0: delete the unused entry" in str(refused.value)


def test_short_sentences_name_the_kind_and_what_is_counted() -> None:
    share = FaultShare(count=24, total=73)
    met = MetFault(kind="duplicate_id", split="train", regime=None, share=share)
    words = "24 of 73 images and boxes of train share their id (duplicate_id)"
    assert met.summary == words
