"""Why a job was lost, as Tune's error file tells it; and ends that Tune tells twice."""

import pickle
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError
from ray.tune.experiment import Trial

from rethink_ray.cluster.driver import DIED, JobCallback, JobSearcher, reason_of
from rethink_ray.cluster.slot import JobFault
from rethink_ray.cluster.stop_request import StopRequest


def told(tmp_path: Path, error: BaseException) -> str:
    path = tmp_path / "error.pkl"
    path.write_bytes(pickle.dumps(error))
    return reason_of(str(path))


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback", cause)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (task_error(JobFault("OSError: disk full")), "OSError: disk full"),
        (task_error(KeyError()), "KeyError:"),
        (task_error(ValueError("first line\nsecond")), "ValueError: first line"),
        (ActorDiedError(), DIED),
        (RayActorError(preempted=True), "its machine was preempted"),
        (TimeoutError(), "TimeoutError:"),
    ],
)
def test_a_lost_job_has_its_reason_in_one_line(
    tmp_path: Path, error: BaseException, reason: str
) -> None:
    assert told(tmp_path, error) == reason


def test_a_process_that_could_not_start_says_the_last_line_of_its_traceback(
    tmp_path: Path,
) -> None:
    story = "Traceback\n  File slot.py\nImportError: no gloo"
    error = RayActorError("actor", story, actor_init_failed=True)
    assert told(tmp_path, error) == "its process could not start: ImportError: no gloo"


@pytest.mark.parametrize("file", [None, "gone.pkl"])
def test_an_error_file_that_is_not_there_is_a_reason_too(tmp_path: Path, file: str | None) -> None:
    assert reason_of(file and str(tmp_path / file)) == "lost, and Ray gives no reason"


def test_what_tune_pickles_holds_nothing_of_the_study(tmp_path: Path) -> None:
    unpicklable = SimpleNamespace(lock=threading.Lock())
    searcher = JobSearcher(cast(Any, unpicklable), job_limit=9)
    job_callback = JobCallback(
        cast(Any, unpicklable),
        searcher,
        lambda: None,
        StopRequest(tmp_path / "stop", lambda: False),
    )
    assert len(cloudpickle.dumps((searcher, job_callback))) < 500


def test_an_end_that_tune_tells_twice_does_not_end_the_jobs_next_attempt(tmp_path: Path) -> None:
    ends: list[str] = []
    dispatcher = SimpleNamespace(end_job=ends.append, fault=None)
    searcher = JobSearcher(cast(Any, dispatcher), job_limit=9)
    searcher.job_ids |= {"first": "job", "second": "job"}
    job_callback = JobCallback(
        cast(Any, dispatcher), searcher, lambda: None, StopRequest(tmp_path / "stop", lambda: False)
    )
    first = cast(Trial, SimpleNamespace(trial_id="first"))
    job_callback.on_trial_complete(0, [], first)
    job_callback.on_trial_complete(0, [], first)
    assert ends == ["job"]
    assert searcher.job_ids == {"second": "job"}
