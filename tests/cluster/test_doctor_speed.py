"""What the preflight says about speed: loader processes, and trials that share a GPU."""

from pathlib import Path

import pytest
from micro_study import micro_study

from rethink_ray.cluster.doctor.loader_pace import (
    check_loader,
    examine_loader,
    list_augmented,
    propose_loader_workers,
)
from rethink_ray.cluster.doctor.mps import check_mps, is_mps_running
from rethink_ray.spec.study import ResourceSpec


@pytest.mark.parametrize(
    ("milliseconds", "images_per_second", "processes"),
    [
        (40, 78, 4),  # 0.04 x 78 x 1.25 = 3.9
        (40, 80, 4),  # exactly 4
        (40, 81, 5),
        (77, 60, 6),  # 5.8: Copy-Paste with jitter
        (1, 30, 1),
    ],
)
def test_a_quarter_more_is_read_than_trained_on(
    milliseconds: float, images_per_second: float, processes: int
) -> None:
    assert propose_loader_workers(milliseconds / 1000, images_per_second) == processes


def test_too_few_loader_processes_are_named_with_the_number_to_write() -> None:
    resources = ResourceSpec(gpus_per_worker=1, cpus_per_worker=2, loader_workers=3)
    slow = check_loader(resources, 0.04, 78)
    assert not slow.ok
    assert "reads 25" in slow.detail
    assert "set resources.loader_workers: 4, and resources.cpus_per_worker: 4" in slow.detail
    assert check_loader(resources, 0.04, 60).ok  # 0.04 x 60 x 1.25 = 3


def test_the_loader_is_timed_where_a_gpu_might_wait_for_it() -> None:
    assert not list(examine_loader(micro_study(), 0))
    (check,) = examine_loader(micro_study(resources={"gpus_per_worker": 1}), 0)
    assert check.ok
    assert "needs resources.loader_workers: " in check.detail


def test_cells_whose_images_are_augmented_alike_are_timed_once() -> None:
    two = {"set": {"augment.flip": 0.0}}
    study = micro_study(arms={"a": {}, "b": {"set": {"optimizer.momentum": 0.8}}, "c": two})
    assert {cell.arm for cell, _ in list_augmented(study)} == {"a", "c"}


def test_trials_that_share_a_gpu_take_turns_unless_the_daemon_runs(tmp_path: Path) -> None:
    for number, name in ((1, "python"), (22, "nvidia-cuda-mps")):
        assert not is_mps_running(tmp_path)
        process = tmp_path / str(number)
        process.mkdir()
        (process / "comm").write_text(f"{name}\n")
    assert is_mps_running(tmp_path)
    assert "at the same time" in check_mps(("a", True)).detail
    mixed = check_mps(("b", False), ("a", True))
    assert mixed.ok
    assert "not running on b: " in mixed.detail
