"""What a study is refused for before it starts: files and annotations that are not there."""

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from rethink_ray.cli import app
from rethink_ray.commands.planning import plan_lines
from rethink_ray.records.lock import writing
from rethink_ray.session import load_study_input, start_study
from rethink_ray.spec.errors import DataError, RecordError, SpecError
from tests.refusals import refused

SHAPES = {"train": 12, "val": 4, "test": 4, "image_px": 64, "unlabelled": 4}


def written(folder: Path, resources: dict[str, int] | None = None, **arm: Any) -> str:
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
    path.write_text(yaml.safe_dump(tree))
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
