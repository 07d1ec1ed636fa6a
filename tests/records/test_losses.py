"""Notes of a running trial: losses in its folder, and what its driver knows of all jobs."""

import math
from pathlib import Path

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.losses import (
    LossRow,
    append_losses,
    read_last_loss,
    read_losses,
)
from rethink_ray.records.run_progress import (
    PROGRESS_NAME,
    HoursRange,
    JobProgress,
    RunProgress,
    read_progress,
    write_progress,
)
from rethink_ray.session import start_study
from tests.records.small_records import FACTS, small_study


def row(step: int, loss: float = 1.0, *, length: float = 2.0, on_branch: bool = False) -> LossRow:
    return LossRow(
        length=length, on_branch=on_branch, step=step, total_steps=8, loss=loss, at=100.0
    )


def test_losses_are_read_as_they_were_noted(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    append_losses(path, [row(0, 2.5), row(1, 2.25)])
    append_losses(path, [row(5, 0.5, on_branch=True)])
    assert read_losses(path) == [row(0, 2.5), row(1, 2.25), row(5, 0.5, on_branch=True)]
    assert read_last_loss(path) == row(5, 0.5, on_branch=True)
    assert path.read_text().splitlines()[:2] == [
        "length,part,step,total_steps,loss,at",
        "2,trunk,0,8,2.5,100.0",
    ]


def test_an_update_that_a_resumed_run_repeats_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    append_losses(path, [row(0), row(1), row(2)])
    append_losses(path, [row(1), row(2), row(3)])
    assert [r.step for r in read_losses(path)] == [0, 1, 2, 3]


def test_a_branch_and_the_trunk_beside_it_are_two_curves(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    append_losses(path, [row(4), row(5, on_branch=True), row(5, length=3.0)])
    assert [(r.part, r.step) for r in read_losses(path)] == [
        ("trunk", 4),
        ("trunk", 5),
        ("2x", 5),
    ]


def test_a_torn_line_and_a_missing_file_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    assert read_losses(path) == []
    assert read_last_loss(path) is None
    append_losses(path, [row(0), row(1, math.nan)])
    with path.open("a") as file:
        file.write("2,trunk,2,8")
    assert [r.step for r in read_losses(path)] == [0, 1]
    last = read_last_loss(path)
    assert last is not None
    assert last.step == 1
    assert math.isnan(last.loss)


def test_what_a_driver_knows_is_read_back_and_is_none_where_nothing_can_be_read(
    tmp_path: Path,
) -> None:
    directory = start_study(tmp_path / "s", small_study(), "study: small\n", FACTS, {})
    assert read_progress(directory) is None
    job = JobProgress(
        job_id="a-2x",
        cell="full/scratch",
        purpose="search",
        started=90.0,
        length=2.0,
        updates_done=3,
        updates=8,
        loss=0.5,
    )
    left = HoursRange(low=1.0, expected=1.5, high=2.0)
    seen = RunProgress(at=100.0, slots=2, jobs=(job,), left=left, left_at=95.0)
    write_progress(directory, seen)
    assert read_progress(StudyDirectory.open(directory.root)) == seen
    (directory.root / PROGRESS_NAME).write_text("{")
    assert read_progress(directory) is None
