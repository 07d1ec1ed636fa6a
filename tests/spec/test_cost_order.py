"""Which arm is cheaper: a rule on recipes, fixed before anything has run."""

from typing import Any

import pytest

from rethink_ray.spec.cost_order import order_by_cost
from tests.analysis.planted import build_facts, build_study

UPSTREAM = {"init.source": "upstream", "upstream.steps": 200}
FROZEN = {"init": {"source": "upstream", "frozen": "backbone"}, "upstream.steps": 200}


@pytest.mark.parametrize(
    ("cheaper", "dearer"),
    [
        ({}, UPSTREAM),  # 200 more updates for the classifier
        (UPSTREAM | {"schedule.lengths": [2]}, {}),  # 120 + 200 updates against 360
        (FROZEN, UPSTREAM),
        ({"batch_size": 4}, {"batch_size": 8}),
        ({"detector.min_side_px": 64}, {}),
    ],
)
def test_the_cheaper_of_two_arms_comes_first(cheaper: Any, dearer: Any) -> None:
    for names in (("a", "b"), ("b", "a")):
        settings = {"a": {"set": cheaper}, "b": {"set": dearer}}
        study = build_study(arms={name: settings[name] for name in names})
        assert order_by_cost(study, build_facts(study), "full") == ("a", "b")


def test_of_equals_the_study_file_decides() -> None:
    arms = {"b": {}, "a": {"set": {"optimizer.momentum": 0.8}}}
    study = build_study(arms=arms)
    assert order_by_cost(study, build_facts(study), "full") == ("b", "a")


def test_a_student_pays_for_its_teacher() -> None:
    arms = {
        "student": {"set": {"labels.kind": "self_training"}, "teacher": "plain"},
        "plain": {},
    }
    study = build_study(arms=arms)
    assert order_by_cost(study, build_facts(study), "full") == ("plain", "student")
