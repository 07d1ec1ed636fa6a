from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from rethink_ray.data.dealing import PictureGroup, deal_groups

FIFTHS = {"val": 0.2, "test": 0.2}


def single(key: int | str, *classes: str) -> PictureGroup:
    return PictureGroup(key=str(key), num_images=1, images_with=dict.fromkeys(classes or [""], 1))


def splits_with(name: str, groups: Sequence[PictureGroup], dealt: Sequence[str]) -> list[str]:
    pairs = zip(groups, dealt, strict=True)
    return sorted(split for group, split in pairs if name in group.images_with)


def test_splits_have_their_shares_of_pictures_and_of_each_class() -> None:
    groups = [single(key, "cat") for key in range(60)] + [
        single(key, "dog") for key in "abcdefghij" * 1
    ]
    groups += [single(1000 + key) for key in range(30)]
    dealt = deal_groups(groups, FIFTHS, 0)
    assert Counter(dealt) == {"train": 60, "val": 20, "test": 20}
    assert Counter(splits_with("cat", groups, dealt)) == {"train": 36, "val": 12, "test": 12}
    assert Counter(splits_with("dog", groups, dealt)) == {"train": 6, "val": 2, "test": 2}
    assert Counter(splits_with("", groups, dealt)) == {"train": 18, "val": 6, "test": 6}


@pytest.mark.parametrize(
    ("num", "splits"),
    [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "val"])],
)
def test_a_rare_class_occurs_in_as_many_splits_as_it_has_groups(
    num: int, splits: list[str]
) -> None:
    groups = [single(key, "cat") for key in range(40)]
    groups += [single(f"rare {key}", "cat", "rare") for key in range(num)]
    assert splits_with("rare", groups, deal_groups(groups, FIFTHS, 0)) == splits


def test_every_class_with_enough_groups_is_in_every_split() -> None:
    chance = np.random.default_rng(0)
    groups = [
        single(
            key, *(f"class {number}" for number in range(20) if chance.random() < 1 / (number + 2))
        )
        for key in range(200)
    ]
    dealt = deal_groups(groups, FIFTHS, 0)
    for number in range(20):
        assert set(splits_with(f"class {number}", groups, dealt)) == {"train", "val", "test"}


def test_a_group_that_one_class_needs_in_train_is_replaced_by_another() -> None:
    groups = [single("1", "a", "b"), single("2", "a"), single("3", "a"), single("4", "b")]
    for seed in range(8):
        dealt = deal_groups(groups, FIFTHS, seed)
        assert splits_with("a", groups, dealt) == ["test", "train", "val"]
        assert splits_with("b", groups, dealt) == ["test", "train"]


def test_the_order_of_groups_does_not_matter() -> None:
    groups = [single(key, "cat", *(["dog"] if key % 7 == 0 else [])) for key in range(50)]
    dealt = dict(zip([one.key for one in groups], deal_groups(groups, FIFTHS, 0), strict=True))
    turned = groups[::-1]
    assert deal_groups(turned, FIFTHS, 0) == [dealt[one.key] for one in turned]


def test_one_group_more_moves_few_others() -> None:
    groups = [single(key, "cat", *(["dog"] if key % 7 == 0 else [])) for key in range(101)]
    before, after = (deal_groups(some, FIFTHS, 0) for some in (groups[:-1], groups))
    assert sum(one != other for one, other in zip(before, after, strict=False)) <= 5


def test_another_seed_deals_another_way() -> None:
    groups = [single(key, "cat") for key in range(50)]
    assert deal_groups(groups, FIFTHS, 0) != deal_groups(groups, FIFTHS, 1)


def test_a_single_split_takes_its_share() -> None:
    groups = [single(key, "cat") for key in range(50)]
    assert Counter(deal_groups(groups, {"val": 0.1}, 0)) == {"train": 45, "val": 5}


def test_a_large_group_stays_in_train_where_it_would_overfill_a_split() -> None:
    large = PictureGroup(key="large", num_images=50, images_with={"cat": 50})
    groups = [large, *(single(key, "cat") for key in range(50))]
    for seed in range(4):
        dealt = deal_groups(groups, FIFTHS, seed)
        assert dealt[0] == "train"
        assert Counter(dealt[1:]) == {"train": 10, "val": 20, "test": 20}
