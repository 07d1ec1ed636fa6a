"""A Ray session for one study: started here and stopped again, or somebody's cluster joined.

Ray and Tune read most of their switches from the environment when they are imported, so this module
sets them first and imports Ray only inside its functions.
"""

import logging
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rethink_ray.spec.errors import RethinkError, SpecError, explain
from rethink_ray.spec.study import ResourceSpec

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
OBJECT_STORE_BYTES = 200_000_000
"""Jobs exchange a few kilobytes; Ray's default takes a third of the memory."""
ASK_SECONDS = 1.0


def set_switches() -> None:
    """Ray and Tune will be quiet, local and without snapshots; what is set already stays."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


def cpus_of(resources: ResourceSpec) -> int:
    """CPUs that one job of the study occupies."""
    return resources.cpus_per_worker * max(resources.workers, 1)


def gpus_of(resources: ResourceSpec) -> float:
    """GPUs that one job of the study occupies."""
    return resources.gpus_per_worker * max(resources.workers, 1)


@contextmanager
def ray_session(resources: ResourceSpec, address: str | None, slots: int | None) -> Iterator[None]:
    """Inside the block Ray is there; afterwards nothing of it is left that was not there before.

    Raises:
        SpecError: this machine cannot hold a single job, or no cluster answers at ``address``.
    """
    set_switches()
    import ray

    if ray.is_initialized():
        yield
        return
    if address is None:
        _start(resources, slots)
    else:
        _join(address)
    try:
        _be_quiet()
        yield
    finally:
        ray.shutdown()


def _start(resources: ResourceSpec, slots: int | None) -> None:

    available = len(os.sched_getaffinity(0))
    needed = cpus_of(resources)
    if slots is None and needed > available:
        must = f"must leave room for one job on this machine's {available} CPUs"
        remedy = "Lower cpus_per_worker or workers, or name a larger cluster with --address."
        raise SpecError(explain("resources", must, needed, remedy))
    start_local(available if slots is None else slots * needed, with_train=resources.workers >= 1)


def start_local(num_cpus: int, *, with_train: bool) -> None:
    """A Ray cluster of this machine runs, quiet and small.

    Ray Train inside Tune cleans up through the State API. The dashboard serves that, and finds the
    right cluster by ``RAY_ADDRESS`` if several run on one machine; so the address must be known
    before the processes of the cluster start.

    Raises:
        RethinkError: Ray did not come up in its own time limits.
    """
    import ray

    before = dict(os.environ)
    if with_train:
        port = _free_port()
        os.environ["RAY_GCS_SERVER_PORT"] = str(port)
        os.environ["RAY_ADDRESS"] = f"{ray.util.get_node_ip_address()}:{port}"  # type: ignore[no-untyped-call]
    try:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=with_train,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )
    except Exception as error:
        ray.shutdown()
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        remedy = "A machine that is busy with other work may be too slow for it: try again."
        raise RethinkError(
            explain("Ray", "must start on this machine", last[0][:200], remedy)
        ) from error
    finally:
        for name in ("RAY_GCS_SERVER_PORT", "RAY_ADDRESS"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        remedy = "Start it, or leave --address out to run on this machine."
        raise SpecError(
            explain("--address", "must be a Ray cluster that answers", address, remedy)
        ) from error


def _be_quiet() -> None:
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


@dataclass(slots=True)
class Capacity:
    """How many jobs fit into the cluster right now; asks it at most once a second."""

    resources: ResourceSpec
    limit: int | None = None
    """At most this many, whatever the cluster has."""
    _asked_at: float = field(default=-math.inf)
    _known: int = 0

    def __call__(self) -> int:
        """Jobs that fit."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            import ray

            self._known = self.fitting(ray.cluster_resources())  # type: ignore[no-untyped-call]
            self._asked_at = now
        return self._known

    def fitting(self, has: dict[str, float]) -> int:
        """Jobs that fit into these resources."""
        num = math.floor(has.get("CPU", 0.0) / cpus_of(self.resources) + 1e-9)
        gpus = gpus_of(self.resources)
        if gpus:
            num = min(num, math.floor(has.get("GPU", 0.0) / gpus + 1e-9))
        return num if self.limit is None else min(num, self.limit)
