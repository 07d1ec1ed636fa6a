"""Whether bf16 pays on a CPU: whether it multiplies matrices of bfloat16 numbers in hardware (AMX).

Nothing here imports PyTorch: commands that only look at a machine ask this.
"""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
AMX_FLAG = "amx_bf16"
"""As Linux names it, from Intel's Sapphire Rapids (2023) on."""
AMX_SPEEDS = "1.8 to 2.1 times as fast with a ResNet-50, 1.04 times with a tiny network"
"""An update in bf16 against fp32 on such a CPU, measured on one (2026-11-28)."""


def has_amx(cpuinfo: Path = CPUINFO) -> bool:
    """Whether a machine's CPUs have AMX for bfloat16.

    ``cpuinfo``: what Linux says of its CPUs. A system without this file has none that we know of.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return AMX_FLAG in next(flags, [])
