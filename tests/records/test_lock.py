"""One writer per study; a dead one is taken over."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rethink_ray.records.lock import StudyLock, is_running, read_owner, writing
from rethink_ray.spec.errors import RecordError


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    with writing(path):
        assert is_running(path)
        with pytest.raises(
            RecordError, match=f"one writer at a time, but got 'process {os.getpid()}"
        ):
            StudyLock(path).acquire()
    assert not is_running(path)
    assert read_owner(path) is None


def test_a_killed_writer_on_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    program = (
        "import sys, pathlib; from rethink_ray.records.lock import StudyLock\n"
        "StudyLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(RecordError, match=f"process {child.pid}"):
        StudyLock(path).acquire()
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()
    with writing(path):
        owner = read_owner(path)
        assert owner is not None
        assert owner["pid"] == os.getpid()


def test_a_pid_that_was_given_to_another_process_is_no_owner(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    stale = {"pid": os.getpid(), "host": platform.node(), "started": "1", "beat": time.time()}
    path.write_text(json.dumps(stale))
    with writing(path):
        assert is_running(path)


@pytest.mark.parametrize(("silent", "lives"), [(5.0, True), (300.0, False)])
def test_a_writer_elsewhere_lives_as_long_as_it_beats(
    tmp_path: Path, silent: float, lives: bool
) -> None:
    path = tmp_path / "writer.lock"
    other = {"pid": 1, "host": "elsewhere", "started": "1", "beat": time.time() - silent}
    path.write_text(json.dumps(other))
    assert is_running(path) is lives


def test_a_damaged_lock_file_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    path.write_text("{")
    with writing(path):
        assert is_running(path)
