"""Files that hold the traceback of a failed job, and lines that sum failures up by reason."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

FAILURE_FILE = "failure.txt"
"""In a trial's folder: the traceback of its last failure. In a report's folder: the tracebacks of
all sections that failed."""
ANY_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def failure_file(root: Path, job_id: str) -> Path:
    """The file with the traceback of a job's last failure.

    Args:
        root: the study directory.
        job_id: ``<trial id>-<length>x`` or ``asset-<key>``.
    """
    if job_id.startswith("asset-"):
        return root / "assets" / f"failure-{job_id.removeprefix('asset-')}.txt"
    return root / "trials" / job_id.rpartition("-")[0] / FAILURE_FILE


def failure_lines(failures: Mapping[str, str], root: Path) -> list[str]:
    """Machine failures grouped by reason, with counts: ``2 jobs: killed (in full: ...)``.

    Args:
        failures: job id -> reason of its last failure.
        root: the study directory on this machine.
    """
    groups: dict[str, list[str]] = {}
    for job_id, reason in failures.items():
        groups.setdefault(without_numbers(reason), []).append(job_id)
    ordered = sorted(groups.values(), key=lambda job_ids: -len(job_ids))
    return [
        f"{_name_jobs(job_ids)}: {failures[job_ids[0]]}"
        + point_to_file(failure_file(root, job_id) for job_id in job_ids)
        for job_ids in ordered
    ]


def without_numbers(text: str) -> str:
    """``text`` with ``#`` for each number: reasons that differ in a step or in bytes are one."""
    return ANY_NUMBER.sub("#", text)


def point_to_file(paths: Iterable[Path]) -> str:
    """`` (in full: <path>)`` for the first file that exists; a killed process leaves none."""
    path = next((path for path in paths if path.is_file()), None)
    return f" (in full: {path})" if path else ""


def _name_jobs(job_ids: list[str]) -> str:
    if len(job_ids) == 1:
        return job_ids[0]
    return f"{len(job_ids)} jobs ({job_ids[0]} and others)"
