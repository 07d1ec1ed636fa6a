"""The data block as a YAML file spells it: lists where the program holds tuples."""

import json
from typing import Any

import pytest

from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import validate
from rethink_ray.spec.regime import DataSpec

VOC = {"dataset": "voc", "root": "VOCdevkit"}


@pytest.mark.parametrize(
    ("key", "given", "held"),
    [
        (
            "image_sets",
            {"train": ["VOC2007/trainval", "VOC2012/train"]},
            {"train": ("VOC2007/trainval", "VOC2012/train")},
        ),
        ("frequency", [5, 50], (5, 50)),
        ("frequency", "thirds", "thirds"),
    ],
)
def test_a_list_in_the_file_is_taken(key: str, given: Any, held: Any) -> None:
    data = validate(DataSpec, VOC | {key: given}, "t.yaml")
    assert getattr(data, key) == held
    assert DataSpec.model_validate_json(data.model_dump_json()) == data
    assert json.loads(data.model_dump_json())[key] == given


@pytest.mark.parametrize(
    ("key", "given"),
    [("image_sets", {"train": "VOC2007/trainval"}), ("frequency", [5]), ("frequency", [0, "9"])],
)
def test_what_is_no_such_list_is_refused_by_its_key(key: str, given: Any) -> None:
    with pytest.raises(SpecError, match=f"t.yaml: {key}"):
        validate(DataSpec, VOC | {key: given}, "t.yaml")
