"""The machine that a study is written for: how many trials it runs side by side."""

import os
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.training.amx import CPUINFO, has_amx

DRIVER_FILES = ("/proc/driver/nvidia", "/dev/nvidiactl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, or several equal ones."""

    gpus: int
    """On each node; 0 trains on CPUs."""
    nodes: int
    cores: int
    """On each node."""
    is_here: bool
    """This machine is like one of its nodes, so it can be timed here."""
    has_amx: bool = False
    """Its trials run on CPUs that multiply bfloat16 matrices in hardware."""

    @property
    def slots(self) -> int:
        """Trials at a time: one for each GPU, or for each core."""
        return (self.gpus or self.cores) * self.nodes

    @property
    def in_words(self) -> str:
        """For people."""
        each = _count(self.gpus, "GPU") if self.gpus else _count(self.cores, "core")
        return each if self.nodes == 1 else f"{self.nodes} nodes of {each}"


def find_machine(gpus: int | None, nodes: int, cpuinfo: Path = CPUINFO) -> Machine:
    """This machine, or the one that was named.

    Args:
        gpus: on each node; None: as many as there are here.
        nodes: how many nodes.
        cpuinfo: what Linux says of this machine's CPUs.
    """
    gpus_here = _count_gpus()
    gpus = gpus_here if gpus is None else gpus
    return Machine(
        gpus=gpus,
        nodes=nodes,
        cores=len(os.sched_getaffinity(0)),
        is_here=gpus == 0 or gpus_here > 0,
        has_amx=gpus == 0 and has_amx(cpuinfo),
    )


def _count_gpus() -> int:
    """GPUs of this machine; without a driver there is none, which is seen at once."""
    if not any(Path(path).exists() for path in DRIVER_FILES):
        return 0
    from rethink_ray.training.memory import count_gpus  # imports torch

    return count_gpus()


def _count(num: int, word: str) -> str:
    return f"{num} {word}" if num == 1 else f"{num} {word}s"
