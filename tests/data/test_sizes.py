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


def split_of(folder: Path, boxes: list[tuple[float, ...]], size: tuple[int, int]) -> DataSpec:
    """One picture of ``size`` in train with these boxes (x, y, width, height); val is whole."""
    write_coco(folder, "train", coco({1: [("cat", *box) for box in boxes]}))
    write_picture(folder / "train" / "1.png", *size)
    document = json.loads((folder / "train.json").read_text())
    document["images"][0] |= {"width": size[0], "height": size[1]}
    (folder / "train.json").write_text(json.dumps(document))
    write_coco(folder, "val", coco(many_images(2)))
    return coco_spec(folder, "train", "val").model_copy(update={"report_on": "val"})


HALVED = [
    (2.0, 2.0, 6.0, 6.0),
    (12.0, 12.0, 6.0, 6.0),
    (12.0, 2.0, 6.0, 6.0),
    (2.0, 12.0, 6.0, 6.0),
]
"""Boxes of a picture of 20 x 20, which is 10 x 10 now; its stated size was corrected, too."""


@pytest.mark.parametrize(
    ("boxes", "size", "hint"),
    [
        (HALVED, (10, 10), "If the pictures were resized"),
        ([(0.1, 0.2, 0.3, 0.3), (0.5, 0.5, 0.4, 0.2)], (20, 20), "look like shares"),
        ([(10.0, 12.0, 19.0, 20.0), (11.0, 11.0, 18.0, 15.0)], (20, 20), "look like two corners"),
    ],
)
def test_a_split_whose_boxes_mostly_lie_outside_is_refused_with_the_likely_reason(
    tmp_path: Path, boxes: list[tuple[float, ...]], size: tuple[int, int], hint: str
) -> None:
    data = split_of(tmp_path, boxes, size)
    with pytest.raises(DataError, match="split train: must have most boxes") as refused:
        gather_facts(data, {})
    assert hint in str(refused.value)
    assert find_refusal(data) == str(refused.value)


def test_half_of_the_boxes_may_lie_outside_and_are_counted(tmp_path: Path) -> None:
    data = split_of(tmp_path, [HALVED[0], (1.0, 1.0, 5.0, 5.0), *HALVED[1:3]], (10, 10))
    gather_facts(data, {})
    kinds = {one.kind: one.count for one in check_split(data, "train")}
    assert kinds == {"box_degenerate": 2}


def test_a_box_that_keeps_more_than_half_of_its_area_is_inside(tmp_path: Path) -> None:
    data = split_of(tmp_path, [(4.0, 4.0, 8.0, 6.0), (5.0, 4.0, 9.0, 6.0)], (10, 10))  # 6/8, 5/9
    gather_facts(data, {})
