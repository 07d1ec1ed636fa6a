"""One job by several workers: a Ray Train run of its own, through the same ladder.

Rank 0 writes each event into a mailbox in the trial's folder (a log like the study's), so that the
driver records a rung when it is finished and not when the run is over.
"""

import gc
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rethink_ray.cluster.mailbox import Mailbox
from rethink_ray.cluster.sync import carried, fetch, stop_of
from rethink_ray.cluster.work import StopFile, decode_job, encode_job, last_line, run_job
from rethink_ray.records.types import AssetDone, Event, TrialEnded
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.stopping import Stopped

if TYPE_CHECKING:
    from rethink_ray.training.worker_context import WorkerContext

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 9.0
"""How long workers may take to notice a wish to stop; who has not started yet never does."""


def run_by_workers(job: Job, root: Path, stop: StopFile, uri: str = "") -> Iterator[Event]:
    """Every event of a job that several workers run together, as rank 0 tells it.

    Where the method ends the trial (or the training of an asset) at another worker alone, because
    its images were larger than its memory, rank 0 may wait for it in NCCL for many minutes; then
    that worker's word counts, and leaving with an error ends the processes that wait.

    Args:
        job: what to do.
        root: the study directory, or this machine's copy of it.
        stop: whether someone asked to stop.
        uri: where the study lives, if ``root`` is a copy.

    Raises:
        Stopped: the workers wrote a checkpoint and ended.
        SpecError, DataError: the user's mistake, as one of the workers met it.
        RethinkError: whatever else ended the run, if the method did not.
    """
    assert job.run is not None, "a classifier is built by one process"
    mailbox = Mailbox.fresh(root, job.folder, uri)
    settings = {
        "job": encode_job(job),
        "root": str(root),
        "uri": uri,
        "stop": str(stop.path),
        "mailbox": mailbox.name,
        "folder": str(Path.cwd()),
    }
    resources = job.run.resources
    run = _InBackground(lambda: _fit(job.job_id, settings, resources))
    told = 0
    asked_at: float | None = None
    while True:
        over = run.wait(LOOK_SECONDS)
        events = mailbox.log.read()
        yield from events[told:]
        told = len(events)
        if over:
            break
        asked_at = asked_at or (time.monotonic() if stop() or mailbox.ended() else None)
        if asked_at is not None and time.monotonic() - asked_at > PATIENCE_SECONDS:
            if ended := mailbox.ended():
                yield ended
                raise RethinkError(f"{job.job_id}: workers that wait for one that ended")
            raise Stopped(f"{job.job_id} had no time for a checkpoint")
    failure = mailbox.failure()
    mailbox.remove()
    if run.error is not None:
        raise _cause_of(run.error, failure)
    if stop():
        raise Stopped(f"{job.job_id} was asked to stop")


def train_as_worker(config: dict[str, Any]) -> None:
    """What each worker runs: the ladder, as one rank of the process group."""
    import ray.train

    from rethink_ray.training.worker_context import WorkerContext

    with suppress(OSError):
        os.chdir(config["folder"])
    job = decode_job(config["job"])
    assert job.run is not None, "a classifier is built by one process"
    root, uri = Path(config["root"]), config["uri"]
    mailbox = Mailbox(root, config["mailbox"], uri)
    stop = stop_of(Path(config["stop"]), uri)
    try:
        ctx = WorkerContext.distributed(job.run)
        for event in _events_of(job, root, uri, stop, ctx):
            if ctx.rank == 0:
                mailbox.log.append(event)
            else:
                tell_the_end(event, mailbox)
    except Stopped:
        pass
    except Exception as error:
        if not _is_an_echo(error):
            mailbox.fail(error)
        raise
    gc.collect()  # an error's frames hold the model and connections that the others wait on
    ray.train.report({})


def _events_of(
    job: Job, root: Path, uri: str, stop: StopFile, ctx: "WorkerContext"
) -> Iterator[Event]:
    """The ladder's events; where the study lives at a URI, each machine fetches, rank 0 carries."""
    assert job.run is not None, "a classifier is built by one process"
    data = job.run.data
    if not uri:
        return run_job(job, data, root, stop, ctx)
    copy = WorkingCopy(uri, root)
    fetch(job, copy)
    ctx.barrier()  # on one machine they fetch into one folder
    if ctx.is_main:
        return carried(job, copy, lambda: run_job(job, data, root, stop, ctx))
    return run_job(job, data, root, stop, ctx)


def tell_the_end(event: Event, mailbox: Mailbox) -> None:
    """All that a worker beside rank 0 tells: that the method came to nothing here."""
    if isinstance(event, TrialEnded) or (isinstance(event, AssetDone) and event.refused):
        mailbox.end(event)


def _is_an_echo(error: Exception) -> bool:
    """Whether a worker only lost the connection to one that failed for a reason of its own."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo/transport" in str(error)


def _cause_of(error: Exception, failure: RethinkError | None) -> Exception:
    """What a worker raised, or that one died without a word."""
    if failure is None:
        reason = "a worker's process or its machine died"
        silent = type(error).__name__ == "WorkerGroupError"
        failure = RethinkError(reason if silent else last_line(error))
    failure.__cause__ = error
    return failure


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


def _fit(job_id: str, settings: dict[str, Any], resources: ResourceSpec) -> None:
    """One Ray Train run; its name is new for every attempt, because a run restores by its name."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    per_worker: dict[str, float] = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    with tempfile.TemporaryDirectory(prefix="rethink-ray-", ignore_cleanup_errors=True) as scratch:
        TorchTrainer(
            train_as_worker,
            train_loop_config=settings,
            torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus_per_worker > 0,
                resources_per_worker=per_worker,
            ),
            run_config=RunConfig(
                name=f"{job_id}-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                failure_config=FailureConfig(
                    max_failures=0,
                    max_preemption_failures=0,  # type: ignore[call-arg]
                ),
            ),
        ).fit()
