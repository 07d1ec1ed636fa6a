"""Pictures of another size than their annotations state."""

import json
from pathlib import Path

import pytest
from data_files import coco, coco_spec, many_images, voc_xml, write_coco, write_picture, write_voc

from rethink_ray.data.check import check_split, find_refusal
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.splits import build_index, refresh_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec
from tests.golden_words import assert_says


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    """Six training images, three to select on, three to report on, of 20 x 10 pixels."""
    for split, count in {"train": 6, "val": 3, "test": 3}.items():
        write_coco(tmp_path, split, coco(many_images(count)))
    return coco_spec(tmp_path, "train", "val", "test")


def resize(folder: Path, keys: range, size: tuple[int, int]) -> None:
    for key in keys:
        write_picture(folder / f"{key}.png", *size, value=key, mark=folder.name)


def refresh(data: DataSpec) -> None:
    for split in ("train", "val", "test"):
        refresh_split(data, split)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_whose_pictures_were_resized_is_refused(
    data: DataSpec, tmp_path: Path, split: str
) -> None:
    gather_facts(data, {})
    resize(tmp_path / split, range(1, 7 if split == "train" else 4), (10, 5))
    refresh(data)
    with pytest.raises(DataError, match=f"split {split}: must show most pictures") as refused:
        gather_facts(data, {})
    assert find_refusal(data) == str(refused.value)
    if split == "train":
        message = str(refused.value).replace(str(tmp_path), "FOLDER")
        assert "6 of 6 in another" in message
        assert message.count("10x5") == 3
        assert_says("data", "resized pictures", message)


def test_half_of_the_pictures_may_differ_and_are_counted(data: DataSpec, tmp_path: Path) -> None:
    resize(tmp_path / "train", range(1, 4), (10, 5))
    refresh(data)
    gather_facts(data, {})
    assert find_refusal(data) == ""
    [finding] = [found for found in check_split(data, "train") if found.kind == "size_disagrees"]
    assert finding.count == 3
    assert finding.examples[0] == "train/1.png: 20x10, is 10x5"
    resize(tmp_path / "train", range(4, 5), (10, 5))
    refresh(data)
    with pytest.raises(DataError, match="4 of 6 in another"):
        gather_facts(data, {})


def test_exchanged_sides_are_another_size(data: DataSpec, tmp_path: Path) -> None:
    resize(tmp_path / "train", range(1, 7), (10, 20))
    refresh(data)
    with pytest.raises(DataError, match="is 10x20, annotated as 20x10"):
        gather_facts(data, {})


def test_one_pixel_is_rounding(data: DataSpec, tmp_path: Path) -> None:
    resize(tmp_path / "train", range(1, 7), (21, 9))
    refresh(data)
    gather_facts(data, {})
    assert ("size_disagrees", 6) in [(f.kind, f.count) for f in check_split(data, "train")]
    resize(tmp_path / "train", range(1, 7), (22, 10))
    refresh(data)
    with pytest.raises(DataError, match="6 of 6"):
        gather_facts(data, {})


def test_annotations_without_a_size_agree_with_any(data: DataSpec, tmp_path: Path) -> None:
    document = coco(many_images(6))
    for record in document["images"]:
        record["width"] = record["height"] = 0
    document["images"][0] |= {"width": 50, "height": 50}
    (tmp_path / "train.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="1 of 1 in another"):
        gather_facts(data, {})
    document["images"][0] |= {"width": 20, "height": 10}
    (tmp_path / "train.json").write_text(json.dumps(document))
    gather_facts(data, {})


def test_voc_is_held_to_its_sizes_too(tmp_path: Path) -> None:
    """Pictures of 20 x 10 whose XML files say 40 x 20."""
    stems = [f"{split}{number}" for split in "tv" for number in range(3)]
    xml_of = {s: voc_xml(f"{s}.jpg", [("cat", 1, 1, 19, 9)], size=(40, 20)) for s in stems}
    write_voc(tmp_path, xml_of, {"train": stems[:3], "val": stems[3:]})
    data = DataSpec(dataset="voc", root=str(tmp_path), report_on="val")
    with pytest.raises(DataError, match="3 of 3 in another"):
        gather_facts(data, {})


def test_indexing_by_hand_reads_every_picture_again(data: DataSpec, tmp_path: Path) -> None:
    assert build_index(data, "train").entry(1).width == 20
    resize(tmp_path / "train", range(1, 7), (40, 20))
    assert build_index(data, "train").entry(1).width == 40
