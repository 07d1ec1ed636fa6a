"""What each trial records of itself: how far its backbone went, and what its method costs."""

import json
from pathlib import Path

import torch

from rethink_ray.detection.flops import step_flops_per_image
from tests.builders import micro_recipe, micro_trial
from tests.training.runs import climb

DRIFT = "train/backbone_drift"


def test_a_rung_records_how_far_its_backbone_went_and_a_longer_one_went_further(
    tmp_path: Path,
) -> None:
    trial = micro_trial(micro_recipe(optimizer__lr=0.05))
    short, long = climb(trial, tmp_path / "ladder", (2.0, 4.0))

    assert 0.0 < short.metrics[DRIFT] < long.metrics[DRIFT] < 1.0
    [alone] = climb(trial, tmp_path / "alone", (4.0,))
    assert alone.metrics[DRIFT] == long.metrics[DRIFT]


def test_drift_counts_from_the_first_update_however_often_a_run_was_resumed(tmp_path: Path) -> None:
    trial = micro_trial()
    [whole] = climb(trial, tmp_path / "whole", (3.0,))

    climb(trial, tmp_path / "parts", (2.0,))
    [resumed] = climb(trial, tmp_path / "parts", (3.0,))

    assert resumed.metrics[DRIFT] == whole.metrics[DRIFT]


def test_a_trial_records_its_trained_share_and_the_operations_of_its_update(
    tmp_path: Path,
) -> None:
    trial = micro_trial()
    [rung] = climb(trial, tmp_path, (2.0,))

    detector, cpu = trial.recipe.detector, torch.device("cpu")
    per_image = step_flops_per_image(detector, "none", trial.num_categories, cpu)
    assert rung.step_flops == trial.recipe.batch_size * per_image
    assert rung.trained_share == 1.0
    assert (rung.peak_memory_of, rung.peak_memory_bytes > 0) == ("process", True)
    told = json.loads((tmp_path / "effective.json").read_text())["model"]
    assert (told["step_flops"], told["trainable_share"]) == (rung.step_flops, 1.0)


def test_the_effective_start_says_whether_residual_blocks_began_at_zero(tmp_path: Path) -> None:
    for asked in (False, True):
        climb(
            micro_trial(micro_recipe(init__zero_init_residual=asked)), tmp_path / str(asked), (2.0,)
        )
        told = json.loads((tmp_path / str(asked) / "effective.json").read_text())
        assert told["effective"]["init.zero_init_residual"] is asked
