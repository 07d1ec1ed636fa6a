"""Who may teach whom, and what a student that goes on from its teacher must share with it."""

import json
from typing import Any

import pytest

from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.spec.check import check_study
from rethink_ray.spec.resolve import Cell, base_recipe, recipe_of_file
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import weight_files_of
from tests.spec.refusals import refused

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
    ("occasion", "arms", "facts"),
    [
        (
            "a teacher that is no arm",
            {"student": STUDENT | {"teacher": "scrtch"}},
            ["arms.student.teacher", "'scrtch'", "'scratch'"],
        ),
        (
            "a student without a teacher",
            {"student": {"set": STUDENT["set"]}},
            ["arms.student.teacher", "teacher: scratch"],
        ),
        (
            "a teacher beside imported labels",
            {
                "student": {
                    "set": {"labels": {"kind": "imported", "file": "d.json"}},
                    "teacher": "scratch",
                }
            },
            ["arms.student.teacher", "labels.kind is imported"],
        ),
        (
            "a teacher of human labels",
            {"student": {"teacher": "scratch"}},
            ["arms.student.teacher", "labels.kind"],
        ),
        (
            "two arms that teach each other",
            {"one": STUDENT | {"teacher": "two"}, "two": STUDENT | {"teacher": "one"}},
            ["arms.one.teacher", "one, two"],
        ),
        (
            "a student wider than its teacher",
            {"student": {"set": STUDENT["set"] | {"detector.width": 128}, "teacher": "scratch"}},
            ["full/student: detector.width", "full/scratch", "64", "labels.start: init"],
        ),
        (
            "a student that searches its network",
            {"student": STUDENT | {"search": {"detector.head_convs": {"choice": [1, 2]}}}},
            ["full/student: detector.head_convs"],
        ),
    ],
)
def test_what_cannot_be_taught_is_refused_with_the_remedy(
    occasion: str, arms: dict[str, Any], facts: list[str]
) -> None:
    with refused(occasion, facts):
        study(arms)


IN_FILE = {"file": "weights/teacher.pth"}


def test_a_file_teaches_with_the_arms_own_detector_unless_the_study_says_otherwise() -> None:
    larger = {"detector.width": 128, "evaluation.flip": True, "batch_size": 2}
    found = study(
        {
            "student": STUDENT | {"teacher": IN_FILE},
            "smaller": {
                "set": STUDENT["set"] | {"labels.start": "init"},
                "teacher": IN_FILE | {"set": larger},
            },
            "continued": {"set": {"labels.kind": "continued"}, "teacher": IN_FILE},
            "second": STUDENT | {"teacher": "student"},
        }
    )
    own = base_recipe(found, Cell("full", "student"))
    its = recipe_of_file(found, Cell("full", "student"))
    assert its.detector == own.detector
    assert its.batch_size == own.batch_size
    assert its.labels.kind == "human"
    its = recipe_of_file(found, Cell("full", "smaller"))
    assert its.detector == own.detector.model_copy(update={"width": 128})
    assert (its.evaluation.flip, its.batch_size) == (True, 2)
    assert fingerprint_of(found) != fingerprint_of(
        study({**{n: a.model_dump(mode="json") for n, a in found.arms.items()}, "second": {}})
    )


@pytest.mark.parametrize(
    ("occasion", "arm", "facts"),
    [
        (
            "a file that teaches human labels",
            {"teacher": IN_FILE},
            ["labels.kind", "weights/teacher.pth"],
        ),
        (
            "a file with a rate",
            STUDENT | {"teacher": IN_FILE | {"set": {"optimizer.lr": 0.1}}},
            ["arms.student.teacher.set", "'optimizer.lr'", "batch_size or precision"],
        ),
        (
            "a file with a wider detector",
            STUDENT | {"teacher": IN_FILE | {"set": {"detector.width": 128}}},
            ["full/student: detector.width", "weights/teacher.pth", "128"],
        ),
        (
            "a file whose width the arm searches",
            {
                "set": STUDENT["set"] | {"labels.start": "init"},
                "teacher": IN_FILE,
                "search": {"detector.width": {"choice": [64, 128]}},
            },
            ["arms.student.teacher.set", "detector.width"],
        ),
        (
            "a file that hides labels",
            STUDENT | {"teacher": IN_FILE | {"set": {"detector.score_threshold": 0.6}}},
            ["labels.threshold = 0.5", "0.6"],
        ),
    ],
)
def test_what_a_file_cannot_teach_is_refused(
    occasion: str, arm: dict[str, Any], facts: list[str]
) -> None:
    with refused(occasion, facts):
        study({"student": arm})


