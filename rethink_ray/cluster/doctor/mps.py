"""Preflight of trials that share a GPU: whether NVIDIA's Multi-Process Service runs.

Without it the processes of a GPU take turns, a few milliseconds each; with it their kernels run at
the same time, which small networks need to fill a GPU. It changes no number.
"""

from pathlib import Path

from rethink_ray.cluster.doctor.check import Check

PROCESSES = Path("/proc")
DAEMON = "nvidia-cuda-mps-control"
COMM_LENGTH = 15
"""Linux cuts the names of processes to so many characters."""


def is_mps_running(processes: Path = PROCESSES) -> bool:
    """Whether this machine runs the daemon."""
    names = processes.glob("[0-9]*/comm")
    return any(_read_name(path) == DAEMON[:COMM_LENGTH] for path in names)


def check_mps(*machines: tuple[str, bool]) -> Check:
    """What trials that share a GPU get on each machine. It never fails: without MPS they run, too.

    ``machines``: (host, whether the daemon runs there).
    """
    lacking = sorted(host for host, is_running in machines if not is_running)
    detail = "runs: trials that share a GPU compute at the same time"
    if lacking:
        detail = (
            f"not running on {', '.join(lacking)}: trials that share a GPU take turns there. "
            f"For small detectors start it before Ray: {DAEMON} -d"
        )
    return Check(name="mps", ok=True, detail=detail)


def _read_name(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the process has ended
        return ""
