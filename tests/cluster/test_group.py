"""Several workers train one trial through Ray Train, into the same records, and one may die."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from micro_study import results, start_micro
from processes import kill_all, train_workers_of

from rethink_ray.cluster.group import _find_cause, _is_lost_connection, note_end
from rethink_ray.cluster.mailbox import Mailbox
from rethink_ray.cluster.run import Observers, run_study
from rethink_ray.records.types import AssetDone, JobFailed, TrialEnded
from rethink_ray.spec.errors import DataError, RethinkError
from tests.golden_words import assert_says


@pytest.mark.ray
def test_a_trial_of_two_workers_outlives_one_of_them_and_reaches_the_records_like_any_other(
    tmp_path: Path, cluster: None
) -> None:
    directory = start_micro(
        tmp_path / "study",
        regimes={"full": {"images": "all"}},
        arms={"scratch": {}},
        schedule={"unit": 40, "lengths": [2.0], "warmup": 2, "decay": {"before_end": [0.75]}},
        budget={"trials": 1, "keep": [1], "replicates": 0},
        resources={"workers": 2},
    )
    training = threading.Thread(target=_kill_one_worker_once_it_trains, args=(directory.root,))
    training.start()
    told: list[float] = []
    outcome = run_study(
        directory,
        observers=Observers(
            listeners=(lambda e: told.append(e.length) if hasattr(e, "length") else None,)
        ),
    )
    training.join()
    assert outcome.status == "done", outcome
    failures = [e.reason for e in directory.log.read() if isinstance(e, JobFailed)]
    assert failures == ["a worker's process or its machine died"]
    assert told == [2.0]
    rungs = results(directory)["rungs"]
    assert [row["steps"] for row in rungs] == [80]
    assert 0.0 <= rungs[0]["val/ap"] <= 100.0
    folder = directory.trial_dir(rungs[0]["trial_id"])
    assert (folder / "effective.json").exists()
    assert not list(folder.glob("mailbox*"))


def _kill_one_worker_once_it_trains(root: Path) -> None:
    """``effective.json`` is written before the first update."""
    watched = threading.Event()
    while not list(root.glob("trials/*/effective.json")):
        watched.wait(0.02)
    kill_all(train_workers_of(os.getpid())[-1:])


def test_what_a_worker_says_is_the_runs_error_and_silence_means_it_died(tmp_path: Path) -> None:
    mailbox = Mailbox.fresh(tmp_path, "trials/t1")

    class WorkerGroupError(Exception):
        """As Ray Train names it."""

    told = DataError("a.jpg: must be readable, but got nothing")
    mailbox.write_error(told)
    mailbox.write_error(RuntimeError("the others fail because of it"))
    found = _find_cause(WorkerGroupError("many lines"), mailbox.read_error())
    assert isinstance(found, DataError)
    assert str(found) == str(told)
    infeasible = TrialEnded(trial_id="t1", outcome="infeasible", reason="too large")
    assert mailbox.read_end() is None
    mailbox.write_end(infeasible)
    mailbox.write_end(replace(infeasible, reason="said later"))
    assert mailbox.read_end() == infeasible
    mailbox.remove()
    assert not list((tmp_path / "trials" / "t1").iterdir())

    silent = _find_cause(WorkerGroupError("many lines"), mailbox.read_error())
    assert type(silent) is RethinkError
    assert_says("cluster", "worker that died", str(silent))
    assert str(_find_cause(TimeoutError("no room"), None)) == "TimeoutError: no room"


def test_a_worker_beside_the_first_tells_that_an_asset_is_refused_and_nothing_else(
    tmp_path: Path,
) -> None:
    mailbox = Mailbox.fresh(tmp_path, "assets/teacher-1")
    built = AssetDone(key="teacher-1", kind="teacher", metrics={"val/ap": 12.0}, seconds=1.0)
    note_end(built, mailbox)
    assert mailbox.read_end() is None
    refused = replace(built, metrics={}, refused="infeasible: too large")
    note_end(refused, mailbox)
    assert mailbox.read_end() == refused


def test_a_lost_connection_is_the_echo_of_another_workers_failure() -> None:
    lost = "[third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer"
    assert _is_lost_connection(RuntimeError(lost))
    assert not _is_lost_connection(RuntimeError("CUDA error: device-side assert triggered"))
