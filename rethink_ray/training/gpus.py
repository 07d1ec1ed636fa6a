"""Which GPU a run computes on, in the words of its records.

Cards, drivers and versions of CUDA differ in the last bits of their results, and in time and
memory.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import torch

DRIVER_FILE = Path("/proc/driver/nvidia/version")
DRIVER = re.compile(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s")
QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
QUERY_SECONDS = 30


def describe_gpu(device: torch.device) -> str:
    """The GPU's name, memory, driver and version of CUDA; empty on a CPU.

    Example: ``NVIDIA H200, 139.7 GiB, driver 580.65.06, CUDA 13.2``.
    """
    if device.type != "cuda":
        return ""
    properties = torch.cuda.get_device_properties(device)
    return _put_in_words(properties.name, properties.total_memory, read_driver())


def list_gpus() -> tuple[str, ...]:
    """Every kind of GPU of this machine, in the same words, whichever of them this process may use.

    Empty if there is none, or if ``nvidia-smi`` does not answer.
    """
    try:
        answer = subprocess.run(
            QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(answer.stdout)


def parse_gpus(answer: str) -> tuple[str, ...]:
    """The kinds of GPU in a table of ``nvidia-smi``, each once.

    ``answer``: lines such as ``NVIDIA H200, 143771 MiB, 580.65.06``. A GPU that shares the host's
    memory has none to name.
    """
    kinds = set()
    for line in answer.splitlines():
        name, memory, driver = (part.strip() for part in line.rsplit(",", 2))
        mebibytes = memory.removesuffix(" MiB")
        num_bytes = int(mebibytes) * 2**20 if mebibytes.isdigit() else None
        kinds.add(_put_in_words(name, num_bytes, driver))
    return tuple(sorted(kinds))


@cache
def read_driver() -> str:
    """The version of the GPUs' driver, or ``unknown``."""
    try:
        version = DRIVER.search(DRIVER_FILE.read_text())
    except OSError:
        return "unknown"
    return version.group(1) if version else "unknown"


def _put_in_words(name: str, num_bytes: int | None, driver: str) -> str:
    memory = "the host's memory" if num_bytes is None else f"{num_bytes / 2**30:.1f} GiB"
    return f"{name}, {memory}, driver {driver}, CUDA {torch.version.cuda}"
