"""The four invariants of a run, bit for bit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from rethink_ray.records.types import RungDone
from rethink_ray.spec.load import load_config
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.run import train_config
from rethink_ray.training.stopping import Stopped
from rethink_ray.training.trial_files import RunFolders
from tests.builders import micro_recipe, micro_trial
from tests.training.runs import (
    climb,
    climb_with_stops,
    digest,
    digests,
    in_another_process,
    numbers,
    stop_after,
)

LENGTHS = (2.0, 3.0, 4.0)
AVERAGED = "retinanet bn averaged"
RECIPES = {
    "retinanet gn sgd": micro_recipe(),
    "faster_rcnn bn adamw": micro_recipe(
        "tiny_faster_rcnn",
        optimizer__name="adamw",
        optimizer__lr=0.002,
        detector__neck_norm="gn",
        detector__rpn_convs=2,
    ),
    "fcos gn bf16": micro_recipe("tiny_fcos", precision="bf16"),
    AVERAGED: micro_recipe(
        detector__norm="bn",
        optimizer__ema={"half_life": 0.5},
        schedule__decay__kind="one_minus_sqrt",
    ),
}


WholeLadder = Callable[[str], tuple[list[RungDone], Path]]
"""Recipe -> the rungs of its whole ladder without a stop, and its folder, which is only read."""


@pytest.fixture(scope="module")
def whole_ladder(tmp_path_factory: pytest.TempPathFactory) -> WholeLadder:
    climbed: dict[str, tuple[list[RungDone], Path]] = {}

    def climb_once(name: str) -> tuple[list[RungDone], Path]:
        if name not in climbed:
            folder = tmp_path_factory.mktemp("whole")
            climbed[name] = climb(micro_trial(RECIPES[name]), folder, LENGTHS), folder
        return climbed[name]

    return climb_once


@pytest.mark.parametrize("name", RECIPES)
def test_a_branch_equals_a_stand_alone_run_of_its_length(
    tmp_path: Path, whole_ladder: WholeLadder, name: str
) -> None:
    config = micro_trial(RECIPES[name])
    ladder, whole = whole_ladder(name)
    for rung in ladder[1:]:  # until the end of its first rung a ladder is a stand-alone run
        folder = tmp_path / f"{rung.length:g}"
        alone = climb(config, folder, (rung.length,))
        assert digest(folder, rung.length) == digest(whole, rung.length)
        assert numbers(alone) == numbers([rung])


@pytest.mark.parametrize("kind", ["constant", "cosine", "one_minus_sqrt"])
def test_other_decays_also_equal_their_stand_alone_runs(tmp_path: Path, kind: str) -> None:
    config = micro_trial(micro_recipe(schedule__decay__kind=kind))
    climb(config, tmp_path / "ladder", (2.0, 3.0))
    climb(config, tmp_path / "alone", (3.0,))
    assert digest(tmp_path / "ladder", 3.0) == digest(tmp_path / "alone", 3.0)


def test_a_stop_at_any_point_of_a_rung_changes_nothing(tmp_path: Path) -> None:
    config = micro_trial(RECIPES["faster_rcnn bn adamw"])
    whole = climb(config, tmp_path / "whole", (2.0,))
    questions = 8 + 1 + 2  # updates, before scoring, scored batches
    for asked in (0, 4, 7, 8, 10):
        folder = tmp_path / f"stop at {asked}"
        with pytest.raises(Stopped):
            climb(config, folder, (2.0,), stop=stop_after(asked))
        assert numbers(climb(config, folder, (2.0,))) == numbers(whole)
        assert digest(folder, 2.0) == digest(tmp_path / "whole", 2.0)
    assert climb(config, tmp_path / "never", (2.0,), stop=stop_after(questions))


@pytest.mark.parametrize("name", ["retinanet gn sgd", AVERAGED])
def test_many_stops_on_one_ladder_change_nothing(
    tmp_path: Path, whole_ladder: WholeLadder, name: str
) -> None:
    config = micro_trial(RECIPES[name])
    whole, whole_folder = whole_ladder(name)
    parts, stops = climb_with_stops(config, tmp_path / "parts", LENGTHS, every=4)
    assert stops >= 24 // 4
    assert numbers(parts) == numbers(whole)
    assert digests(tmp_path / "parts", LENGTHS) == digests(whole_folder, LENGTHS)


def test_stopping_right_after_a_rung_loses_nothing(
    tmp_path: Path, whole_ladder: WholeLadder
) -> None:
    config = micro_trial(RECIPES["retinanet gn sgd"])
    whole, whole_folder = whole_ladder("retinanet gn sgd")
    folder = tmp_path / "parts"
    folders = RunFolders(trial=folder, assets=folder, models=folder / "models")
    ladder = train_ladder(config, LENGTHS, folders, splits=("val",))
    first = next(ladder)
    ladder.close()
    with pytest.raises(Stopped):
        climb(config, folder, LENGTHS, stop=stop_after(0))
    rungs = climb(config, folder, LENGTHS)
    assert numbers(rungs[:1]) == numbers([first])
    assert rungs[0].at == first.at
    assert numbers(rungs) == numbers(whole)
    assert digests(folder, LENGTHS) == digests(whole_folder, LENGTHS)


def climb_until_killed(cache: str, folder: Path, steps_before_death: int) -> None:
    def die() -> bool:
        if next(questions) == steps_before_death:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    os.environ["RETHINK_RAY_CACHE"] = cache
    questions = iter(range(1_000_000))
    climb(micro_trial(RECIPES[AVERAGED]), folder, LENGTHS, stop=die, save_seconds=0.0)


def test_a_killed_process_is_continued_bit_for_bit(
    tmp_path: Path, whole_ladder: WholeLadder
) -> None:
    config = micro_trial(RECIPES[AVERAGED])
    whole, whole_folder = whole_ladder(AVERAGED)
    folder = tmp_path / "killed"
    for steps in (7, 14):
        process = in_another_process(
            climb_until_killed, os.environ["RETHINK_RAY_CACHE"], folder, steps
        )
        process.join()
        assert process.exitcode == -signal.SIGKILL
    rungs = climb(config, folder, LENGTHS)
    assert numbers(rungs) == numbers(whole)
    assert digests(folder, LENGTHS) == digests(whole_folder, LENGTHS)


def test_loader_workers_change_nothing(tmp_path: Path) -> None:
    with_two = climb(micro_trial(loader_workers=2), tmp_path / "two", (2.0,))
    alone = climb(micro_trial(), tmp_path / "none", (2.0,))
    assert numbers(with_two) == numbers(alone)
    assert digest(tmp_path / "two", 2.0) == digest(tmp_path / "none", 2.0)


def test_what_ran_before_in_the_process_changes_nothing(tmp_path: Path) -> None:
    config = micro_trial(RECIPES[AVERAGED], seed=5)
    alone = climb(config, tmp_path / "alone", (2.0,))
    climb(micro_trial(RECIPES["retinanet gn sgd"], seed=9), tmp_path / "other", (2.0,))
    torch.rand(17)
    after = climb(config, tmp_path / "after", (2.0,))
    assert numbers(after) == numbers(alone)
    assert digest(tmp_path / "after", 2.0) == digest(tmp_path / "alone", 2.0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_configuration_written_as_yaml_is_read_back_whole(tmp_path: Path, name: str) -> None:
    config = micro_trial(RECIPES[name])
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(path).trial_id == config.trial_id
    assert load_config(path).recipe == config.recipe


def test_a_configuration_written_as_yaml_reproduces_its_number(tmp_path: Path) -> None:
    config = micro_trial(RECIPES[AVERAGED])
    rungs = climb(config, tmp_path / "trial", LENGTHS, splits=("val", "test"))
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    again = train_config(load_config(path), tmp_path / "again")
    assert numbers(again) == numbers(rungs)
    assert json.loads((tmp_path / "again" / "rungs.json").read_text())["trial_id"] == (
        config.trial_id
    )
    assert digests(tmp_path / "again", LENGTHS) == digests(tmp_path / "trial", LENGTHS)
