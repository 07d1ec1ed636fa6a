"""A Ray cluster of several nodes on this machine, whose nodes die one by one."""

import random
from contextlib import suppress
from typing import Any

from faults.processes import below_us, kill

CPUS_PER_NODE = 1
MOST_ATTEMPTS = 5
STORE_BYTES = 100_000_000


class Nodes:
    """A head that runs jobs too, and perhaps more nodes."""

    def __init__(self, num_cpus: int, others: int) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": num_cpus, "object_store_memory": STORE_BYTES}
        self._others: list[Any] = []
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
                break
            except Exception:  # Ray names no kind; its time limits are short on a busy machine
                kill(below_us())
                if attempt == MOST_ATTEMPTS:
                    raise
        for _ in range(others):
            self.grow()

    @property
    def address(self) -> str:
        """For ``--address``."""
        return str(self._cluster.address)

    def grow(self) -> None:
        """One more node is there."""
        self._others.append(
            self._cluster.add_node(num_cpus=CPUS_PER_NODE, object_store_memory=STORE_BYTES)
        )

    def kill_raylet(self, rng: random.Random) -> str:
        """A node that is not the head loses its raylet; sometimes a new node comes instead."""
        if not self._others:
            self.grow()
        _kill(self._others.pop(), "raylet")
        if rng.random() < 0.5:
            return "raylet killed; the cluster stays smaller"
        self.grow()
        return "raylet killed; another node came"

    def kill_head(self) -> str:
        """The head and everything on it is gone; the driver, which ran elsewhere, is not."""
        head = self._cluster.head_node
        _kill(head, *head.all_processes)
        return "head killed"

    def stop(self) -> None:
        """Nothing of the cluster is left."""
        with suppress(Exception):  # half of it may be dead
            self._cluster.shutdown()
        kill(below_us())


def _kill(node: Any, *names: str) -> None:
    """SIGKILL for these processes of a node; a zombie raylet would keep its workers alive."""
    found = [info.process for name in names for info in node.all_processes.get(name, ())]
    for process in found:
        process.kill()
    for process in found:
        process.wait()
