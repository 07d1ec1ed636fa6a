"""A cluster slot: a Tune trainable whose process outlives its jobs.

Each step is one finished rung (or asset), so the driver records it at once; torch is imported once.
"""

import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from ray import tune

from rethink_ray.cluster.capacity import DRIVER_RESOURCE
from rethink_ray.cluster.sync import carried, fetch, stop_of
from rethink_ray.cluster.work import (
    StopFile,
    decode_job,
    encode_error,
    failure_path,
    run_job,
    write_failure,
)
from rethink_ray.records.log import encode
from rethink_ray.records.types import Event, JobStarted
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import DataError, RethinkError, SpecError
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.stopping import Stopped

EVENT, USER_ERROR, DONE = "event", "user_error", "done"
"""Keys of a step's result: an event as the log has it; the user's mistake that a job met."""


class JobFault(RethinkError):
    """A job met an error that nobody foresaw; its last line, the rest is in ``failure.txt``."""


class Slot(tune.Trainable):
    """Runs one job after another, in a process of its own."""

    _job: Job
    _root: Path
    _uri: str
    """Where the study lives, if ``_root`` is this machine's copy of it."""
    _events: Iterator[Event]

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """A slot of the cluster; next to nothing where Ray Train reserves the workers' share.

        Such a slot leads a group, so it lies on a node that is not preempted if there are any.
        """
        resources = ResourceSpec.model_validate_json(config["resources"])
        if resources.workers >= 1 and decode_job(config["job"]).run is not None:
            # no share of a CPU, which a worker may need whole; {"CPU": 0} alone is refused by Tune
            leader: dict[str, float] = {"memory": 1}
            if config["safe_nodes"]:
                leader[DRIVER_RESOURCE] = 0.001
            return tune.PlacementGroupFactory([leader])
        bundle = {"CPU": float(resources.cpus_per_worker)}
        if resources.gpus_per_worker:
            bundle["GPU"] = resources.gpus_per_worker
        return tune.PlacementGroupFactory([bundle])

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first job, in the driver's working folder: a study may name relative paths."""
        with suppress(OSError):
            os.chdir(config["folder"])
        warnings.filterwarnings("ignore", category=UserWarning, module="ray")
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job into the same process."""
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next event of the job; ``done`` after the last one.

        Raises:
            JobFault: an error nobody foresaw. The process is not used again.
        """
        try:
            event = next(self._events, None)
        except Stopped:
            event = None
        except (DataError, SpecError) as error:
            return {DONE: True, USER_ERROR: encode_error(error)}
        except Exception as error:
            path = failure_path(self._job, self._root)
            raise JobFault(write_failure(path, self._job.job_id, error)) from None
        if event is None:
            return {DONE: True}
        return {EVENT: encode(event)}

    def cleanup(self) -> None:
        """Leave the job where its last checkpoint is."""
        self._events = iter(())

    def _take(self, config: dict[str, Any]) -> None:
        self._job = decode_job(config["job"])
        self._root = Path(config["root"])
        self._uri = config["uri"]
        data = DataSpec.model_validate_json(config["data"])
        stop = stop_of(Path(config["stop"]), self._uri)
        told = self.events(self._job, data, self._root, stop)
        self._events = chain((_start_of(self._job),), told)

    def events(self, job: Job, data: DataSpec, root: Path, stop: StopFile) -> Iterator[Event]:
        """Everything a job tells; a benchmark's slot tells something else."""
        return run_where_asked(job, data, root, stop, self._uri)


def _start_of(job: Job) -> JobStarted:
    """That a job started, here and now."""
    asset = job.asset.key if job.asset else None
    return JobStarted(
        job_id=job.job_id,
        trial_id=job.trial_id,
        asset=asset,
        host=platform.node(),
        at=round(time.time(), 3),
    )


def run_where_asked(
    job: Job, data: DataSpec, root: Path, stop: StopFile, uri: str
) -> Iterator[Event]:
    """In this process, or by a group of workers if the trial asks for one."""
    if job.run is not None and job.run.resources.workers >= 1:
        from rethink_ray.cluster.group import run_by_workers

        yield from run_by_workers(job, root, stop, uri)
    elif uri:
        copy = WorkingCopy(uri, root)
        fetch(job, copy)
        yield from carried(job, copy, lambda: run_job(job, data, root, stop))
    else:
        yield from run_job(job, data, root, stop)
