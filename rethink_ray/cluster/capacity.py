"""Room in the cluster, counted node by node: what fits in the sum need not fit anywhere.

A job takes one *place* for each of its workers, and a place lies on one node. Workers of one job
may lie on several. Ray Train's workers are invisible to Tune, so this count is what keeps a study
from asking for more than there is.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rethink_ray.search.jobs import Job
from rethink_ray.spec.study import ResourceSpec

ASK_SECONDS = 1.0
_log = logging.getLogger(__name__)

DRIVER_RESOURCE = "rethink_driver"
"""Custom resource of nodes that are not preempted: the process that leads a group of workers runs
there if any node of the cluster has it."""

Nodes = Sequence[Mapping[str, float]]
"""Resources of each living node, by Ray's names."""


@dataclass(slots=True)
class Capacity:
    """How many jobs fit into the cluster; asks it at most once a second."""

    resources: ResourceSpec
    limit: int | None = None
    """At most this many jobs, whatever the cluster has."""
    nodes: Callable[[], Nodes] = field(default_factory=lambda: living_nodes)
    _asked_at: float = field(default=-math.inf)
    _places: int = 0

    def has_room(self, running: Collection[Job], job: Job) -> bool:
        """Whether ``job`` fits beside those that run."""
        if self.limit is not None and len(running) >= self.limit:
            return False
        taken = sum(self.places_of(other) for other in running)
        return taken + self.places_of(job) <= self.places()

    def trials(self) -> int:
        """Trials that fit at the same time."""
        num = self.places() // max(self.resources.workers, 1)
        return num if self.limit is None else min(num, self.limit)

    def places_of(self, job: Job) -> int:
        """Places that a job takes: a classifier is built by one process, whatever the workers."""
        by_one = job.asset is not None and job.asset.run is None
        return 1 if by_one else max(self.resources.workers, 1)

    def places(self) -> int:
        """Places of all living nodes."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            try:
                self._places = sum(self.places_on(node) for node in self.nodes())
            except Exception as error:  # whatever Ray raises while its head does not answer
                _log.warning("the cluster does not say what it has: %r", error)
        return self._places

    def places_on(self, node: Mapping[str, float]) -> int:
        """Places on one node. Ray gives a share of a GPU from one GPU, never from two."""
        num = math.floor(node.get("CPU", 0.0) / self.resources.cpus_per_worker + 1e-9)
        share, gpus = self.resources.gpus_per_worker, node.get("GPU", 0.0)
        if share >= 1:
            num = min(num, math.floor(gpus / share + 1e-9))
        elif share > 0:
            num = min(num, math.floor(gpus + 1e-9) * math.floor(1 / share + 1e-9))
        return num


def living_nodes() -> Nodes:
    """What every node has that Ray believes alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def has_driver_nodes(nodes: Nodes) -> bool:
    """Whether the cluster says which nodes are safe from preemption."""
    return any(node.get(DRIVER_RESOURCE, 0.0) > 0 for node in nodes)
