"""A slot of the cluster: a Tune trainable that runs one job after another in one process.

So torch is imported once for many jobs. Each step of the trainable is one event of the job (such as
a finished rung), which the driver records at once.
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

from rethink_ray.cluster.capacity import DRIVER_RESOURCE, gpus_to_reserve
from rethink_ray.cluster.sync import build_stop_check, download_inputs, sync_events
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
"""Keys of a step's result: an event as the log has it; a mistake of the user; whether it is the
last step."""


class JobFault(RethinkError):
    """An unforeseen error ended a job. Holds its last line; ``failure.txt`` has the traceback."""


class Slot(tune.Trainable):
    """Runs one job after another in its process."""

    _job: Job
    _root: Path
    _uri: str
    """Where the study lives, if ``_root`` is this machine's copy of it."""
    _events: Iterator[Event]

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What Tune reserves: one worker's CPUs and GPU; next to nothing for a job of a group.

        Ray Train reserves the resources of a group's workers. The slot then only leads the group,
        on a node that is not preempted if there are such nodes.
        """
        resources = ResourceSpec.model_validate_json(config["resources"])
        job = decode_job(config["job"])
        if resources.workers >= 1 and job.run is not None:
            # no CPU, because workers may need all of them; Tune refuses {"CPU": 0} alone
            leader: dict[str, float] = {"memory": 1}
            if config["safe_nodes"]:
                leader[DRIVER_RESOURCE] = 0.001
            return tune.PlacementGroupFactory([leader])
        bundle = {"CPU": float(resources.cpus_per_worker)}
        if resources.gpus_per_worker:
            bundle["GPU"] = gpus_to_reserve(job, resources)
        return tune.PlacementGroupFactory([bundle])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first job in the driver's working folder: a study may have relative paths."""
        with suppress(OSError):
            os.chdir(config["folder"])
        warnings.filterwarnings("ignore", category=UserWarning, module="ray")
        self._start_job(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next job in the same process."""
        self._start_job(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next event of the job; ``done`` after the last one.

        Raises:
            JobFault: an unforeseen error. The process is not used again.
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
        """Drop the job; its next attempt goes on from the last checkpoint."""
        self._events = iter(())

    def _start_job(self, config: dict[str, Any]) -> None:
        self._job = decode_job(config["job"])
        self._root = Path(config["root"])
        self._uri = config["uri"]
        data = DataSpec.model_validate_json(config["data"])
        stop = build_stop_check(Path(config["stop"]), self._uri)
        events = self.events(self._job, data, self._root, stop)
        self._events = chain((_describe_start(self._job),), events)

    def events(self, job: Job, data: DataSpec, root: Path, stop: StopFile) -> Iterator[Event]:
        """The events of a job. A benchmark overrides this to make them up."""
        return run_with_workers(job, data, root, stop, self._uri)


def _describe_start(job: Job) -> JobStarted:
    """The event that a job started on this machine now."""
    asset = job.asset.key if job.asset else None
    return JobStarted(
        job_id=job.job_id,
        trial_id=job.trial_id,
        asset=asset,
        host=platform.node(),
        at=round(time.time(), 3),
    )


def run_with_workers(
    job: Job, data: DataSpec, root: Path, stop: StopFile, uri: str
) -> Iterator[Event]:
    """The events of a job, run in this process or by a group of ``resources.workers``.

    For a study at a ``uri`` the job's files are synced with the store.
    """
    if job.run is not None and job.run.resources.workers >= 1:
        from rethink_ray.cluster.group import run_by_workers

        yield from run_by_workers(job, root, stop, uri)
    elif uri:
        copy = WorkingCopy(uri, root)
        download_inputs(job, copy)
        yield from sync_events(job, copy, lambda: run_job(job, data, root, stop))
    else:
        yield from run_job(job, data, root, stop)
