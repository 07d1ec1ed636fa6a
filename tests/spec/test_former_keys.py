"""Keys of version 0.1 that two keys have replaced: files and records that have them are read."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from rethink_ray.spec.load import load_config, load_study
from rethink_ray.spec.older_ids import first_trial_id
from rethink_ray.spec.recipe import DetectorSpec
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.settings import used_value_at, with_settings
from rethink_ray.spec.trial_config import TrialConfig
from tests.golden_words import assert_says
from tests.search.search_builders import small_study
from tests.spec.refusals import refused
from tests.spec.run_samples import TINY, sample, with_parts

FIRST: list[tuple[dict[str, Any], str]] = [
    ({}, "1795b86ca945"),
    ({"rpn_pre_nms": 500}, "08386fd2f958"),
    ({"rpn_pre_nms": 500, "rpn_post_nms": 200}, "75021710c113"),
    ({"rpn_post_nms": 1000, "nms_iou": 0.5}, "1795b86ca945"),
    ({"nms_iou": 0.6}, "012fd50b94ad"),
]
"""Settings of version 0.1 -> the id that it gave to a run with them."""


def counts(detector: DetectorSpec) -> tuple[int | None, ...]:
    return (
        *(detector.rpn_pre_nms_train, detector.rpn_pre_nms_test),
        *(detector.rpn_post_nms_train, detector.rpn_post_nms_test),
    )


def study_file(tmp_path: Path, **changes: Any) -> Path:
    tree = small_study(recipe="tiny_faster_rcnn").model_dump(mode="json", exclude_unset=True)
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(tree | changes))
    return path


def test_a_recorded_detector_has_both_numbers_that_its_one_number_was() -> None:
    recorded = '{"rpn_pre_nms": 500, "rpn_post_nms": 200, "cascade_ious": [0.5, 0.6]}'

    assert counts(DetectorSpec.model_validate_json(recorded)) == (500, 500, 200, 200)


def test_a_newer_key_wins_over_the_one_that_it_replaced() -> None:
    detector = DetectorSpec.model_validate({"rpn_post_nms": 200, "rpn_post_nms_test": 300})

    assert counts(detector)[2:] == (200, 300)


def test_an_exported_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    tree = sample().model_dump(mode="json")
    for key in ("rpn_pre_nms", "rpn_post_nms"):
        del tree["recipe"]["detector"][f"{key}_train"], tree["recipe"]["detector"][f"{key}_test"]
        tree["recipe"]["detector"][key] = 700
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))

    assert counts(load_config(path).recipe.detector) == (700, 700, 700, 700)


@pytest.mark.parametrize(
    "settings",
    [{"detector.rpn_pre_nms": 50}, {"detector": {"rpn_pre_nms": 50}}],
    ids=["path", "group"],
)
def test_a_study_file_sets_both_with_a_notice(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = study_file(tmp_path, arms={"scratch": {"set": settings}})

    with caplog.at_level(logging.WARNING):
        study, _ = load_study(path)

    assert counts(base_recipe(study, Cell("full", "scratch")).detector) == (50, 50, 100, 100)
    [notice] = caplog.messages
    assert_says("spec", "a key of version 0.1", notice.replace(str(path), "s.yaml"))


def test_a_study_cannot_search_what_became_two_numbers(tmp_path: Path) -> None:
    search = {"detector.rpn_post_nms": {"choice": [100, 200]}}
    path = study_file(tmp_path, search=search)

    facts = ["detector.rpn_post_nms_train and detector.rpn_post_nms_test"]
    with refused("a searched key of version 0.1", facts, path):
        load_study(path)


def test_a_record_that_searched_it_is_read() -> None:
    recipe = build_recipe("tiny_faster_rcnn")

    assert used_value_at(recipe, "detector.rpn_post_nms") == 100
    sampled = with_settings(recipe, {"detector.rpn_post_nms": 200}, "sampled")
    assert counts(sampled.detector) == (200, 200, 200, 200)


def test_what_an_arm_sets_under_the_former_key_is_not_searched() -> None:
    study = small_study(
        recipe="tiny_faster_rcnn",
        arms={"scratch": {"set": {"detector.rpn_post_nms": 50}}},
        search={"detector.rpn_post_nms_test": {"choice": [100, 200]}},
    )

    assert not space_of(study, Cell("full", "scratch"))


@pytest.mark.parametrize(("settings", "first_id"), FIRST)
def test_a_run_of_version_0_1_keeps_its_id(settings: dict[str, Any], first_id: str) -> None:
    tree = {"family": "faster_rcnn", **TINY.model_dump(exclude_unset=True), **settings}
    detector = DetectorSpec.model_validate(tree | {"family": "faster_rcnn"})

    run: TrialConfig = sample(with_parts(detector=detector))

    assert first_trial_id(run) == first_id


def test_a_published_value_is_searched_like_one_that_stands_in_the_recipe() -> None:
    study = small_study(
        recipe="tiny_faster_rcnn", search={"detector.nms_iou": {"uniform": [0.4, 0.7]}}
    )

    assert build_recipe("tiny_faster_rcnn").detector.nms_iou is None
    assert used_value_at(base_recipe(study, Cell("full", "scratch")), "detector.nms_iou") == 0.5
