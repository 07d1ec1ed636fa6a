"""What the machine does to a run: nothing finished is lost, and what is said names the remedy."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from rethink_ray.data.loader import LoaderDied
from rethink_ray.data.splits import open_split
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.errors import Infeasible
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import DiskFull, load_checkpoint, save_checkpoint, sweep
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.stopping import Interrupts, Stopped
from rethink_ray.training.trial_files import TrialFiles
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.runs import climb, digest, in_another_process, numbers, stop_after

ALONE = WorkerContext(device=torch.device("cpu"))


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_full_disk_leaves_the_old_file_and_says_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": 1})
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(
            DiskFull, match=r"a\.pt: must have room for 0\.0 MB, but got .* MB free"
        ):
            save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_run_that_met_a_full_disk_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = climb(micro_trial(), tmp_path / "whole", (2.0, 3.0))
    folder = tmp_path / "full"
    with pytest.raises(Stopped):
        climb(micro_trial(), folder, (2.0, 3.0), stop=stop_after(3))
    before = (folder / "trunk-000000003.pt").read_bytes()
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(DiskFull):
            climb(micro_trial(), folder, (2.0, 3.0))
    assert (folder / "trunk-000000003.pt").read_bytes() == before
    assert numbers(climb(micro_trial(), folder, (2.0, 3.0))) == numbers(whole)
    assert digest(folder, 3.0) == digest(tmp_path / "whole", 3.0)


@pytest.mark.parametrize("damage", ["cut short", "one bit"])
def test_a_damaged_branch_file_falls_back_to_the_trunk(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = climb(micro_trial(), tmp_path / "whole", (2.0,))
    folder = tmp_path / "damaged"
    with pytest.raises(Stopped):
        climb(micro_trial(), folder, (2.0,), stop=stop_after(7))
    raw = bytearray((folder / "branch.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "branch.pt").write_bytes(raw[: len(raw) // 2] if damage == "cut short" else raw)
    assert numbers(climb(micro_trial(), folder, (2.0,))) == numbers(whole)
    [record] = [r for r in caplog.records if "branch.pt" in r.getMessage()]
    text = record.getMessage().replace(str(folder), "FOLDER")
    assert_says("training", "damaged branch file", text)


def test_a_flipped_digit_in_a_finished_rung_is_noticed(tmp_path: Path) -> None:
    first = climb(micro_trial(), tmp_path, (2.0,))
    path = tmp_path / "rungs.json"
    path.write_text(path.read_text().replace('"steps": 8', '"steps": 9'))
    assert TrialFiles(tmp_path, micro_trial().trial_id).rung(2.0) is None
    assert numbers(climb(micro_trial(), tmp_path, (2.0,))) == numbers(first)


def test_rungs_of_the_first_version_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    climb(micro_trial(), tmp_path, (2.0,))
    path = tmp_path / "rungs.json"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if "sha256" not in line]
    path.write_text("\n".join(kept).replace("],\n}", "]\n}").replace(" ],\n", " ]\n"))
    assert TrialFiles(tmp_path, micro_trial().trial_id).rung(2.0) is not None


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path: Path) -> None:
    left = tmp_path / ".trunk-000000005.pt.4711-0a1b2c3d"
    for name in (left.name, ".keep", "trunk-000000005.pt"):
        (tmp_path / name).write_bytes(b"x")
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".keep", "trunk-000000005.pt"]


def test_a_killed_loader_worker_costs_time_and_nothing_else(tmp_path: Path) -> None:
    def kill_loader() -> bool:
        workers = multiprocessing.active_children()
        if workers:
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].join()
        return False

    config = micro_trial(loader_workers=1)
    with pytest.raises(LoaderDied, match="resources.loader_workers"):
        climb(config, tmp_path / "killed", (2.0,), stop=kill_loader)
    whole = climb(micro_trial(), tmp_path / "whole", (2.0,))
    assert numbers(climb(config, tmp_path / "killed", (2.0,))) == numbers(whole)


def test_a_picture_that_breaks_in_the_middle_is_counted_in_the_record(tmp_path: Path) -> None:
    config = micro_trial()
    index = open_split(config.data, "train")
    path = Path(index.entry(int(index.image_ids[0])).path)
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:40])
        [rung] = climb(config, tmp_path, (3.0,))  # 24 samples: each of the 12 images twice
    finally:
        path.write_bytes(whole)
    assert rung.data_faults == {"train/broken_since_indexed": 1}


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = climb(micro_trial(), tmp_path / "whole", (2.0, 3.0))
    jumps = iter(1e9 * (-1) ** n for n in range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    assert numbers(climb(micro_trial(), tmp_path / "jumps", (2.0, 3.0))) == numbers(whole)
    assert digest(tmp_path / "jumps", 3.0) == digest(tmp_path / "whole", 3.0)


def test_one_value_to_normalise_by_is_the_methods_own_failure(tmp_path: Path) -> None:
    recipe = micro_recipe(
        detector__norm="bn", detector__min_side_px=32, detector__max_side_px=32, batch_size=1
    )
    with pytest.raises(Infeasible, match="detector.norm bn") as caught:
        climb(micro_trial(recipe), tmp_path, (2.0,))
    text = str(caught.value).partition(", but got")[0]
    assert_says("training", "one value to normalise by", text)


@pytest.mark.parametrize(
    ("batch_size", "workers", "fewer"),
    [(8, 0, 4), (8, 2, 2), (12, 0, 6), (6, 0, 2), (2, 0, None), (8, 8, None), (1, 0, None)],
)
def test_the_micro_batches_that_are_suggested_can_be_run(
    batch_size: int, workers: int, fewer: int | None
) -> None:
    config = micro_trial(micro_recipe(batch_size=batch_size), workers=workers)
    with pytest.raises(Infeasible) as caught, one_outcome(config, ALONE):
        raise MemoryError
    told = str(caught.value)
    assert ("images_per_step" in told) == (fewer is not None)
    assert fewer is None or f"Try resources.images_per_step: {fewer} (the gradient stays" in told
    assert ("Try batch_size: 1, or" in told) == (batch_size == 2)
    assert "detector.min_side_px: 32 and detector.max_side_px: 32" in told


def asset(**settings: Any) -> AssetSpec:
    return assets_of(micro_trial(micro_recipe(init__source="upstream", **settings)))[0]


def build_until_killed(cache: str, folder: Path, steps_before_death: int) -> None:
    def die() -> bool:
        if next(questions) == steps_before_death:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    os.environ["RETHINK_RAY_CACHE"] = cache
    questions = iter(range(1_000_000))
    build_asset(asset(), MICRO_DATA, folder, interrupts=Interrupts(stop=die, save_seconds=0.0))


def backbone(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(folder / asset().key / "backbone.pt")[
        "backbone"
    ]
    return found


def test_a_killed_classifier_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    build_asset(asset(), MICRO_DATA, tmp_path / "whole")
    folder = tmp_path / "killed"
    process = in_another_process(build_until_killed, os.environ["RETHINK_RAY_CACHE"], folder, 5)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert load_checkpoint(folder / asset().key / "checkpoint.pt")["step"] == 4
    build_asset(asset(), MICRO_DATA, folder)
    whole, killed = backbone(tmp_path / "whole"), backbone(folder)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_a_damaged_classifier_is_built_again_before_the_run_starts(tmp_path: Path) -> None:
    config = micro_trial(micro_recipe(init__source="upstream"))
    done = build_asset(asset(), MICRO_DATA, tmp_path / "assets")
    before = backbone(tmp_path / "assets")
    path = tmp_path / "assets" / asset().key / "backbone.pt"
    path.write_bytes(path.read_bytes()[:-1])
    climb(config, tmp_path, (2.0,))
    after = backbone(tmp_path / "assets")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert build_asset(asset(), MICRO_DATA, tmp_path / "assets").metrics == done.metrics
