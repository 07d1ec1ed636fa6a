from pathlib import Path

import pytest
from data_files import coco, coco_spec, many_images, write_coco

from rethink_ray.data.facts import gather_facts
from rethink_ray.data.leaks import count_dropped, find_leaks, require_disjoint
from rethink_ray.data.regimes import holdout_image_ids, regime_image_ids, trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, RegimeSpec

ALL = {"all": RegimeSpec(images="all"), "small": RegimeSpec(images=10)}


def held_out(folder: Path, select: int | str, report: int | str, num: int = 60) -> DataSpec:
    write_coco(folder, "train", coco(many_images(num)))
    return coco_spec(folder).model_copy(
        update={
            "select_on": HoldoutSpec(holdout=select),
            "report_on": HoldoutSpec(holdout=report),
        }
    )


def ids_of(data: DataSpec, split: str) -> set[int]:
    return {int(key) for key in open_split(data, split).image_ids}


def test_both_hold_outs_are_cut_from_train_and_share_no_image(tmp_path: Path) -> None:
    data = held_out(tmp_path, select=12, report=8)
    selects, reports = ids_of(data, "holdout"), ids_of(data, "report_holdout")
    trains = set(trainable_image_ids(data))
    assert [len(ids) for ids in (selects, reports, trains)] == [12, 8, 40]
    assert selects | reports | trains == set(range(1, 61))
    assert set(holdout_image_ids(data)) == selects | reports
    assert set(regime_image_ids(data, "all")) == trains
    assert find_leaks(data) == []


def test_the_hold_out_that_reports_does_not_depend_on_the_other(tmp_path: Path) -> None:
    data = held_out(tmp_path, select=12, report=8)
    reports = data.model_copy(update={"select_on": "val"})
    assert ids_of(reports, "report_holdout") == ids_of(data, "report_holdout")


def test_a_share_to_report_on_is_the_same_for_every_regime(tmp_path: Path) -> None:
    data = held_out(tmp_path, select="10%", report="50%")
    assert len(ids_of(data, "report_holdout")) == 30
    facts = gather_facts(data, ALL)
    assert facts.split_sizes == {"train": 60, "holdout": 20, "report_holdout": 30}
    assert facts.regime_sizes == {"all": 10, "small": 10}


def test_hold_outs_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    data = held_out(tmp_path, select=12, report=8)
    fewer = data.model_copy(update={"report_on": HoldoutSpec(holdout=7)})
    prints = {gather_facts(one, ALL).fingerprint for one in (data, fewer)}
    assert len(prints) == 2


def test_hold_outs_that_leave_nothing_are_refused_by_their_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.report_on.holdout: must leave some of the 60"):
        open_split(held_out(tmp_path, select=12, report=60), "report_holdout")
    with pytest.raises(DataError, match=r"data.select_on.holdout: must leave some of the 20"):
        open_split(held_out(tmp_path, select=20, report=40), "holdout")


def test_a_picture_twice_in_train_is_on_one_side_of_each_hold_out(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", coco(many_images(30)))
    for key in range(1, 31, 2):
        twin = tmp_path / "train" / f"{key + 1}.png"
        twin.write_bytes((tmp_path / "train" / f"{key}.png").read_bytes())
    data = coco_spec(tmp_path).model_copy(
        update={"select_on": HoldoutSpec(holdout=5), "report_on": HoldoutSpec(holdout=6)}
    )
    with pytest.raises(DataError, match="must show no picture in two of the splits"):
        require_disjoint(data, "study")
    data = data.model_copy(update={"duplicates": "drop"})
    apart = [ids_of(data, "holdout"), ids_of(data, "report_holdout"), {*trainable_image_ids(data)}]
    pairs = [{(key + 1) // 2 for key in ids} for ids in apart]
    assert not pairs[0] & pairs[1] | pairs[0] & pairs[2] | pairs[1] & pairs[2]
    assert find_leaks(data) == []
    assert count_dropped(data) == {"train": 30 - sum(map(len, apart))}
