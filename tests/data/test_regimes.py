from collections import Counter
from pathlib import Path

import pytest
from data_files import coco, coco_spec, many_images, write_coco

from rethink_ray.data.regimes import (
    digest_of_images,
    holdout_image_ids,
    open_scored,
    regime_image_ids,
)
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import (
    DataSpec,
    HoldoutSpec,
    RegimeSpec,
    num_held_out,
    num_images,
    num_reserved,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_coco(tmp_path / "set", "train", coco(many_images(40)))
    return tmp_path / "set"


def test_a_smaller_regime_is_inside_a_larger_one(folder: Path) -> None:
    data = coco_spec(folder)
    large, small = regime_image_ids(data, 30), regime_image_ids(data, 7)
    assert large[:7] == small
    assert regime_image_ids(data, "all")[:30] == large
    assert sorted(regime_image_ids(data, "all")) == list(range(1, 41))


def test_regimes_do_not_depend_on_file_order(folder: Path, tmp_path: Path) -> None:
    turned = {key: rows[::-1] for key, rows in coco(many_images(40)).items()}
    write_coco(tmp_path / "turned", "train", turned)
    here = regime_image_ids(coco_spec(folder), 12)
    assert regime_image_ids(coco_spec(tmp_path / "turned"), 12) == here


def test_a_subset_seed_draws_another_regime(folder: Path) -> None:
    zero = regime_image_ids(coco_spec(folder), 12)
    assert set(regime_image_ids(coco_spec(folder, subset_seed=1), 12)) != set(zero)


def test_the_hold_out_is_outside_every_regime(folder: Path) -> None:
    data = coco_spec(folder, holdout=10)
    held_out = holdout_image_ids(data)
    assert len(held_out) == 10
    assert open_split(data, "holdout").image_ids.tolist() == list(held_out)
    everything = regime_image_ids(data, "all")
    assert len(everything) == 30
    assert not set(everything) & set(held_out)
    assert set(regime_image_ids(data, 5)) <= set(everything)


def test_a_hold_out_does_not_reorder_the_rest(folder: Path) -> None:
    without = regime_image_ids(coco_spec(folder), "all")
    data = coco_spec(folder, holdout=10)
    left = [key for key in without if key not in holdout_image_ids(data)]
    assert list(regime_image_ids(data, "all")) == left


def test_no_hold_out_without_asking(folder: Path) -> None:
    assert holdout_image_ids(coco_spec(folder)) == ()
    with pytest.raises(DataError, match="holdout: N"):
        open_split(coco_spec(folder), "holdout")


def test_a_regime_larger_than_the_data_set_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"at most the 40 training images.*got 41"):
        regime_image_ids(coco_spec(folder), 41)
    with pytest.raises(DataError, match=r"at most the 30 .*hold-out of 10"):
        regime_image_ids(coco_spec(folder, holdout=10), 31)


def test_a_hold_out_that_takes_everything_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"holdout: must leave some of the 40"):
        regime_image_ids(coco_spec(folder, holdout=40), 1)


def test_an_image_that_cannot_be_read_is_in_no_regime(folder: Path) -> None:
    (folder / "train" / "3.png").write_bytes(b"not a picture")
    assert 3 not in regime_image_ids(coco_spec(folder), "all")


def test_a_digest_names_a_set() -> None:
    assert digest_of_images([3, 1, 2]) == digest_of_images((1, 2, 3))
    assert digest_of_images([1, 2]) != digest_of_images([12])


def test_a_share_is_rounded_and_lies_inside_a_larger_one(shapes: DataSpec) -> None:
    fifth, half = (regime_image_ids(shapes, share) for share in ("20%", "50%"))
    assert len(fifth) == 10  # of 48: 9.6
    assert half == regime_image_ids(shapes, 24)
    assert set(fifth) < set(half)
    assert regime_image_ids(shapes, "100%") == regime_image_ids(shapes, "all")
    assert len(regime_image_ids(shapes, "1.5%")) == 1  # of 48: 0.72


def test_a_share_that_leaves_no_image_is_refused(shapes: DataSpec) -> None:
    with pytest.raises(DataError, match="at least one of the 48 training images, but got '1%'"):
        regime_image_ids(shapes, "1%")  # of 48: 0.48
    for none in ("0%", "0.0%", "0.00%"):
        with pytest.raises(ValueError, match="must be more than no image"):
            RegimeSpec(images=none)


@pytest.mark.parametrize("share", ["101%", "-5%", "%", "20", "1e1%"])
def test_what_is_no_share_is_refused(share: str) -> None:
    with pytest.raises(ValueError, match="images"):
        RegimeSpec(images=share)


