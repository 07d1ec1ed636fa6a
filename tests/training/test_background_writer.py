"""A checkpoint is written by a thread while the run goes on: nothing is lost and no bit changes."""

import os
import signal
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rethink_ray.training.background_writer import BackgroundWriter, copy_to_host
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.ladder import Progress
from rethink_ray.training.stopping import Stopped
from tests.builders import micro_trial
from tests.training.runs import climb, digests, in_another_process, numbers, stop_after

LENGTHS = (2.0, 3.0)


def test_writes_run_in_order_and_their_errors_are_raised_once() -> None:
    writer, written, may_go_on = BackgroundWriter(), [], threading.Event()

    def write_late() -> None:
        may_go_on.wait()
        written.append("first")
        raise OSError("the disk refused")

    writer.start(write_late)
    writer.raise_error()  # it still runs
    may_go_on.set()
    with pytest.raises(OSError, match="refused"):
        writer.start(lambda: written.append("never"))
    writer.start(lambda: written.append("second"))
    writer.finish()
    assert written == ["first", "second"]
    writer.close()


def test_an_error_of_the_last_write_is_logged_when_a_run_ends_by_another_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> None:
        raise OSError("the disk refused")

    writer = BackgroundWriter()
    writer.start(refuse)
    writer.close()
    [record] = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the disk refused"


def test_a_copy_for_the_thread_does_not_change_when_training_goes_on() -> None:
    layer = nn.BatchNorm2d(2)
    content: dict[str, Any] = {"model": layer.state_dict(), "steps": [layer.bias], "step": 3}
    content["pair"] = (layer.bias, 0.9)
    copied = copy_to_host(content)
    with torch.no_grad():
        layer.bias += 1.0
    assert copied["model"]["bias"].tolist() == copied["steps"][0].tolist() == [0.0, 0.0]
    assert copied["pair"][0].tolist() == [0.0, 0.0]
    assert copied["pair"][1] == 0.9
    assert isinstance(copied["model"], OrderedDict)
    assert copied["model"]._metadata == layer.state_dict()._metadata  # type: ignore[attr-defined]
    assert not copied["steps"][0].requires_grad


def test_a_checkpoint_is_on_the_disk_when_a_run_has_stopped(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        climb(micro_trial(), tmp_path, LENGTHS, stop=stop_after(3), save_seconds=0.0)
    assert load_checkpoint(tmp_path / "trunk-000000003.pt")["step"] == 3
    assert not [thread for thread in threading.enumerate() if "checkpoint" in thread.name]


def climb_while_the_disk_hangs(cache: str, folder: Path) -> None:
    """The trunk's file never reaches the disk; two updates of the branch later the process dies."""

    def hang(handle: int) -> None:
        if threading.current_thread() is threading.main_thread():
            sync(handle)
            return
        hangs.set()
        threading.Event().wait()

    def die(progress: Progress) -> None:
        if progress.on_branch and progress.step == 6 and hangs.wait():
            os.kill(os.getpid(), signal.SIGKILL)

    os.environ["RETHINK_RAY_CACHE"] = cache
    torch.set_num_threads(1)
    hangs, sync, os.fsync = threading.Event(), os.fsync, hang
    climb(micro_trial(), folder, LENGTHS, progress=die)


def test_training_goes_on_while_a_file_is_written_and_a_kill_then_costs_time_alone(
    tmp_path: Path,
) -> None:
    whole = climb(micro_trial(), tmp_path / "whole", LENGTHS)
    folder = tmp_path / "killed"
    with pytest.raises(Stopped):
        climb(micro_trial(), folder, LENGTHS, stop=stop_after(3))
    cache = os.environ["RETHINK_RAY_CACHE"]
    process = in_another_process(climb_while_the_disk_hangs, cache, folder)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in folder.glob("trunk-*.pt")] == ["trunk-000000003.pt"]
    assert len([*folder.glob(".trunk-000000005.pt.*")]) == 1  # the file that was being written
    assert numbers(climb(micro_trial(), folder, LENGTHS)) == numbers(whole)
    assert digests(folder, LENGTHS) == digests(tmp_path / "whole", LENGTHS)
    assert not [*folder.glob(".trunk*")]
