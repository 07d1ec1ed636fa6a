"""A network's input on its way through a run: record, model, first stage, teacher and student."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.data.splits import open_split
from rethink_ray.detection.detectors import build_detector
from rethink_ray.detection.pixel_norm import input_of_model
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.pixel_input import IMAGENET
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig, with_seeds
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.run import evaluate_checkpoint, load_model, train_config
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.runs import climb

DETECTRON: dict[str, Any] = {
    "mean": [102.9801, 115.9465, 122.7717],
    "std": [1.0, 1.0, 1.0],
    "order": "bgr",
    "scale": 255,
}
HALF: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.5] * 3}
BOXES: dict[str, Any] = {"detector__detections": 5, "batch_size": 4}


def state_of(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = load_checkpoint(folder / "models" / "2x.pt")["model"]
    return state


def test_a_run_has_its_input_in_its_record_and_in_its_model(tmp_path: Path) -> None:
    recipe = micro_recipe(init__input=DETECTRON, schedule__lengths=[2.0])
    [rung] = train_config(micro_trial(recipe), tmp_path)
    [record] = tmp_path.rglob("effective.json")
    recorded = json.loads(record.read_text())
    assert recorded["effective"]["init.input"] == DETECTRON
    assert recorded["model"]["input"]["order"] == "bgr"
    assert recorded["model"]["input"]["mean"] == pytest.approx([0.403844, 0.454692, 0.481457], 1e-5)
    assert recipe.init.input is not None
    assert load_model(tmp_path).detector.pixel_norm.is_set_to(recipe.init.input)
    scores = evaluate_checkpoint(tmp_path, "test")
    assert {k: repr(v) for k, v in scores.items()} == {
        k: repr(v) for k, v in rung.metrics.items() if k.startswith("test/")
    }


def test_the_second_stage_has_the_input_of_the_first(tmp_path: Path) -> None:
    direct = {"passes": 2.0, "batch_size": 4, "norm": "gn", "warmup": 1}
    recipe = micro_recipe(init={"source": "direct", "input": HALF}, direct=direct)
    config = with_seeds(micro_trial(recipe), 1, 5)
    [first] = assets_of(config)
    build_asset(first, MICRO_DATA, tmp_path / "assets")
    climb(config, tmp_path, (2.0,))
    [weights] = (tmp_path / "assets" / first.key / "models").iterdir()
    assert input_of_model(load_checkpoint(weights)["model"]).mean == (0.5, 0.5, 0.5)
    assert input_of_model(state_of(tmp_path)).mean == (0.5, 0.5, 0.5)


def taught_by(path: Path, teachers_input: Any = None, own_input: Any = None) -> TrialConfig:
    told = micro_recipe(**BOXES, init__input=teachers_input)
    teacher = micro_trial(told, seed=0).model_copy(
        update={"weights_file": str(path), "weights_digest": digest_of_file(str(path), "test")}
    )
    run = micro_trial(micro_recipe(**BOXES, labels__kind="continued", init__input=own_input))
    return with_seeds(run, 1, None, teacher)


def write_teacher(path: Path, *, is_ours: bool) -> None:
    trial = micro_trial(micro_recipe(**BOXES, init__input=DETECTRON))
    init = InitSpec(input=trial.recipe.init.input)
    detector = build_detector(trial.recipe.detector, init, trial.num_categories, seed=5)
    state = detector.state_dict()
    if is_ours:
        categories = list(open_split(MICRO_DATA, "train").categories)
        save_checkpoint(path, {"model": state, "categories": categories})
    else:
        torch.save({k: v for k, v in state.items() if "pixel_norm" not in k}, path)


@pytest.mark.parametrize(
    ("is_ours", "teachers_input", "is_bgr"),
    [(True, None, True), (False, None, False), (False, DETECTRON, True)],
)
def test_a_student_goes_on_with_the_input_of_its_teacher(
    tmp_path: Path, is_ours: bool, teachers_input: Any, is_bgr: bool
) -> None:
    path = tmp_path / "teacher.pth"
    write_teacher(path, is_ours=is_ours)
    config = taught_by(path, teachers_input)
    [teacher] = assets_of(config)
    build_asset(teacher, MICRO_DATA, tmp_path / "assets")
    climb(config, tmp_path, (2.0,))
    taken = input_of_model(state_of(tmp_path))
    assert (taken.order == "bgr") == is_bgr
    assert (taken == IMAGENET) != is_bgr


def test_a_stated_input_that_the_weights_contradict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    write_teacher(path, is_ours=True)
    misled = taught_by(path, teachers_input=HALF)
    with pytest.raises(SpecError, match="init.input: must be that of the weights it starts from"):
        build_asset(assets_of(misled)[0], MICRO_DATA, tmp_path / "misled")
    student = taught_by(path, own_input=HALF)
    build_asset(assets_of(student)[0], MICRO_DATA, tmp_path / "assets")
    with pytest.raises(SpecError, match="init.input: must be that of the weights it starts from"):
        climb(student, tmp_path, (2.0,))