def test_each_draw_is_as_many_other_images_and_regimes_nest_inside_it(folder: Path) -> None:
    data = coco_spec(folder, holdout=10)
    own = regime_image_ids(data, 12)
    assert regime_image_ids(data, 12, 0) == own
    draws = {draw: regime_image_ids(data, 12, draw) for draw in range(4)}
    assert len({frozenset(image_ids) for image_ids in draws.values()}) == 4
    for draw, image_ids in draws.items():
        assert len(set(image_ids)) == 12
        assert not set(image_ids) & set(holdout_image_ids(data))
        assert regime_image_ids(data, 5, draw) == image_ids[:5]
        assert regime_image_ids(data, 12, draw) == image_ids


def test_draws_follow_the_subset_seed_and_no_file_order(folder: Path, tmp_path: Path) -> None:
    turned = {key: rows[::-1] for key, rows in coco(many_images(40)).items()}
    write_coco(tmp_path / "turned", "train", turned)
    here = regime_image_ids(coco_spec(folder), 12, 3)
    assert regime_image_ids(coco_spec(tmp_path / "turned"), 12, 3) == here
    assert set(regime_image_ids(coco_spec(folder, subset_seed=1), 12, 3)) != set(here)


def test_there_is_one_draw_of_all_images(folder: Path) -> None:
    data = coco_spec(folder)
    assert set(regime_image_ids(data, "all", 1)) == set(regime_image_ids(data, "all"))


def test_over_many_draws_every_image_comes_equally_often(folder: Path) -> None:
    """12 of 40 in each of 400 draws: 120 times each, sd 9.2; six of those is never seen."""
    data = coco_spec(folder)
    seen = Counter(i for draw in range(1, 401) for i in regime_image_ids(data, 12, draw))
    assert len(seen) == 40
    assert all(abs(count - 120) < 55 for count in seen.values())


def share_of(folder: Path, images: int, share: str = "20%") -> DataSpec:
    """A data set of so many training images whose hold-out is a share."""
    write_coco(folder, "train", coco(many_images(images)))
    return coco_spec(folder).model_copy(update={"select_on": HoldoutSpec(holdout=share)})


def selecting(data: DataSpec, num_trained_on: int) -> list[int]:
    image_ids: list[int] = open_scored(data, "holdout", num_trained_on).image_ids.tolist()
    return image_ids


def test_a_share_is_of_the_regimes_images_and_at_least_20() -> None:
    counts = {10_000: 2_000, 1_000: 200, 500: 100, 103: 21, 100: 20, 60: 20}
    assert {num: num_held_out("20%", num) for num in counts} == counts
    assert (num_held_out(500, 60), num_held_out("2.5%", 10_000)) == (500, 250)
    assert (num_reserved("20%", 120), num_reserved("20%", 60), num_reserved(500, 600)) == (
        20,  # 20 % of the other 100
        20,
        500,
    )


@pytest.mark.parametrize("share", ["0.1%", "10%", "20%", "33.3%", "50%", "100%"])
@pytest.mark.parametrize("num_train", [41, 600, 10_007, 118_287])
def test_every_regime_that_fits_finds_its_share_outside_all_regimes(
    share: str, num_train: int
) -> None:
    reserved = num_reserved(share, num_train)
    largest = num_images("all", num_train - reserved)
    held_out = [num_held_out(share, num) for num in range(1, largest + 1, max(largest // 97, 1))]
    assert held_out == sorted(held_out)
    assert num_held_out(share, largest) <= reserved < num_train


def test_hold_outs_that_are_shares_are_nested_and_outside_every_regime(tmp_path: Path) -> None:
    data = share_of(tmp_path / "set", 240)
    everything = regime_image_ids(data, "all")
    assert len(everything) == 200
    large, middle, small = (selecting(data, num) for num in (200, 150, 60))
    assert [len(large), len(middle), len(small)] == [40, 30, 20]
    assert set(small) < set(middle) < set(large)
    assert not set(large) & set(everything)
    assert set(large) | set(everything) == set(range(1, 241))
    assert regime_image_ids(data, 60) == everything[:60]


def test_a_number_of_held_out_images_is_the_same_for_every_regime(folder: Path) -> None:
    data = coco_spec(folder, holdout=10)
    assert selecting(data, 30) == selecting(data, 5) == list(holdout_image_ids(data))


def test_a_hold_out_that_leaves_no_image_is_refused(tmp_path: Path) -> None:
    data = share_of(tmp_path / "set", 20)
    with pytest.raises(DataError, match=r"holdout: must leave some of the 20 .*20% \(at least 20"):
        regime_image_ids(data, "all")
    with pytest.raises(ValueError, match=r"above 0 and at most 100"):
        HoldoutSpec(holdout="0%")
    with pytest.raises(ValueError, match=r"holdout"):
        HoldoutSpec(holdout="120%")
