"""The same study with and without a cluster, on one slot and on two, with and without accidents."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from micro_study import ONE_REGIME, results, start_micro
from processes import after_lines, kill_all, resumed, slots_of, wait_until_dead

from rethink_ray.cluster import run
from rethink_ray.cluster.run import Observers, run_study
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import is_running
from rethink_ray.records.types import Event, JobFailed, JobStarted, RungDone
from rethink_ray.spec.errors import DataError, SpecError

pytestmark = pytest.mark.ray


def test_two_slots_give_the_tables_of_a_plain_loop(
    tmp_path: Path, cluster: None, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "JOBS_PER_TUNER", 8)  # of about 10: a second Tuner goes on
    directory = start_micro(tmp_path / "study", **ONE_REGIME)
    outcome = run_study(directory, slots=2)
    assert outcome.status == "done"
    assert results(directory) == expected
    assert directory.optuna_journal_path.exists()
    again = run_study(StudyDirectory.open(directory.root), slots=2)
    assert again.status == "done"
    assert results(directory) == expected


def test_a_mistake_that_only_a_job_can_find_ends_the_study_with_that_error(
    tmp_path: Path, cluster: None
) -> None:
    gone = {"init.source": "file", "init.weights": "gone.pt", "init.weights_norm": "gn"}
    directory = start_micro(tmp_path / "study", arms={"scratch": {"set": gone}})
    with pytest.raises((SpecError, DataError), match=r"gone\.pt"):
        run_study(directory, slots=1)
    assert not is_running(directory.lock_path)
    assert not any(isinstance(event, JobFailed) for event in directory.log.read())


def test_one_slot_whose_process_is_killed_gives_the_same_tables(
    tmp_path: Path, cluster: None, expected: dict[str, Any]
) -> None:
    directory = start_micro(tmp_path / "study", **ONE_REGIME)
    num_started = 0

    def kill_in_the_third(event: Event) -> None:
        nonlocal num_started
        num_started += isinstance(event, JobStarted)
        if isinstance(event, JobStarted) and num_started == 3:
            kill_all(slots_of(os.getpid()))

    outcome = run_study(directory, slots=1, observers=Observers(listeners=(kill_in_the_third,)))
    assert outcome.status == "done"
    failures = [e for e in directory.log.read() if isinstance(e, JobFailed)]
    assert [e.reason for e in failures] == ["its process or its machine died"]
    assert results(directory) == expected


def test_a_study_that_is_stopped_or_killed_goes_on_to_the_same_tables(
    tmp_path: Path, cluster: None, expected: dict[str, Any]
) -> None:
    import ray

    directory = start_micro(tmp_path / "study", **ONE_REGIME)
    _interrupt(directory)
    _signal_the_whole_group(directory)
    _kill_driver_and_slots(directory, ray.get_runtime_context().gcs_address)
    kept = _rungs(directory)
    assert len(kept) >= 5
    assert not any(isinstance(event, JobFailed) for event in directory.log.read())
    assert run_study(StudyDirectory.open(directory.root), slots=2).status == "done"
    assert _rungs(directory)[: len(kept)] == kept
    assert results(directory) == expected


def _interrupt(directory: StudyDirectory) -> None:
    """SIGINT after a rung: jobs write checkpoints, no process is left, it says how to go on."""
    with resumed(directory.root, "--slots=1") as driver:
        family = after_lines(driver, "/ap ")
        driver.send_signal(signal.SIGINT)
        last_words = driver.communicate()[0].splitlines()[-1]
    assert last_words.startswith("stopped; nothing is lost. Go on with: rethink-ray resume ")
    assert driver.returncode == 128 + signal.SIGINT
    wait_until_dead(family)
    assert not is_running(directory.lock_path)
    waiting = [path for path in (directory.root / "trials").iterdir() if not _is_done(path)]
    assert all(list(path.glob("*.pt")) for path in waiting)


def _signal_the_whole_group(directory: StudyDirectory) -> None:
    """SIGTERM to Ray's own processes as well, as ``timeout`` and Slurm send it."""
    with resumed(directory.root, "--slots=1") as driver:
        family = after_lines(driver, "/ap ")
        os.killpg(driver.pid, signal.SIGTERM)
        said, complaint = driver.communicate()
    assert "rethink-ray resume " in said + complaint
    assert driver.returncode == 128 + signal.SIGTERM
    wait_until_dead(family)
    assert not is_running(directory.lock_path)


def _kill_driver_and_slots(directory: StudyDirectory, address: str) -> None:
    """SIGKILL for a driver that has joined our cluster, and for all slots of the cluster."""
    with resumed(directory.root, "--slots=1", "--address", address) as driver:
        after_lines(driver, "/ap ", 3)
        kill_all([driver.pid, *slots_of(os.getpid())])
        driver.communicate()
    assert not is_running(directory.lock_path)


def _is_done(trial: Path) -> bool:
    return (trial / "rungs.json").exists()


def _rungs(directory: StudyDirectory) -> list[RungDone]:
    return [event for event in directory.log.read() if isinstance(event, RungDone)]
