"""One writer per study; a dead one is taken over, a living one never."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rethink_ray.records.lock import NUM_READS, StudyLock, is_running, read_owner, writing
from rethink_ray.records.owner import Owner, encode_owner
from rethink_ray.spec.errors import RecordError
from tests.refusals import refused

HERE = Owner.this_process()
ELSEWHERE = replace(HERE, machine="another boot", started="1")
"""A process on another machine, whose host has this one's name, as containers like it."""


def held_by(path: Path, owner: Owner, num_beats: int = 0) -> Path:
    path.write_bytes(encode_owner(owner, num_beats))
    return path


def lock_at(path: Path, *acts: object) -> tuple[StudyLock, list[float]]:
    """A lock whose pauses take no time; in its i-th pause the i-th act is done instead."""
    waited: list[float] = []

    def pause(seconds: float) -> None:
        if len(waited) < len(acts) and callable(act := acts[len(waited)]):
            act()
        waited.append(seconds)

    return StudyLock(path, beat_seconds=10.0, pause=pause), waited


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    with writing(path):
        assert is_running(path)
        me = f"process {os.getpid()} on {platform.node()}, for \\d+ min"
        with refused(RecordError, "records", "a second writer", tmp_path) as caught:
            StudyLock(path).acquire()
        assert re.search(me, str(caught.value))
    assert not is_running(path)
    assert read_owner(path) is None


def test_a_killed_writer_on_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    program = (
        "import sys, pathlib; from rethink_ray.records.lock import StudyLock\n"
        "lock = StudyLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
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
    lock, waited = lock_at(path)
    lock.acquire()
    owner = read_owner(path)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert waited == []
    lock.release()


def test_a_pid_that_was_given_to_another_process_is_no_owner(tmp_path: Path) -> None:
    path = held_by(tmp_path / "writer.lock", replace(HERE, started="1"))
    with writing(path):
        assert is_running(path)


def test_a_silent_owner_elsewhere_is_taken_over_after_two_beats(tmp_path: Path) -> None:
    path = held_by(tmp_path / "writer.lock", ELSEWHERE)
    lock, waited = lock_at(path)
    lock.acquire()
    assert waited == [20.0 / NUM_READS] * NUM_READS + [10.0]  # two beats, then one to be sure
    owner = read_owner(path)
    assert owner is not None
    assert owner.machine == HERE.machine
    lock.release()
    assert not path.exists()


@pytest.mark.parametrize("looks_before", [0, NUM_READS - 1])
def test_an_owner_elsewhere_that_beats_is_never_taken_over(
    tmp_path: Path, looks_before: int
) -> None:
    path = held_by(tmp_path / "writer.lock", ELSEWHERE)
    acts = [None] * looks_before + [lambda: held_by(path, ELSEWHERE, num_beats=1)]
    lock, waited = lock_at(path, *acts)
    with pytest.raises(RecordError, match=f"process {ELSEWHERE.pid} on {ELSEWHERE.host}"):
        lock.acquire()
    assert len(waited) == looks_before + 1
    assert path.read_bytes() == encode_owner(ELSEWHERE, 1)


def test_clocks_of_other_machines_are_not_looked_at(tmp_path: Path) -> None:
    for since in (0.0, time.time() + 1e6):
        path = held_by(tmp_path / "writer.lock", replace(ELSEWHERE, since=since))
        lock, waited = lock_at(path)
        lock.acquire()
        assert len(waited) == NUM_READS + 1
        lock.release()


def test_an_owner_elsewhere_that_ends_meanwhile_frees_the_study(tmp_path: Path) -> None:
    path = held_by(tmp_path / "writer.lock", ELSEWHERE)
    lock, waited = lock_at(path, path.unlink)
    lock.acquire()
    assert waited == [2.5, 10.0]
    lock.release()


def test_of_two_machines_that_take_over_at_once_the_second_goes_on(tmp_path: Path) -> None:
    path = held_by(tmp_path / "writer.lock", ELSEWHERE)
    third = replace(ELSEWHERE, machine="a third boot")
    lock, _ = lock_at(path, *[None] * NUM_READS, lambda: held_by(path, third))
    with pytest.raises(RecordError, match=f"process {third.pid} on {third.host}"):
        lock.acquire()
    assert read_owner(path) == third


def test_a_writer_that_was_taken_over_notices_and_stops_writing(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    lock, _ = lock_at(path)
    lock.acquire()
    lock.beat()
    lock.require_held()
    before = held_by(path, ELSEWHERE).read_bytes()
    lock.beat()
    with refused(RecordError, "records", "a writer that was taken over", tmp_path):
        lock.require_held()
    lock.release()
    assert path.read_bytes() == before, "the new owner's lock stays"


def test_every_beat_changes_the_file_and_nothing_else_of_it(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    lock, _ = lock_at(path)
    lock.acquire()
    first = json.loads(path.read_bytes())
    lock.beat()
    second = json.loads(path.read_bytes())
    assert first.pop("beat") != second.pop("beat")
    assert first == second
    lock.release()


def test_a_damaged_lock_file_blocks_nobody_for_long(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    path.write_text("{")
    assert not is_running(path)
    lock, waited = lock_at(path)
    lock.acquire()
    assert len(waited) == NUM_READS + 1
    assert is_running(path)
    lock.release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "records").touch()
    with refused(RecordError, "records", "a lock that cannot be written", tmp_path):
        StudyLock(tmp_path / "records" / "writer.lock").acquire()
