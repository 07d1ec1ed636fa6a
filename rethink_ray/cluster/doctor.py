"""Preflight: what a study needs of this machine, checked before anything is spent."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.cluster.session import cpus_of
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.study import Study

SHARED_MEMORY_BYTES = 512 * 2**20
"""Ray's object store (200 MB) and loader workers' batches lie in shared memory."""
DISK_BYTES = 6 * 2**30
"""A small study with its checkpoints and the data set's index."""
MEMORY_BYTES_PER_SLOT = int(1.5 * 2**30)
"""A process with torch and a tiny detector; a full-size one on CPU needs more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    """What was found; if it is not well, what to do."""


def examine(study: Study | None = None) -> list[Check]:
    """Everything this machine and, if one is named, the study's data have to offer."""
    checks = [*_machine(), *_python(), _accelerators(study), _ray()]
    if study is not None:
        checks += [_slots(study), _data(study)]
    return checks


def _machine() -> Iterator[Check]:
    cpus = len(os.sched_getaffinity(0))
    yield Check(name="cpus", ok=True, detail=f"{cpus} on {platform.node()}")
    memory = _memory_bytes()
    yield Check(
        name="memory",
        ok=memory >= MEMORY_BYTES_PER_SLOT * cpus,
        detail=f"{_gib(memory)} free"
        + _unless(memory >= MEMORY_BYTES_PER_SLOT * cpus, "run fewer slots at a time: --slots"),
    )
    for name, folder, needed, remedy in (
        ("shared memory", "/dev/shm", SHARED_MEMORY_BYTES, "a container needs --shm-size=1g"),
        ("disk", ".", DISK_BYTES, "give the study another folder with --out"),
        ("scratch", tempfile.gettempdir(), 2**30, "set TMPDIR to a larger folder"),
    ):
        free = shutil.disk_usage(folder).free if Path(folder).exists() else 0
        enough = free >= needed
        yield Check(name=name, ok=enough, detail=f"{_gib(free)} free" + _unless(enough, remedy))


def _python() -> Iterator[Check]:
    def torch() -> str:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.ones(1), 0.5)
        return f"{torch.__version__}, torchvision {torchvision.__version__}"

    yield _tried("torch", torch, "install torch and torchvision from one index, as locked")
    yield Check(name="instruction set", ok=True, detail=f"{_instruction_set()}; {_SAME}")


_SAME = "numbers repeat bit for bit among machines that have the same"


def _accelerators(study: Study | None) -> Check:
    import torch

    num = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = sorted({torch.cuda.get_device_name(i) for i in range(num)})
    found = f"{num} x {', '.join(names)}" if num else "none"
    wanted = study.resources.gpus_per_worker if study is not None else 0.0
    enough = num >= wanted
    remedy = "set resources.gpus_per_worker: 0, or run where torch sees a GPU"
    return Check(name="gpus", ok=enough, detail=found + _unless(enough, remedy))


def _ray() -> Check:
    def start() -> str:
        from rethink_ray.cluster.session import set_switches, start_local

        set_switches()
        import ray

        if not ray.is_initialized():
            start_local(1, with_train=False)
            ray.shutdown()
        return f"{ray.__version__} starts"

    return _tried("ray", start, "look at the newest session's logs in Ray's temporary folder")


def _slots(study: Study) -> Check:
    cpus, needed = len(os.sched_getaffinity(0)), cpus_of(study.resources)
    remedy = "lower resources.cpus_per_worker or workers, or name a cluster with --address"
    return Check(
        name="slots",
        ok=needed <= cpus,
        detail=f"{cpus // needed} jobs at a time" + _unless(needed <= cpus, remedy),
    )


def _data(study: Study) -> Check:
    def read() -> str:
        from rethink_ray.data.facts import gather_facts

        facts = gather_facts(study.data, study.regimes)
        sizes = ", ".join(f"{split} {num}" for split, num in facts.split_sizes.items())
        return f"{len(facts.categories)} categories; images: {sizes}"

    return _tried("data set", read, "rethink-ray data check tells more")


def _tried(name: str, attempt: Callable[[], str], remedy: str) -> Check:
    """Whether something works, by doing it."""
    try:
        return Check(name=name, ok=True, detail=attempt())
    except RethinkError as error:
        return Check(name=name, ok=False, detail=str(error))
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        found = f"{type(error).__name__}: {first[0] if first else ''}"
        return Check(name=name, ok=False, detail=f"{found}. To do: {remedy}")


def _instruction_set() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _memory_bytes() -> int:
    """Memory that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) * 1024


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"


def _unless(well: bool, remedy: str) -> str:
    return "" if well else f". To do: {remedy}"
