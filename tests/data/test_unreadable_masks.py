"""An object whose mask cannot be read has none: its box is never learned or scored as a mask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import coco, coco_spec, write_coco
from fuzzed_coco import NO_MASKS, POLYGON, RUNS
from scenes import scene

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.check import check_split
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.faults import count_faults
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.loader import Loading, train_batches
from rethink_ray.data.masks import encode_run_lengths
from rethink_ray.data.order import RunOrder
from rethink_ray.data.pasting import paste
from rethink_ray.data.scorable import find_undefined_metrics
from rethink_ray.data.sources.segmentations import expand_counts, read_segmentation
from rethink_ray.data.splits import open_split
from rethink_ray.detection.masks import encode_mask
from rethink_ray.spec.recipe import AugmentSpec, DetectorSpec
from rethink_ray.spec.regime import DataSpec, RegimeSpec

POLYGON_OF_DOG = [[9, 3, 13, 3, 13, 7]]


def _masked(folder: Path, cat: Any, dog: Any = POLYGON_OF_DOG, split: str = "train") -> DataSpec:
    """A cat and a dog with these masks; a square of 6 x 6 and one of 4 x 4 as boxes."""
    document = coco({1: [("cat", 2, 2, 6, 6), ("dog", 9, 3, 4, 4)]})
    for record, mask in zip(document["annotations"], (cat, dog), strict=True):
        if mask is not None:
            record["segmentation"] = mask
    write_coco(folder, split, document)
    return coco_spec(folder, "train", "val").model_copy(update={"report_on": "val"})


def _counted(data: DataSpec) -> dict[str, int]:
    return {finding.kind: finding.count for finding in check_split(data, "train")}


def _areas(index: AnnotationIndex) -> list[int]:
    return [int(mask.sum()) for mask in index.masks(1)]


@pytest.mark.parametrize(
    ("mask", "area"),
    [
        ([POLYGON], 36),
        (POLYGON, 36),
        ([str(number) for number in POLYGON], 36),
        ([[str(number) for number in POLYGON]], 36),
        (RUNS, 8),
        ({"size": ["10", 20.0], "counts": ["42", 4.0, 6, 4, 144]}, 8),
        ({"size": [10.0, 20.0], "counts": [42.0, 4.0, 6.0, 4.0, 144.0]}, 8),
    ],
)
def test_a_mask_of_another_form_is_read_as_what_it_means(
    mask: object, area: int, tmp_path: Path
) -> None:
    data = _masked(tmp_path, mask)
    index = open_split(data, "train")
    assert index.entry(1).has_mask.tolist() == [True, True]
    assert _areas(index)[0] == area
    assert _counted(data) == ({} if area == 36 else {"mask_off_box": 1})  # of a box of 36 pixels


@pytest.mark.parametrize("mask", NO_MASKS)
def test_what_is_no_mask_is_counted_and_is_not_the_box(mask: object, tmp_path: Path) -> None:
    data = _masked(tmp_path, mask)
    index = open_split(data, "train")
    assert index.entry(1).has_mask.tolist() == [False, True]
    assert _counted(data) == {"unreadable_masks": 1}
    assert count_faults(index, [1]) == {"unreadable_masks": 1}


@pytest.mark.parametrize("mask", [None, [], ""])
def test_no_mask_is_a_fault_only_where_others_have_one(mask: object, tmp_path: Path) -> None:
    some = _masked(tmp_path / "some", mask)
    assert _counted(some) == {"missing_masks": 1}
    assert count_faults(open_split(some, "train"), [1]) == {"missing_masks": 1}
    assert _counted(_masked(tmp_path / "none", mask, mask)) == {}


def test_pieces_that_are_none_are_left_out_of_a_mask_and_counted(tmp_path: Path) -> None:
    data = _masked(tmp_path, [POLYGON, [1, 2, 3, 4], None])
    assert _areas(open_split(data, "train"))[0] == 36
    assert _counted(data) == {"mask_piece_left_out": 1}


def test_a_split_without_one_mask_that_can_be_read_has_boxes_alone(tmp_path: Path) -> None:
    _masked(tmp_path, [[]], [[]])
    data = _masked(tmp_path, [POLYGON], split="val")
    facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    assert (facts.has_masks, facts.scored_masks) == (False, True)
    _masked(tmp_path, [POLYGON])
    _masked(tmp_path, [[]], [[]], split="val")
    facts = gather_facts(data, {"full": RegimeSpec(images="all")})
    assert (facts.has_masks, facts.scored_masks) == (True, False)


def test_a_regime_without_a_mask_has_boxes_alone_even_if_others_have_some(tmp_path: Path) -> None:
    document = coco({i: [("cat", 2, 2, 6, 6)] for i in range(1, 9)})
    write_coco(tmp_path, "train", document)
    data = _masked(tmp_path, [POLYGON], split="val")
    few = {"few": RegimeSpec(images=1), "full": RegimeSpec(images="all")}
    ids = {
        image_id
        for image_id in range(1, 9)
        if _has_masks_with(tmp_path, document, image_id, data, few)
    }
    assert len(ids) == 1


def _has_masks_with(
    folder: Path, document: Any, image_id: int, data: DataSpec, regimes: dict[str, RegimeSpec]
) -> bool | None:
    """Whether each regime has a mask, if the object of this image alone has one."""
    for record in document["annotations"]:
        record["segmentation"] = [POLYGON] if record["image_id"] == image_id else []
    write_coco(folder, "train", document)
    return gather_facts(data, regimes).has_masks


def test_metrics_of_masks_need_an_object_with_a_mask_of_that_size(tmp_path: Path) -> None:
    document = coco({1: [("cat", 0, 0, 100, 100), ("dog", 9, 3, 4, 4)]}, size=(200, 100))
    document["annotations"][1]["segmentation"] = POLYGON_OF_DOG
    write_coco(tmp_path, "train", document, size=(200, 100))
    undefined = find_undefined_metrics(open_split(coco_spec(tmp_path), "train"))
    assert "ap_l" not in undefined
    assert "mask_ap_l" in undefined
    assert "mask_ap_s" not in undefined


def test_a_training_target_says_which_masks_are_known(tmp_path: Path) -> None:
    def target(cat: Any) -> dict[str, Any]:
        index = open_split(_masked(tmp_path, cat), "train")
        augmentation = Augmentation(
            spec=AugmentSpec(flip=1.0), detector=DetectorSpec(family="mask_rcnn")
        )
        order = RunOrder(seed=0, batch_size=1)
        return next(train_batches(index, [1], augmentation, order, Loading()))[1][0]

    assert "has_mask" not in target([POLYGON])
    unknown = target([[]])
    assert unknown["has_mask"].tolist() == [False, True]
    assert unknown["labels"].tolist() == [1, 2]  # the box is learned
    assert int(unknown["masks"][0].sum()) == 36  # a place holder that moves with the picture


def test_an_object_whose_mask_is_unknown_is_not_pasted() -> None:
    image, objects = scene([(4, 4, 14, 14)])
    source, others = scene([(10, 0, 20, 20), (30, 0, 34, 4)], value=0.5)
    others = replace(others, has_mask=np.array([False, True]))
    for seed in range(8):
        laid, pasted = paste(image, objects, source, others, np.random.default_rng(seed))
        assert pasted.boxes_xyxy.tolist() == [[4, 4, 14, 14], [30, 0, 34, 4]]
        assert pasted.has_mask is not None
        assert pasted.has_mask.tolist() == [True, True]
        assert laid[0, 0, 10:20].tolist() == [0.0] * 10


def test_compressed_run_lengths_are_those_of_cocos_own_encoder() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((40, 70)) < rng.uniform(0, 1)
        text = encode_mask(mask)["counts"].decode()
        assert expand_counts(text) == encode_run_lengths(mask)["counts"]
        compressed = read_segmentation({"size": [40, 70], "counts": text})
        assert not compressed.is_unreadable
        assert read_segmentation({"size": [40, 71], "counts": text}).is_unreadable


@pytest.mark.parametrize(
    ("polygon", "is_off"),
    [
        ([[2, 2, 8, 2, 8, 8, 2, 8]], False),  # the cat's box
        ([[2, 2, 8, 2, 8, 6, 2, 6]], False),  # 24 of 36 pixels
        ([[2, 2, 4, 2, 4, 4, 2, 4]], True),  # a third of each side
        ([[9, 9, 15, 9, 15, 10, 9, 10]], True),  # beside it
    ],
)
def test_a_mask_of_another_place_than_its_box_is_counted_and_stays(
    tmp_path: Path, polygon: list[list[int]], is_off: bool
) -> None:
    data = _masked(tmp_path, polygon)
    index = open_split(data, "train")
    expected = {"mask_off_box": 1} if is_off else {}
    assert count_faults(index, [1]) == expected
    assert _counted(data) == expected
    assert index.entry(1).has_mask.all()
    assert index.has_masks
