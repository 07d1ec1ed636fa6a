"""Who may teach whom, and what a student that goes on from its teacher must share with it."""

import json
from typing import Any

import pytest

from rethink_ray.records.extension import fingerprint_of
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.study import Study

STUDENT = {"set": {"labels.kind": "self_training"}, "teacher": "scratch"}


def study(arms: dict[str, Any], **changes: Any) -> Study:
    tree = {
        "study": "t",
        "data": {"dataset": "shapes", "shapes": {"unlabelled": 20}},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_retinanet",
        "arms": {"scratch": {}, **arms},
    }
    found = Study.model_validate_json(json.dumps(tree | changes))
    check_study(found, "t.yaml")
    return found


def test_students_may_teach_and_may_differ_from_their_teacher_where_weights_do_not() -> None:
    found = study(
        {
            "student": STUDENT,
            "second": {"set": STUDENT["set"] | {"labels.threshold": 0.7}, "teacher": "student"},
            "larger": {
                "set": STUDENT["set"] | {"detector.width": 128, "labels.start": "init"},
                "teacher": "scratch",
            },
            "finer": {"set": STUDENT["set"] | {"detector.min_side_px": 64}, "teacher": "scratch"},
        }
    )
    teachers = {name: arm.teacher for name, arm in found.arms.items() if arm.teacher}
    assert teachers == {
        "student": "scratch",
        "second": "student",
        "larger": "scratch",
        "finer": "scratch",
    }


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        (
            {"student": STUDENT | {"teacher": "scrtch"}},
            r"arms.student.teacher: must name an arm, but got 'scrtch'. Did you mean 'scratch'\?",
        ),
        ({"student": {"set": STUDENT["set"]}}, "must name the arm that teaches.*teacher: scratch"),
        ({"student": {"teacher": "scratch"}}, "must be left out where labels.kind is human"),
        (
            {"one": STUDENT | {"teacher": "two"}, "two": STUDENT | {"teacher": "one"}},
            "arms.one.teacher: must not wait for itself.*one, two",
        ),
        (
            {"student": {"set": STUDENT["set"] | {"detector.width": 128}, "teacher": "scratch"}},
            "full/student: detector.width: must be that of full/scratch.*64.*labels.start: init",
        ),
        (
            {"student": STUDENT | {"search": {"detector.head_convs": {"choice": [1, 2]}}}},
            "detector.head_convs: must be set, not searched",
        ),
    ],
)
def test_what_cannot_be_taught_is_refused_with_the_remedy(arms: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        study(arms)


def test_copying_from_ones_own_student_is_a_circle() -> None:
    with pytest.raises(SpecError, match="must not wait for itself"):
        study({"student": STUDENT}, tuning={"copy_from": "student"})
    study({"student": STUDENT}, tuning={"copy_from": "scratch"})


def test_a_study_without_teachers_keeps_its_fingerprint() -> None:
    plain = study({})
    tree = json.loads(plain.model_dump_json())
    assert tree["arms"]["scratch"].pop("teacher") is None
    assert fingerprint_of(Study.model_validate_json(json.dumps(tree))) == fingerprint_of(plain)
    assert fingerprint_of(study({"student": STUDENT})) != fingerprint_of(plain)
