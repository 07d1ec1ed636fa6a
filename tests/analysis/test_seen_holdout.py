"""Detectors from files on COCO: the caveat that they may have seen the hold-out."""

from typing import Any

import pytest

from rethink_ray.analysis.seen_holdout import find_seen_holdout
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study
from tests.analysis.planted import build_study
from tests.builders import made_up_facts

COCO = {"dataset": "coco", "root": "coco"}
LABELLED = {"set": {"labels.kind": "self_training", "batch_size": 16}}
FROM_FILE = {"init": {"source": "file", "weights": "w/faster.pt", "weights_norm": "gn"}}


def study_of(arm: dict[str, Any], data: dict[str, Any] = COCO) -> Study:
    return build_study(data=data, arms={"scratch": {}, "other": arm})


def facts_with(*detectors: str) -> DataFacts:
    return made_up_facts({"full": 1000}, detector_files=detectors)


def keys(study: Study, facts: DataFacts) -> set[str]:
    return {caveat.key for caveat in find_seen_holdout(study, facts)}


def test_a_teacher_in_a_file_has_probably_seen_the_hold_out_of_coco() -> None:
    study = study_of(LABELLED | {"teacher": {"file": "teacher.pt"}})
    (caveat,) = find_seen_holdout(study, facts_with())
    assert (caveat.key, caveat.regime, caveat.arm) == ("seen-holdout:full/other", "full", "other")
    assert "we cannot check what teacher.pt was trained on" in caveat.text
    assert "the hold-out that the search selects on" in caveat.text


def test_a_file_counts_if_it_holds_a_detector_and_not_if_it_holds_a_classifier() -> None:
    study = study_of({"set": FROM_FILE})
    assert keys(study, facts_with("w/faster.pt")) == {"seen-holdout:full/other"}
    assert keys(study, facts_with()) == set()


def test_a_published_detector_by_name_has_seen_the_hold_out_too() -> None:
    name = "RetinaNet_ResNet50_FPN_Weights.COCO_V1"
    init = {"source": "detector", "weights": name}
    resnet = {"detector.backbone": "resnet50", "detector.norm": "frozen_bn"}
    assert keys(study_of({"set": resnet | {"init": init}}), facts_with()) == {
        "seen-holdout:full/other"
    }


def test_a_student_inherits_its_teachers_file() -> None:
    arms = {"scratch": {}, "tutor": {"set": FROM_FILE}, "student": LABELLED | {"teacher": "tutor"}}
    study = build_study(data=COCO, arms=arms)
    found = keys(study, facts_with("w/faster.pt"))
    assert found == {"seen-holdout:full/tutor", "seen-holdout:full/student"}


@pytest.mark.parametrize(
    ("data", "num"),
    [
        (COCO, 1),
        (COCO | {"dataset": "lvis"}, 1),
        (COCO | {"select_on": {"holdout": "20%"}}, 1),
        (COCO | {"select_on": "val"}, 0),  # no image of train2017
        ({"dataset": "shapes", "select_on": {"holdout": 50}}, 0),
        (
            {
                "dataset": {
                    "train": {"images": "coco/train2017", "annotations": "keypoints.json"},
                    "val": {"images": "coco/val2017", "annotations": "val.json"},
                },
                "select_on": {"holdout": 500},
                "report_on": "val",
            },
            1,
        ),
    ],
    ids=["coco", "lvis", "share", "val", "shapes", "own files"],
)
def test_only_a_hold_out_of_cocos_training_images_is_seen(data: dict[str, Any], num: int) -> None:
    assert len(keys(study_of({"set": FROM_FILE}, data), facts_with("w/faster.pt"))) == num


def test_most_of_the_reporting_images_of_lvis_are_seen_too() -> None:
    study = study_of({"set": FROM_FILE}, COCO | {"dataset": "lvis"})
    (caveat,) = find_seen_holdout(study, facts_with("w/faster.pt"))
    assert "LVIS's val" in caveat.text
