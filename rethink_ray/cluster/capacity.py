"""How many workers the cluster has room for, counted node by node.

A worker must fit on one node: two nodes with half a GPU free do not make a GPU. The workers of one
job may run on several nodes. Tune does not see the workers of Ray Train, so this count keeps a
study from asking for more than the cluster has.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rethink_ray.search.jobs import Job
from rethink_ray.spec.study import ResourceSpec

RECOUNT_SECONDS = 1.0
_log = logging.getLogger(__name__)

DRIVER_RESOURCE = "rethink_driver"
"""Custom resource of nodes that are not preempted. If any node has it, the process that leads a
group of workers runs on such a node."""

Nodes = Sequence[Mapping[str, float]]
"""Resources of each living node, by Ray's names."""


@dataclass(slots=True)
class Capacity:
    """How many jobs fit into the cluster. It counts the nodes at most once a second."""

    resources: ResourceSpec
    limit: int | None = None
    """At most this many jobs run, even if the cluster has room for more."""
    nodes: Callable[[], Nodes] = field(default_factory=lambda: living_nodes)
    _counted_at: float = field(default=-math.inf)
    _room: int = 0

    def has_room(self, running: Collection[Job], job: Job) -> bool:
        """Whether ``job`` fits beside those that run."""
        if self.limit is not None and len(running) >= self.limit:
            return False
        taken = sum(self.count_workers(other) for other in running)
        return taken + self.count_workers(job) <= self.count_room()

    def count_trials(self) -> int:
        """How many trials can run at the same time."""
        num = self.count_room() // max(self.resources.workers, 1)
        return num if self.limit is None else min(num, self.limit)

    def count_workers(self, job: Job) -> int:
        """Workers of a job. An upstream classifier is built by one, however many a trial has.

        A job that has a GPU for itself counts as all the workers that could share it.
        """
        if job.alone and self.resources.shares_gpus:
            return _count_on_one_gpu(self.resources.gpus_per_worker)
        by_one = job.asset is not None and job.asset.run is None
        return 1 if by_one else max(self.resources.workers, 1)

    def count_room(self) -> int:
        """Workers that fit on all living nodes together, running ones included."""
        now = time.monotonic()
        if now - self._counted_at >= RECOUNT_SECONDS:
            self._counted_at = now
            try:
                self._room = sum(self.count_room_on(node) for node in self.nodes())
            except Exception as error:  # Ray raises many kinds while its head does not answer
                _log.warning("the cluster does not say how much room it has: %r", error)
        return self._room

    def count_room_on(self, node: Mapping[str, float]) -> int:
        """Workers that fit on one node. Ray takes a share of a GPU from one GPU, never from two."""
        num = math.floor(node.get("CPU", 0.0) / self.resources.cpus_per_worker + 1e-9)
        share, gpus = self.resources.gpus_per_worker, node.get("GPU", 0.0)
        if share >= 1:
            num = min(num, math.floor(gpus / share + 1e-9))
        elif share > 0:
            num = min(num, math.floor(gpus + 1e-9) * _count_on_one_gpu(share))
        return num


def _count_on_one_gpu(share: float) -> int:
    return math.floor(1 / share + 1e-9)


def gpus_to_reserve(job: Job, resources: ResourceSpec) -> float:
    """What Ray reserves for each worker of a job: its share, or a whole GPU for a job alone."""
    return 1.0 if job.alone and resources.shares_gpus else resources.gpus_per_worker


def living_nodes() -> Nodes:
    """Resources of every node that Ray believes to be alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def has_driver_nodes(nodes: Nodes) -> bool:
    """Whether any node is marked as safe from preemption."""
    return any(node.get(DRIVER_RESOURCE, 0.0) > 0 for node in nodes)
