"""A Ray session for one study: a cluster on this machine, or a running cluster that it joins.

Ray and Tune read most of their switches from the environment when they are imported. So this module
sets them first and imports Ray only inside its functions.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rethink_ray.cluster.capacity import Capacity
from rethink_ray.cluster.head import answers
from rethink_ray.spec.errors import RethinkError, SpecError, explain
from rethink_ray.spec.study import ResourceSpec

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_worker_niceness": "0",
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
CPU_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
"""``<quota> <period>`` in microseconds, or ``max <period>``."""
OBJECT_STORE_BYTES = 200_000_000
"""Jobs exchange a few kilobytes; Ray's default takes a third of the memory."""
JOB_SWITCHES = (
    "RAY_CHDIR_TO_TRIAL_DIR",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S",
    "RETHINK_RAY_CACHE",
)
"""Switches that a job reads: they are passed to the processes of a cluster that was joined."""

REMEDY = "Start it, or leave --address and RAY_ADDRESS out to run on this machine."
TOKEN_REMEDY = (
    "Where it asks for a token, as 'ray start' does if it finds one, export RAY_AUTH_MODE=token. "
    + REMEDY
)


def set_switches() -> None:
    """Ray and Tune are quiet, local and take no snapshots; switches that are set already stay."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


def available_cpus(quota_file: Path = CPU_QUOTA_FILE) -> int:
    """CPUs this process may use: by its affinity, and by its container's quota if it has one."""
    num = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
        return max(1, min(num, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return num


def cpus_of(resources: ResourceSpec) -> int:
    """CPUs that one job of the study occupies."""
    return resources.cpus_per_worker * max(resources.workers, 1)


@contextmanager
def ray_session(resources: ResourceSpec, address: str | None, slots: int | None) -> Iterator[None]:
    """Inside, Ray runs. Afterwards it is stopped, unless it ran before.

    Raises:
        SpecError: this machine cannot hold a single job, or no cluster answers at ``address``.
    """
    set_switches()
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        if address is None:
            _start(resources, slots)
        else:
            _join(address)
        _be_quiet()
        yield
    finally:
        ray.shutdown()


def address_of_head() -> str:
    """``host:port`` where the head of the session's cluster listens."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def require_room(capacity: Capacity, address: str | None) -> None:
    """This machine has room for a trial. (A cluster that was joined may still grow.)

    Raises:
        SpecError: no trial would ever start.
    """
    if address is not None or capacity.count_trials() > 0:
        return
    resources = capacity.resources
    must = f"must leave room for one trial on this machine ({list(capacity.nodes())})"
    requested = (
        f"{resources.cpus_per_worker} CPUs and {resources.gpus_per_worker:g} GPUs per worker"
    )
    remedy = "Ask for less, or name a larger cluster with --address."
    raise SpecError(explain("resources", must, requested, remedy))


def _start(resources: ResourceSpec, slots: int | None) -> None:
    available = available_cpus()
    needed = cpus_of(resources)
    if slots is None and needed > available:
        must = f"must leave room for one job on this machine's {available} CPUs"
        remedy = "Lower cpus_per_worker or workers, or name a larger cluster with --address."
        raise SpecError(explain("resources", must, needed, remedy))
    start_local(available if slots is None else slots * needed, with_train=resources.workers >= 1)


def start_local(num_cpus: int, *, with_train: bool) -> None:
    """A small, quiet Ray cluster runs on this machine.

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
        _require_listener(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {k: os.environ[k] for k in JOB_SWITCHES if k in os.environ}},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        is_down = isinstance(error, ConnectionRefusedError) or "RAY_AUTH_MODE" in os.environ
        must = "must be a Ray cluster that answers"
        raise SpecError(
            explain("--address", must, _name_address(address), REMEDY if is_down else TOKEN_REMEDY)
        ) from error


def _require_listener(address: str) -> None:
    """Something listens at ``address``. (Ray itself would try for many minutes.)

    Raises:
        ConnectionRefusedError: nothing does.
    """
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in address:
        return
    head = canonicalize_bootstrap_address(address)
    if head is not None and not answers(head):
        raise ConnectionRefusedError(head)


def _name_address(address: str) -> str:
    """The address, and ``(RAY_ADDRESS)`` if it comes from there."""
    return f"{address} (RAY_ADDRESS)" if os.environ.get("RAY_ADDRESS") == address else address


def _be_quiet() -> None:
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it lists failed attempts
