"""Records, exported files and models of version 0.1 are read with the network that they had."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rethink_ray.spec.detector import DetectorSpec, Family
from rethink_ray.spec.load import load_config
from rethink_ray.spec.older_ids import YOUNGER_KEYS, first_trial_id
from rethink_ray.spec.older_records import (
    fill_first_config,
    fill_first_study,
    with_first_detector,
)
from rethink_ray.spec.recipe import DirectSpec
from rethink_ray.spec.resolve import Cell, TrialConfig, base_recipe
from rethink_ray.spec.study import Study
from tests.search.search_builders import small_study
from tests.spec.run_samples import TINY, sample, with_parts


def run_with(family: Family, **settings: Any) -> TrialConfig:
    return sample(with_parts(detector=TINY.model_copy(update={"family": family, **settings})))


def written_then(run: TrialConfig, **counts: Any) -> dict[str, Any]:
    """The run as version 0.1 wrote it: every key that there was."""
    tree = run.model_dump(mode="json")
    detector = tree["recipe"]["detector"]
    for key in YOUNGER_KEYS:
        del detector[key]
    del detector["neck_merge"], tree["recipe"]["init"]["input"]
    detector |= {"rpn_pre_nms": 2000, "rpn_post_nms": 1000, "nms_iou": 0.5} | counts
    if run.teacher is not None:
        tree["teacher"] = written_then(run.teacher)
    return tree


def detector_of(tree: dict[str, Any]) -> DetectorSpec:
    read = TrialConfig.model_validate_json(json.dumps(fill_first_config(tree)))
    return read.recipe.detector


def test_regions_were_pooled_by_seven_anchor_bases() -> None:
    assert detector_of(written_then(run_with("faster_rcnn"))).canonical_scale_px == 7 * 32
    small = written_then(run_with("faster_rcnn", anchor_base_px=8))
    assert detector_of(small).canonical_scale_px == 7 * 8


@pytest.mark.parametrize(
    ("family", "then"),
    [
        ("retinanet", {"nms_iou": 0.5, "box_loss": "l1", "p6_from": "p5"}),
        ("fcos", {"nms_iou": 0.5, "box_loss": "giou"}),
        ("faster_rcnn", {"box_loss": "smooth_l1", "box_loss_beta": 1 / 9}),
        ("cascade_rcnn", {"rpn_pre_nms_train": 2000, "rpn_pre_nms_test": 2000}),
        ("cascade_rcnn", {"rpn_post_nms_train": 1000, "rpn_post_nms_test": 1000}),
    ],
    ids=str,
)
def test_a_network_of_then_keeps_its_counts_and_losses(
    family: Family, then: dict[str, Any]
) -> None:
    written = detector_of(written_then(run_with(family))).as_published()
    resolved = with_first_detector(run_with(family)).recipe.detector.as_published()
    assert then.items() <= written.model_dump().items()
    assert resolved == written


def test_what_was_set_then_is_kept() -> None:
    tree = written_then(run_with("fcos"), nms_iou=0.3, rpn_pre_nms=70, rpn_post_nms=60)
    read = detector_of(tree)
    assert (read.nms_iou, read.rpn_pre_nms_test, read.rpn_post_nms_train) == (0.3, 70, 60)
    recorded = run_with("faster_rcnn", nms_iou=0.3, rpn_pre_nms_train=70, rpn_post_nms_train=60)
    first = with_first_detector(recorded).recipe.detector
    assert (first.nms_iou, first.rpn_pre_nms_test, first.rpn_post_nms_test) == (0.3, 70, 60)


def test_a_teacher_is_read_likewise() -> None:
    teacher = run_with("faster_rcnn", anchor_base_px=8)
    student = run_with("faster_rcnn").model_copy(update={"teacher": teacher})
    read = TrialConfig.model_validate(fill_first_config(written_then(student)), strict=False)
    first = with_first_detector(student)
    for run in (read, first):
        assert run.teacher is not None
        assert run.teacher.recipe.detector.canonical_scale_px == 56


def test_a_younger_configuration_stays_as_it_is() -> None:
    run = run_with("cascade_rcnn", canonical_scale_px=100, rpn_pre_nms_test=7)
    tree = run.model_dump(mode="json")
    assert TrialConfig.model_validate_json(json.dumps(fill_first_config(tree))) == run


def test_the_id_that_a_run_had_does_not_change() -> None:
    run = run_with("cascade_rcnn", anchor_base_px=8)
    assert first_trial_id(with_first_detector(run)) == first_trial_id(run)


@pytest.mark.parametrize(
    ("source", "scale"),
    [
        ({"fingerprint": "f"}, 56),  # version 0.1 named no identity
        ({"fingerprint": "f", "identity": "1"}, 56),
        ({"fingerprint": "f", "identity": "2"}, 224),
        ({}, 224),  # written by hand
    ],
    ids=str,
)
def test_an_exported_file_is_read_by_its_identity(
    source: dict[str, str], scale: int, tmp_path: Path
) -> None:
    tree = written_then(run_with("faster_rcnn", anchor_base_px=8)) | {"source": source}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert load_config(path).recipe.detector.canonical_scale_px == scale


@pytest.mark.parametrize(
    ("settings", "canvas"),
    [
        ({}, "image"),
        ({"direct.augment.canvas": "square"}, "square"),
        ({"direct": {"augment": {"canvas": "square"}}}, "square"),
    ],
    ids=["default", "path", "group"],
)
def test_a_recorded_first_stage_has_the_canvas_of_then(
    settings: dict[str, Any], canvas: str
) -> None:
    study = small_study(settings=settings)
    tree = study.model_dump(mode="json", exclude_unset=True)
    recorded = Study.model_validate_json(json.dumps(fill_first_study(tree)))
    cell = Cell("full", "scratch")
    assert base_recipe(recorded, cell).direct.augment.canvas == canvas
    assert DirectSpec().augment.canvas == "square"  # of a study file
