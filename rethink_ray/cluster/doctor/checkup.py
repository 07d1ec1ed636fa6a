"""Preflight: checks what a study needs of this machine and of a cluster, before it runs."""

import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.cluster.doctor.bf16 import propose_bf16
from rethink_ray.cluster.doctor.check import Check, build_check, gib, try_check
from rethink_ray.cluster.doctor.cluster_checks import examine_ray
from rethink_ray.cluster.doctor.compiler import check_compiler, describe_compiler, is_compiled
from rethink_ray.cluster.doctor.mps import check_mps, is_mps_running
from rethink_ray.cluster.doctor.shared_memory import free_shared_memory
from rethink_ray.cluster.doctor.study_checks import examine_study
from rethink_ray.cluster.ray_session import available_cpus
from rethink_ray.records.store import is_uri
from rethink_ray.records.working_copy import working_folder
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study
from rethink_ray.training.amx import CPUINFO, has_amx

SHARED_MEMORY_BYTES = 512 * 2**20
"""For a study that is not named: Ray's object store (200 MB), and batches of small pictures."""
SCRATCH_BYTES = 2**30
"""Free disk that Ray's logs and sockets need."""
CGROUP = Path("/sys/fs/cgroup")
MEMORY_BYTES_PER_SLOT = int(1.5 * 2**30)
"""A process with torch and a tiny detector; a full-size one on CPU needs more."""


def examine(
    study: Study | None = None,
    *,
    address: str | None = None,
    where: Path | str | None = None,
    cpuinfo: Path = CPUINFO,
) -> Iterator[Check]:
    """Yields each check when it is made.

    Args:
        study: also check what this study needs.
        address: also check every node of this cluster.
        where: path or URI of the study's directory; by default the current folder.
        cpuinfo: what Linux says of this machine's CPUs.
    """
    at_uri = is_uri(where)
    folder = working_folder(str(where)) if at_uri else Path(where or ".")
    yield from _machine(study)
    yield from _python()
    yield check_gpus(study, address)
    yield _backends(study)
    if address is None:
        yield from propose_bf16(study, has_amx=has_amx(cpuinfo))
    if study is not None:
        if address is None and is_compiled(study):
            yield check_compiler((platform.node(), describe_compiler()))
        if address is None and study.resources.shares_gpus:
            yield check_mps((platform.node(), is_mps_running()))
        yield from examine_study(study, address=address, folder=folder)
    yield from examine_ray(study, address, None if at_uri or where is None else folder)


def _machine(study: Study | None) -> Iterator[Check]:
    cpus = available_cpus()
    yield Check(name="cpus", ok=True, detail=f"{cpus} on {platform.node()}")
    memory = _memory_bytes()
    remedy = "run fewer slots at a time: --slots"
    yield build_check(
        "memory", f"{gib(memory)} free", memory >= MEMORY_BYTES_PER_SLOT * cpus, remedy
    )
    if study is None:
        free = free_shared_memory()
        remedy = "a container needs --shm-size=1g"
        yield build_check("shared memory", f"{gib(free)} free", free >= SHARED_MEMORY_BYTES, remedy)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    remedy = "set TMPDIR to a larger folder"
    yield build_check("scratch", f"{gib(free)} free", free >= SCRATCH_BYTES, remedy)


def _python() -> Iterator[Check]:
    def torch() -> str:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.ones(1), 0.5)
        return f"{torch.__version__}, torchvision {torchvision.__version__}"

    yield try_check("torch", torch, "install torch and torchvision from one index, as locked")
    detail = f"{_instruction_set()}; numbers repeat bit for bit among machines that have the same"
    yield Check(name="instruction set", ok=True, detail=detail)


def check_gpus(study: Study | None, address: str | None) -> Check:
    """Whether this machine has the GPUs that a worker of the study needs."""
    import torch

    num = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = sorted({torch.cuda.get_device_name(i) for i in range(num)})
    fact = f"{num} x {', '.join(names)}" if num else "none"
    needed = study.resources.gpus_per_worker if study is not None and address is None else 0.0
    remedy = "run where torch sees a GPU, or set resources.gpus_per_worker: 0"
    if study is not None and _uses_tf32(study):
        remedy += " and precision: fp32 (tf32 needs a GPU)"
    return build_check("gpus", fact, num >= needed, remedy)


def _uses_tf32(study: Study) -> bool:
    """Whether any trial of the study may compute in tf32, which no CPU does."""
    recipes = (
        recipe
        for cell in cells_of(study)
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), ("precision",)
        )
    )
    return any(recipe.precision == "tf32" for recipe in recipes)


def _backends(study: Study | None) -> Check:
    """Whether torch has the library through which the workers of a trial exchange gradients."""
    from torch import distributed

    available = [
        name
        for name, is_available in (
            ("gloo", distributed.is_available() and distributed.is_gloo_available()),
            ("nccl", distributed.is_available() and distributed.is_nccl_available()),
        )
        if is_available
    ]
    resources = study.resources if study is not None else None
    needed = "gloo"
    if resources is None or resources.workers < 1:
        needed = ""
    elif resources.gpus_per_worker:
        needed = "nccl"
    remedy = f"install a torch that was built with {needed}, or set resources.workers: 0"
    is_well = not needed or needed in available
    return build_check("backends", ", ".join(available) or "none", is_well, remedy)


def _instruction_set() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _memory_bytes() -> int:
    """Memory that is free without swapping, within the limit of a container."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    free = int(available.split()[1]) * 1024
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return min(free, limit - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return free