def test_files_are_found_wherever_a_study_names_them() -> None:
    found = study(
        {
            "student": STUDENT | {"teacher": IN_FILE},
            "again": STUDENT | {"teacher": IN_FILE},
            "file": {
                "set": {"init.source": "file", "init.weights_norm": "gn"},
                "search": {"init.weights": {"choice": ["a.pt", "b.pt"]}},
            },
            "unused": {"set": {"init.weights": "c.pt"}},
        },
        settings={"init.weights": "a.pt"},
    )
    assert weight_files_of(found, "t.yaml") == {
        "weights/teacher.pth": "t.yaml: arms.student.teacher.file",
        "a.pt": "t.yaml: full/file: init.weights",
        "b.pt": "t.yaml: full/file: init.weights",
    }


def test_copying_from_ones_own_student_is_a_circle() -> None:
    with refused("an arm that copies from its student", ["scratch, student"]):
        study({"student": STUDENT}, tuning={"copy_from": "student"})
    study({"student": STUDENT}, tuning={"copy_from": "scratch"})


def test_a_study_without_teachers_keeps_its_fingerprint() -> None:
    plain = study({})
    tree = json.loads(plain.model_dump_json())
    assert tree["arms"]["scratch"].pop("teacher") is None
    assert fingerprint_of(Study.model_validate_json(json.dumps(tree))) == fingerprint_of(plain)
    assert fingerprint_of(study({"student": STUDENT})) != fingerprint_of(plain)


HALF: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.5] * 3}
IMAGENET_255: dict[str, Any] = {
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "scale": 255,
}


def student(**settings: Any) -> dict[str, Any]:
    dotted = {path.replace("__", "."): value for path, value in settings.items()}
    return {"set": {"labels.kind": "continued", **dotted}, "teacher": "scratch"}


@pytest.mark.parametrize(
    ("occasion", "arms"),
    [
        ("of a teacher from random weights", {"student": student(init__input=HALF)}),
        (
            "of a teacher that states another",
            {"scratch": {"set": {"init.input": HALF}}, "student": student(init__input="imagenet")},
        ),
        (
            "of a teacher's teacher",
            {
                "scratch": {"set": {"init.input": HALF}},
                "first": student(),
                "student": student(init__input="imagenet") | {"teacher": "first"},
            },
        ),
        (
            "of a file",
            {
                "student": student(init__input=HALF)
                | {"teacher": {"file": "w", "set": {"init.input": "imagenet"}}}
            },
        ),
        (
            "found by a search",
            {"student": student() | {"search": {"init.input": {"choice": [None, "imagenet"]}}}}
            | {"scratch": {"set": {"init.input": HALF}}},
        ),
    ],
)
def test_a_student_cannot_state_another_input_than_its_teacher_has(
    occasion: str, arms: dict[str, Any]
) -> None:
    with refused(f"the input {occasion}", ["full/student: init.input: must be that of"]):
        study(arms)


@pytest.mark.parametrize(
    "arms",
    [
        {"student": student(init__input=IMAGENET_255)},
        {"scratch": {"set": {"init.input": HALF}}, "student": student(init__input=HALF)},
        {"scratch": {"set": {"init.input": HALF}}, "student": student()},
        {
            "student": {
                **STUDENT,
                "set": {**STUDENT["set"], "labels.start": "init", "init.input": HALF},
            }
        },
        {"student": student(init__input=HALF) | {"teacher": {"file": "w.pth"}}},
    ],
    ids=["in other units", "the same", "none", "from its own weights", "of an unopened file"],
)
def test_a_student_may_state_the_input_that_its_teacher_has(arms: dict[str, Any]) -> None:
    assert study(arms)
