"""The same study with and without a cluster, on one slot and on two, with and without accidents."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from micro_study import results, run_inline, start_micro
from processes import alive, family_of, kill_all, slots_of

from rethink_ray.cluster import run
from rethink_ray.cluster.run import run_study
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import is_running
from rethink_ray.records.types import Event, JobFailed, RungDone
from rethink_ray.spec.errors import DataError, SpecError

pytestmark = pytest.mark.ray

DRIVER = """
import sys
from pathlib import Path
from rethink_ray.cluster import run
from rethink_ray.cluster.run import run_study
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.types import RungDone

def tell(event):
    if isinstance(event, RungDone):
        print("rung", flush=True)

directory = StudyDirectory.open(Path(sys.argv[1]))
outcome = run_study(directory, address=sys.argv[2] or None, slots=1, listeners=[tell])
print(outcome.status, outcome.signal, flush=True)
"""


@pytest.fixture(scope="session")
def expected(
    tmp_path_factory: pytest.TempPathFactory, data_cache: None
) -> dict[str, list[dict[str, Any]]]:
    """The tables of the study as one plain loop makes them, without any cluster."""
    directory = start_micro(tmp_path_factory.mktemp("inline") / "study")
    run_inline(directory)
    return results(directory)


def test_two_slots_give_the_tables_of_a_plain_loop(
    tmp_path: Path, cluster: None, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "JOBS_PER_TUNER", 16)  # of about 20: a second Tuner goes on
    directory = start_micro(tmp_path / "study")
    outcome = run_study(directory, slots=2)
    assert outcome.status == "done"
    assert results(directory) == expected
    assert directory.mirror_path.exists()
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
    directory = start_micro(tmp_path / "study")
    num_rungs = 0

    def kill_after_the_third(event: Event) -> None:
        nonlocal num_rungs
        num_rungs += isinstance(event, RungDone)
        if isinstance(event, RungDone) and num_rungs == 3:
            kill_all(slots_of(os.getpid()))

    outcome = run_study(directory, slots=1, listeners=[kill_after_the_third])
    assert outcome.status == "done"
    failures = [e for e in directory.log.read() if isinstance(e, JobFailed)]
    assert [e.reason for e in failures] == ["its process or its machine died"]
    assert results(directory) == expected


def test_a_study_stopped_by_a_signal_leaves_no_process_and_goes_on_to_the_same_tables(
    tmp_path: Path, cluster: None, expected: dict[str, Any]
) -> None:
    directory = start_micro(tmp_path / "study")
    driver = _start_driver(directory.root, address=None)
    family = _after_rungs(driver, 1)
    driver.send_signal(signal.SIGTERM)
    last_words = driver.communicate()[0].splitlines()[-1]
    assert last_words == f"stopped {int(signal.SIGTERM)}"
    assert driver.returncode == 0
    assert alive(family) == []
    assert not is_running(directory.lock_path)
    assert _rungs(directory) >= 1
    assert not any(isinstance(event, JobFailed) for event in directory.log.read())
    _kill_and_finish(directory, expected)


def _kill_and_finish(directory: StudyDirectory, expected: dict[str, Any]) -> None:
    """SIGKILL for a driver that has joined our cluster and for all slots; then to the end."""
    import ray

    address = ray.get_runtime_context().gcs_address
    kept = _rungs(directory)
    driver = _start_driver(directory.root, address)
    _after_rungs(driver, 3)
    kill_all([driver.pid, *slots_of(os.getpid())])
    driver.communicate()
    assert _rungs(directory) >= kept + 3
    assert not is_running(directory.lock_path)
    finished = [e for e in directory.log.read() if isinstance(e, RungDone)]
    assert run_study(StudyDirectory.open(directory.root), slots=2).status == "done"
    rungs = [e for e in directory.log.read() if isinstance(e, RungDone)]
    assert rungs[: len(finished)] == finished
    assert results(directory) == expected


def _start_driver(root: Path, address: str | None) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), address or ""],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def _after_rungs(driver: subprocess.Popen[str], num: int) -> list[int]:
    """The driver's family of processes, once it has recorded this many rungs."""
    assert driver.stdout is not None
    for _ in range(num):
        assert driver.stdout.readline() == "rung\n"
    return family_of(driver.pid)


def _rungs(directory: StudyDirectory) -> int:
    return sum(isinstance(event, RungDone) for event in directory.log.read())
