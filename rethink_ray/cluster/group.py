"""One job by several workers: a Ray Train run of its own, through the same ladder.

Rank 0 writes each event into a mailbox in the trial's folder (a log like the study's), so that the
driver records a rung when it is finished and not when the run is over.
"""

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rethink_ray.cluster.work import (
    StopFile,
    decode_error,
    decode_job,
    encode_error,
    encode_job,
    last_line,
    run_job,
)
from rethink_ray.records.log import RecordLog
from rethink_ray.records.types import Event
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.stopping import Stopped

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 9.0
"""How long workers may take to notice a wish to stop; who has not started yet never does."""


def run_by_workers(job: Job, root: Path, stop: StopFile) -> Iterator[Event]:
    """Every event of a job that several workers run together, as rank 0 tells it.

    Raises:
        Stopped: the workers wrote a checkpoint and ended.
        SpecError, DataError: the user's mistake, as one of the workers met it.
        RethinkError: whatever else ended the run, if the method did not.
    """
    assert job.config is not None, "assets are built by one process"
    mailbox = _empty_mailbox(root / "trials" / job.config.trial_id)
    run = _InBackground(
        lambda: _fit(job, root, stop.path, mailbox.path, job.config.resources)  # type: ignore[union-attr]
    )
    told = 0
    asked_at: float | None = None
    while True:
        over = run.wait(LOOK_SECONDS)
        events = mailbox.read()
        yield from events[told:]
        told = len(events)
        if over:
            break
        asked_at = asked_at or (time.monotonic() if stop() else None)
        if asked_at is not None and time.monotonic() - asked_at > PATIENCE_SECONDS:
            raise Stopped(f"{job.job_id} had no time for a checkpoint")
    mailbox.path.unlink(missing_ok=True)
    if run.error is not None:
        raise _cause_of(run.error, mailbox.path)
    if stop.path.exists():
        raise Stopped(f"{job.job_id} was asked to stop")


def train_as_worker(config: dict[str, Any]) -> None:
    """What each worker runs: the ladder, in its place of the process group."""
    import ray.train

    from rethink_ray.training.place import Place

    with suppress(OSError):
        os.chdir(config["folder"])
    job = decode_job(config["job"])
    assert job.config is not None, "assets are built by one process"
    mailbox = RecordLog(Path(config["mailbox"]))
    stop = StopFile(Path(config["stop"]))
    try:
        place = Place.distributed(job.config)
        for event in run_job(job, job.config.data, Path(config["root"]), stop, place):
            if place.rank == 0:
                mailbox.append(event)
    except Stopped:
        pass
    except Exception as error:
        with suppress(OSError):  # the first worker's word counts; the others fail because of it
            _word_of(mailbox.path).open("x").write(encode_error(error))
        raise
    ray.train.report({})


def _empty_mailbox(folder: Path) -> RecordLog:
    """A new one for each attempt: a worker of a lost attempt may live a little longer."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("mailbox-*"):
        old.unlink(missing_ok=True)
    return RecordLog(folder / f"mailbox-{uuid.uuid4().hex[:8]}.jsonl")


def _word_of(mailbox: Path) -> Path:
    """Where the worker that failed first says why."""
    return mailbox.with_suffix(".error")


def _cause_of(error: Exception, mailbox: Path) -> Exception:
    """What a worker raised, or that one died without a word."""
    try:
        found = decode_error(_word_of(mailbox).read_text())
    except OSError:
        reason = "a worker's process or its machine died"
        silent = type(error).__name__ == "WorkerGroupError"
        found = RethinkError(reason if silent else last_line(error))
    _word_of(mailbox).unlink(missing_ok=True)
    found.__cause__ = error
    return found


class _InBackground:
    """A call in a thread of its own; its exception is kept."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether the call is over, after at most this long."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error


def _fit(job: Job, root: Path, stop: Path, mailbox: Path, resources: ResourceSpec) -> None:
    """One Ray Train run; its name is new for every attempt, because a run restores by its name."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    per_worker: dict[str, float] = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    with tempfile.TemporaryDirectory(prefix="rethink-ray-", ignore_cleanup_errors=True) as scratch:
        TorchTrainer(
            train_as_worker,
            train_loop_config={
                "job": encode_job(job),
                "root": str(root),
                "stop": str(stop),
                "mailbox": str(mailbox),
                "folder": str(Path.cwd()),
            },
            torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus_per_worker > 0,
                resources_per_worker=per_worker,
            ),
            run_config=RunConfig(
                name=f"{job.job_id}-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                failure_config=FailureConfig(
                    max_failures=0,
                    max_preemption_failures=0,  # type: ignore[call-arg]
                ),
            ),
        ).fit()
