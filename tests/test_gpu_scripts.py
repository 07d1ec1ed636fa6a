"""The scripts about GPUs, on a CPU: a simulated cluster by pencil, and that every row runs."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import SECONDS_BETWEEN_JOBS, JobTimes
from rethink_ray.search.paces import Pace
from tests.search.search_builders import facts_of, small_study

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
STEADY = Pace(
    seconds_per_update=0.5, seconds_per_scored_image=0.01, seconds_to_start=2.0, spread=0.0
)
TRIAL_SECONDS = 680 * 0.5 + 3 * (200 * 0.01 + 2.0 + SECONDS_BETWEEN_JOBS)
"""2x, 4x and 6x cost 200, 240 and 240 updates; each is a job, scored on 200 images."""


@pytest.fixture(autouse=True)
def scripts_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def run_on(num_trials: int, **machines: Any) -> tuple[Any, StudyState]:
    """What became of trials that all run up to 6x, on a cluster of nodes of 8 GPUs."""
    from gpu_cluster import GpuCluster, Machines

    study = small_study(
        regimes={"full": {"images": "all"}},
        arms={"scratch": {}},
        budget={"trials": num_trials, "replicates": 0},
        resources={"retries": 1000},
    )
    facts, state = facts_of(study), StudyState()
    times = JobTimes(study=study, facts=facts, paces={"": STEADY}, state=state)
    cluster = GpuCluster(
        study=study,
        facts=facts,
        times=times,
        machines=Machines(gpus_per_job=8, **machines),
        state=state,
    )
    return cluster.run(), state


def test_micro_batches_of_two_stages_cost_a_third_more_and_workers_what_they_exchange() -> None:
    from gpu_paces import JobGpus, seconds_per_update

    from rethink_ray.spec.load import find_study, load_study
    from rethink_ray.spec.resolve import base_recipe, cells_of

    study, _ = load_study(find_study("he_2018"))
    recipe = base_recipe(study, cells_of(study)[0])
    assert recipe.batch_size == 16
    whole = seconds_per_update(recipe, JobGpus(num=1))
    assert seconds_per_update(recipe, JobGpus(num=1, images_per_step=16)) == whole
    cut = seconds_per_update(recipe, JobGpus(num=1, images_per_step=8))
    assert cut == pytest.approx(whole * 4 / 3)
    shared = seconds_per_update(recipe, JobGpus(num=8, images_per_step=8))
    assert shared == pytest.approx(whole / 7.68)


def test_trials_share_steady_nodes_and_take_their_paces() -> None:
    alone, _ = run_on(2, gpus=8)
    assert alone.hours * 3600 == pytest.approx(2 * TRIAL_SECONDS)
    assert (alone.busy_share, alone.lost_jobs) == (pytest.approx(1.0), 0)
    side_by_side, _ = run_on(2, gpus=24)
    assert side_by_side.hours * 3600 == pytest.approx(TRIAL_SECONDS)
    assert side_by_side.busy_share == pytest.approx(2 / 3)
    assert side_by_side.paid_gpu_hours == pytest.approx(24 * TRIAL_SECONDS / 3600)
    assert side_by_side.hours_without_queue == pytest.approx(side_by_side.hours)


def test_a_slow_node_takes_longer_by_its_factor() -> None:
    slow, _ = run_on(1, gpus=8, slow_share=1.0, slow_factor=1.5)
    assert slow.hours * 3600 == pytest.approx(1.5 * TRIAL_SECONDS, rel=0.01)


def test_lost_nodes_cost_hours_and_no_result() -> None:
    steady, whole = run_on(4, gpus=16)
    losing, state = run_on(4, gpus=16, hours_between_losses=0.05, hours_to_repair=0.01)
    assert losing.is_done
    assert losing.lost_jobs > 0
    assert losing.hours > steady.hours
    assert 0 < losing.repeated_gpu_hours < losing.lost_jobs * 8 * 60 / 3600  # a checkpoint a minute
    assert state.rungs.keys() == whole.rungs.keys()


def test_a_row_that_fails_says_why_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import benchmark_gpu
    from gpu_rows import ROWS, Bench, Measure

    def rows(bench: Bench) -> Iterator[tuple[str, Measure]]:
        yield "broken", lambda: {"never": 1 / 0}
        yield "whole", lambda: {"number": 1.23456}

    monkeypatch.setitem(ROWS, "made_up", rows)
    bench = Bench(device=torch.device("cpu"), small=True, turns=1, ends_at=math.inf)
    benchmark_gpu.run_rows(bench, ["made_up"], tmp_path / "rows.json")
    broken, whole = json.loads((tmp_path / "rows.json").read_text())
    assert broken["error"].startswith("ZeroDivisionError: division by zero (test_gpu_scripts.py:")
    assert whole["number"] == 1.235
    bench.ends_at = time.monotonic() - 1.0
    benchmark_gpu.run_rows(bench, ["made_up"], tmp_path / "late.json")
    assert "left_out" in json.loads((tmp_path / "late.json").read_text())[1]


@pytest.mark.slow
def test_every_row_of_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "benchmark_gpu.py"), "--device", "cpu", "--small"]
    command += ["--minutes", "60", "--json", str(tmp_path / "rows.json")]
    subprocess.run(command, capture_output=True, check=True)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row for row in rows if "error" in row or "left_out" in row] == []
    by_name = {(row["group"], row["row"]): row for row in rows}
    [ladder] = [row for row in rows if row["group"] == "ladder"]
    assert (ladder["was_stopped"], ladder["equal"]) == (True, True)
    parity = [row["update_relative_difference"] for row in rows if row["group"] == "parity"]
    assert parity == [0.0] * 7  # both devices are the CPU
    assert by_name["training", "mask_rcnn bf16 batch 2"]["torchvision_images_s"] > 0
    groups = list(dict.fromkeys(row["group"] for row in rows))
    assert groups == [
        *("machine", "parity", "ladder", "training", "scoring", "saving", "loader", "sharing")
    ]
