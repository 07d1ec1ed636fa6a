"""Runs one job on several workers: one run of Ray Train, through the same ladder.

Rank 0 appends each event to a mailbox in the trial's folder (a log like the study's). So the driver
records a rung when it is finished and not only when the run is over.
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

from rethink_ray.cluster.capacity import gpus_to_reserve
from rethink_ray.cluster.mailbox import Mailbox
from rethink_ray.cluster.sync import build_stop_check, download_inputs, sync_events
from rethink_ray.cluster.work import StopFile, decode_job, encode_job, last_line, run_job
from rethink_ray.records.types import AssetDone, Event, TrialEnded
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.stopping import Stopped

if TYPE_CHECKING:
    from rethink_ray.training.worker_context import WorkerContext

GROUP_POLL_SECONDS = 0.5
GROUP_STOP_SECONDS = 9.0
"""How long workers may take to notice a request to stop. Workers that have not started never do."""


def run_by_workers(job: Job, root: Path, stop: StopFile, uri: str = "") -> Iterator[Event]:
    """Every event of a job that several workers run together, as rank 0 reports it.

    If the method ends the trial in another worker alone (its images did not fit its memory), rank 0
    may wait in NCCL for many minutes. Then that worker's note is the trial's end, and this call
    raises an error, which ends the waiting processes.

    Args:
        job: the trial to train, or the asset to build.
        root: the study directory, or this machine's copy of it.
        stop: whether the study was asked to stop.
        uri: where the study lives, if ``root`` is a copy.

    Raises:
        Stopped: the workers wrote a checkpoint and ended.
        SpecError, DataError: a mistake of the user that a worker found.
        RethinkError: any other error that ended the run.
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
    gpus = gpus_to_reserve(job, resources)
    run = _BackgroundCall(lambda: _fit(job.job_id, settings, resources, gpus))
    num_read = 0
    ending_since: float | None = None
    while True:
        is_over = run.wait(GROUP_POLL_SECONDS)
        events = mailbox.log.read()
        yield from events[num_read:]
        num_read = len(events)
        if is_over:
            break
        if ending_since is None and (stop() or mailbox.read_end()):
            ending_since = time.monotonic()
        if ending_since is not None and time.monotonic() - ending_since > GROUP_STOP_SECONDS:
            if end := mailbox.read_end():
                yield end
                raise RethinkError(f"{job.job_id}: workers that wait for one that ended")
            raise Stopped(f"{job.job_id} had no time for a checkpoint")
    failure = mailbox.read_error()
    mailbox.remove()
    if run.error is not None:
        raise _find_cause(run.error, failure)
    if stop():
        raise Stopped(f"{job.job_id} was asked to stop")


def train_as_worker(config: dict[str, Any]) -> None:
    """Run the job as one rank of the process group. Ray Train calls this in each worker."""
    import ray.train

    from rethink_ray.training.worker_context import WorkerContext

    with suppress(OSError):
        os.chdir(config["folder"])
    job = decode_job(config["job"])
    assert job.run is not None, "a classifier is built by one process"
    root, uri = Path(config["root"]), config["uri"]
    mailbox = Mailbox(root, config["mailbox"], uri)
    stop = build_stop_check(Path(config["stop"]), uri)
    try:
        ctx = WorkerContext.distributed(job.run)
        for event in _run_as_rank(job, root, uri, stop, ctx):
            if ctx.is_main:
                mailbox.log.append(event)
            else:
                note_end(event, mailbox)
    except Stopped:
        pass
    except Exception as error:
        if not _is_lost_connection(error):
            mailbox.write_error(error)
        raise
    gc.collect()  # an error's frames hold the model and the connections that others wait for
    ray.train.report({})


def _run_as_rank(
    job: Job, root: Path, uri: str, stop: StopFile, ctx: "WorkerContext"
) -> Iterator[Event]:
    """The job's events. For a study at a URI each machine downloads, and rank 0 uploads."""
    assert job.run is not None, "a classifier is built by one process"
    data = job.run.data
    if not uri:
        return run_job(job, data, root, stop, ctx)
    copy = WorkingCopy(uri, root)
    download_inputs(job, copy)
    ctx.barrier()  # workers on one machine download into one folder
    if ctx.is_main:
        return sync_events(job, copy, lambda: run_job(job, data, root, stop, ctx))
    return run_job(job, data, root, stop, ctx)


def note_end(event: Event, mailbox: Mailbox) -> None:
    """Note the event if the method ended the job by it. Workers other than rank 0 call this."""
    if isinstance(event, TrialEnded) or (isinstance(event, AssetDone) and event.refused):
        mailbox.write_end(event)


def _is_lost_connection(error: Exception) -> bool:
    """Whether the error only says that another worker is gone, which has noted the cause."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo/transport" in str(error)


def _find_cause(error: Exception, failure: RethinkError | None) -> Exception:
    """The error that a worker noted; without a note, an error that says that a worker died."""
    if failure is None:
        reason = "a worker's process or its machine died"
        is_death = type(error).__name__ == "WorkerGroupError"
        failure = RethinkError(reason if is_death else last_line(error))
    failure.__cause__ = error
    return failure


class _BackgroundCall:
    """A call in a thread of its own. Afterwards ``error`` is the exception that it raised."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most this long; return whether the call is over."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error


def _fit(job_id: str, settings: dict[str, Any], resources: ResourceSpec, gpus: float) -> None:
    """One run of Ray Train. Each attempt has a new name: Ray Train would resume an old one.

    ``gpus``: what Ray reserves for each worker.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    per_worker: dict[str, float] = {"CPU": float(resources.cpus_per_worker)}
    if gpus:
        per_worker["GPU"] = gpus
    with tempfile.TemporaryDirectory(prefix="rethink-ray-", ignore_cleanup_errors=True) as scratch:
        TorchTrainer(
            train_as_worker,
            train_loop_config=settings,
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=gpus > 0,
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
