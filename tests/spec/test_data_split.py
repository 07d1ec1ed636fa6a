import re
from typing import Any

import pytest

from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.facts import CutFacts, say_cut
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec, num_reported

ONE = {"train": {"images": "pictures", "annotations": "all.json"}}


def data(**keys: Any) -> DataSpec:
    return validate(DataSpec, {"dataset": ONE} | keys, "data")


@pytest.mark.parametrize("group", ["near_duplicates", "folder", "none", {"regex": "^(a)"}])
def test_a_split_is_read_and_written_again(group: Any) -> None:
    read = data(split={"val": "20%", "test": "12.5%", "group": group})
    assert read.split is not None
    assert read.split.shares == {"val": 0.2, "test": 0.125}
    assert DataSpec.model_validate_json(read.model_dump_json()) == read


def test_a_data_set_without_the_key_is_written_as_before() -> None:
    assert "split" not in data().model_dump(mode="json")
    assert "split" not in data().model_dump_json()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"split": {"val": "50%", "test": "50%"}}, "less than 100 %.*'50% + 50%'"),
        ({"split": {}}, "val: must be given, or test"),
        ({"split": {"val": 20}}, "a share such as 20%.*Write 20%"),
        ({"split": {"val": 0.15}}, "a share such as 20%.*Write 15%"),
        ({"split": {"val": "0%"}}, "above 0 and below 100"),
        ({"split": {"test": "100%"}}, "above 0 and below 100"),
        ({"split": {"val": "20%", "group": "video"}}, "near_duplicates, folder, none, or {regex"),
        ({"split": {"val": "20%", "group": {"regex": "("}}}, "regular expression"),
        ({"split": {"val": "20%", "group": {"regex": ""}}}, "regular expression"),
        ({"split": {"train": "60%"}}, "must be a known key"),
        (
            {"dataset": ONE | {"val": ONE["train"]}, "split": {"val": "20%"}},
            "or out of data.dataset",
        ),
        ({"dataset": "shapes", "split": {"val": "20%"}}, "Leave val out of data.split"),
        ({"dataset": "coco", "root": "c", "split": {"val": "20%"}}, "Leave val out of data.split"),
        (
            {"dataset": "voc", "root": "v", "image_sets": {"val": ["a/b"]}, "split": {"val": "9%"}},
            "or out of data.image_sets",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_a_remedy(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words).replace(r"\.\*", ".*")):
        data(**keys)


def test_the_names_of_hold_outs_stand_for_their_numbers() -> None:
    both = data(select_on={"holdout": 20}, report_on={"holdout": "10%"})
    assert (both.select_split, both.report_split) == ("holdout", "report_holdout")
    assert (data().select_split, data().report_split) == ("val", "test")


def test_a_share_to_report_on_has_at_least_twenty_images() -> None:
    assert [num_reported("10%", num) for num in (1000, 204, 100)] == [100, 20, 20]
    assert num_reported(7, 1000) == 7


def test_what_was_kept_together_is_said() -> None:
    cut = CutFacts(
        grouping="near_duplicates",
        shares={"val": 0.2},
        split_sizes={"train": 78, "val": 22},
        num_groups=90,
        num_together=3,
        num_images_together=13,
        largest=8,
    )
    assert list(say_cut(cut)) == [
        "100 pictures in 90 groups are dealt out: train 78 (78.0 %), val 22 (22.0 % for 20 %)",
        "13 pictures that look alike stay together in 3 groups, the largest of 8",
    ]
