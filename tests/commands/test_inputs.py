"""What a study is refused for before it starts: files and annotations that are not there."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.commands.planning import plan_lines
from rethink_ray.detection.classifier import build_classifier
from rethink_ray.records.lock import writing
from rethink_ray.session import load_study_input, start_study
from rethink_ray.spec.errors import DataError, RecordError, SpecError
from rethink_ray.spec.recipe import DetectorSpec
from tests.data.data_files import voc_xml, write_voc
from tests.refusals import refused

SHAPES: dict[str, Any] = {"train": 12, "val": 4, "test": 4, "image_px": 64, "unlabelled": 4}


def written(
    folder: Path,
    resources: dict[str, int] | None = None,
    study: dict[str, Any] | None = None,
    **arm: Any,
) -> str:
    tree = {
        "resources": resources or {},
        "study": "micro",
        "data": {"dataset": "shapes", "shapes": SHAPES},
        "regimes": {"full": {"images": "all"}},
        "recipe": "tiny_faster_rcnn",
        "arms": {"a": arm},
        "budget": {"trials": 1, "replicates": 1},
    }
    path = folder / "micro.yaml"
    path.write_text(yaml.safe_dump(tree | (study or {})))
    return str(path)


def test_a_teacher_that_is_not_there_is_told_by_plan_and_refused_by_run(tmp_path: Path) -> None:
    teacher = {"file": "gone/teacher.pth"}
    path = written(tmp_path, set={"labels.kind": "self_training"}, teacher=teacher)
    with refused(DataError, "commands", "a teacher's file is missing", tmp_path):
        load_study_input(path)
    given = load_study_input(path, is_planned_only=True)
    lines = plan_lines(given.study, given.facts, 1, tmp_path)
    [line] = [line for line in lines if line.startswith("weights")]
    assert line.startswith("weights: gone/teacher.pth is NOT THERE (micro: arms.a.teacher.file)")


def test_a_plan_says_how_a_batch_is_cut_and_refuses_a_cut_that_does_not_come_out_even(
    tmp_path: Path,
) -> None:
    given = load_study_input(written(tmp_path, {"images_per_step": 2}))
    lines = list(plan_lines(given.study, given.facts, 1, tmp_path))
    assert "an update: batch 8 in 4 passes of 2 images (resources.images_per_step)" in lines
    with refused(SpecError, "commands", "a batch that does not divide", tmp_path):
        load_study_input(written(tmp_path, {"images_per_step": 3}))


def test_run_says_nothing_before_it_refuses_a_study_that_another_process_runs(
    tmp_path: Path,
) -> None:
    path = written(tmp_path)
    given = load_study_input(path)
    directory = start_study(tmp_path / "s", given.study, given.yaml_text, given.facts, {})
    with writing(directory.lock_path):
        told = CliRunner().invoke(app, ["run", path, "--out", str(tmp_path / "s")])
    assert isinstance(told.exception, RecordError)
    assert told.output == ""
    assert "must have one writer at a time" in str(told.exception)


def test_keypoints_that_the_annotations_lack_are_refused_before_the_first_trial(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, set={"detector.family": "keypoint_rcnn"})
    for planned in (True, False):
        with refused(SpecError, "commands", "annotations with fewer keypoints", tmp_path):
            load_study_input(path, is_planned_only=planned)


def test_a_study_knows_which_of_its_files_hold_a_detector(tmp_path: Path) -> None:
    """Of the same backbone, which fits: in a classifier, and in a detector."""
    tiny = DetectorSpec(backbone="tiny", norm="bn", width=8, neck_channels=8)
    backbone = build_classifier(tiny, 2, seed=0).backbone_state()
    tensors = {
        "classifier": backbone | {"fc.bias": torch.zeros(2)},
        "detector": backbone | {"rpn.head.conv.weight": torch.zeros(1)},
    }
    for name, state in tensors.items():
        path = str(tmp_path / f"{name}.pth")
        torch.save({f"backbone.{k}" if "rpn" not in k else k: v for k, v in state.items()}, path)
        init = {"source": "file", "weights": path, "weights_norm": "bn", "input": "imagenet"}
        settings = {"init": init, "detector.norm": "bn", "detector.width": 8}
        facts = load_study_input(written(tmp_path, set=settings)).facts
        assert facts.detector_files == ((path,) if name == "detector" else ())


def test_a_plan_says_how_many_images_each_regime_selects_on(tmp_path: Path) -> None:
    """Of 132 images 22 are held out: 20 % of the other 110. A regime of 50 has the least, 20."""
    study = {
        "data": {
            "dataset": "shapes",
            "shapes": SHAPES | {"train": 132, "image_px": 32},
            "select_on": {"holdout": "20%"},
        },
        "regimes": {"full": {"images": "all"}, "few": {"images": 50}},
    }
    given = load_study_input(written(tmp_path, study=study))
    lines = list(plan_lines(given.study, given.facts, 1, tmp_path))
    assert (
        "images: train 132, holdout 22, test 4 (regimes: few 50, full 110); 6 categories" in lines
    )
    held_out = "images to select on: few 20, full 22 (a share of each regime, outside all of them)"
    assert held_out in lines


def test_a_plan_compares_the_classes_of_the_runs_that_need_upstream_images(tmp_path: Path) -> None:
    for name in ("ants", "bees"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name / "0.png")
    data = {"dataset": "shapes", "shapes": SHAPES, "upstream": str(tmp_path / "set")}
    path = written(tmp_path, study={"data": data})
    load_study_input(path, is_planned_only=True)  # no arm starts from upstream
    path = written(tmp_path, study={"data": data}, set={"init.source": "upstream"})
    with pytest.raises(DataError, match=r"Set upstream\.classes: 2"):
        load_study_input(path, is_planned_only=True)
    load_study_input(path, ["settings.upstream.classes=2"], is_planned_only=True)


def test_boxes_that_begin_at_minus_one_hint_at_files_that_count_from_zero(tmp_path: Path) -> None:
    xml_of = {"a": voc_xml("a.jpg", [("cat", 0, 2, 9, 9)]), "b": voc_xml("b.jpg")}
    write_voc(tmp_path, xml_of, {"train": ["a"], "val": ["b"], "test": ["b"]})
    check = ["data", "check", "voc", "--set", f"data.root={tmp_path}"]
    hint = "if these files count pixels from 0, set data.voc_offset: 0"
    assert hint in CliRunner().invoke(app, check).stdout
    assert hint not in CliRunner().invoke(app, [*check, "--set", "data.voc_offset=0"]).stdout


def test_one_replicate_is_no_replicates(tmp_path: Path) -> None:
    study = {
        "schedule": {"lengths": [1, 2], "unit": 8, "warmup": 1, "decay": {"before_end": [0.5]}},
        "search": {"optimizer.lr": {"log_uniform": [0.01, 0.1]}},
        "budget": {"trials": 4, "replicates": 1},
    }
    given = load_study_input(written(tmp_path, study=study))
    lines = "\n".join(plan_lines(given.study, given.facts, 1, tmp_path))
    assert "each best configuration gets 1 replicate, and one may be" in lines


def test_a_plan_says_what_is_tried_first(tmp_path: Path) -> None:
    study = {
        "search": {
            "optimizer.lr": {"log_uniform": [0.005, 0.2]},
            "schedule.decay.factor": {"uniform": [0.01, 0.2]},
        },
        "try_first": [{"optimizer.lr": 0.04, "schedule.decay.factor": 0.02}],
        "budget": {"trials": 3, "replicates": 1},
        "arms": {"a": {}, "b": {"try_first": [{"optimizer.lr": 0.01}]}},
    }
    given = load_study_input(written(tmp_path, study=study))
    lines = list(plan_lines(given.study, given.facts, 1, tmp_path))
    both = "the recipe's own values; then optimizer.lr 0.04, schedule.decay.factor 0.02"
    assert f"tried first in full/a: {both}" in lines
    assert f"tried first in full/b: {both}; then optimizer.lr 0.01" in lines


def test_a_cell_that_copies_its_values_tries_nothing_first(tmp_path: Path) -> None:
    study = {
        "search": {"optimizer.lr": {"log_uniform": [0.005, 0.2]}},
        "try_first": [{"optimizer.lr": 0.04}],
        "budget": {"trials": 2, "replicates": 1},
        "arms": {"a": {}, "b": {}},
        "tuning": {"copy_from": "a"},
    }
    given = load_study_input(written(tmp_path, study=study))
    lines = list(plan_lines(given.study, given.facts, 1, tmp_path))
    tried = "the recipe's own values; then optimizer.lr 0.04"
    assert [x for x in lines if x.startswith("tried")] == [f"tried first in full/a: {tried}"]
    assert [x for x in lines if x.startswith(("tuned", "copied"))] == [
        "tuned in full/a: optimizer.lr log_uniform [0.005, 0.2]",
        "copied from full/a: full/b",
    ]
