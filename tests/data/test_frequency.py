from pathlib import Path

import pytest
from data_files import Box, coco, coco_spec, write_coco

from rethink_ray.data.frequency import count_images_per_category, frequency_groups
from rethink_ray.spec.regime import DataSpec, HoldoutSpec

NAMES = {1: "ant", 2: "bee", 3: "cat", 4: "dog"}


def _boxes(name: str, times: int = 1) -> list[Box]:
    return [(name, 1.0, 1.0, 5.0, 5.0)] * times


@pytest.fixture
def pets(tmp_path: Path) -> DataSpec:
    """Ants in 1 image (thrice), bees in 3, cats in 6, dogs in none but as crowds."""
    told = coco(
        {
            1: _boxes("ant", 3) + _boxes("cat"),
            2: _boxes("bee") + _boxes("cat"),
            3: _boxes("bee") + _boxes("cat"),
            4: _boxes("bee") + _boxes("cat"),
            5: _boxes("cat"),
            6: _boxes("cat", 2),
            7: _boxes("dog"),
        },
        NAMES,
    )
    told["annotations"][-1]["iscrowd"] = 1
    write_coco(tmp_path, "train", told)
    return coco_spec(tmp_path)


def test_images_are_counted_not_objects(pets: DataSpec) -> None:
    assert count_images_per_category(pets).tolist() == [1, 3, 6, 0]


def test_nobody_who_asks_for_no_bins_gets_any(pets: DataSpec) -> None:
    assert frequency_groups(pets) == {}


def test_bounds_belong_to_the_rarer_bin(pets: DataSpec) -> None:
    bounded = pets.model_copy(update={"frequency": (1, 3)})
    assert frequency_groups(bounded) == {"rare": (1, 4), "common": (2,), "frequent": (3,)}
    lvis = pets.model_copy(update={"frequency": "lvis"})
    assert frequency_groups(lvis) == {"rare": (1, 2, 3, 4), "common": (), "frequent": ()}


def test_thirds_are_of_the_classes_in_order_of_their_counts(pets: DataSpec) -> None:
    thirds = pets.model_copy(update={"frequency": "thirds"})
    assert frequency_groups(thirds) == {"rare": (1, 4), "common": (2,), "frequent": (3,)}


def test_held_out_images_do_not_count(pets: DataSpec) -> None:
    held = pets.model_copy(update={"select_on": HoldoutSpec(holdout=6)})
    assert count_images_per_category(held).sum() <= 2
