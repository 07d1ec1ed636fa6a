"""What a running study works on at this moment: ``progress.json``, written by its driver.

People and ``status`` read it; no decision does. It is not part of the records and may be deleted.
"""

import json
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.errors import RecordError

PROGRESS_NAME = "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a running job is."""

    job_id: str
    cell: str
    """``regime/arm``."""
    purpose: str
    """``search``, ``replicate`` or ``asset``."""
    started: float
    """Unix time of its start; 0: it waits for a slot."""
    length: float | None = None
    """The rung under way, in units of 1x; None: nothing is known of its updates."""
    updates_done: int = 0
    updates: int = 0
    """Updates in a run of this length."""
    loss: float | None = None
    """The newest loss that was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRange:
    """Hours, and a range that holds the truth about eight times in ten."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """The running jobs of a study, and the hours that it still takes."""

    at: float
    """Unix time at which the driver wrote this."""
    slots: int
    jobs: tuple[JobProgress, ...] = ()
    left: HoursRange | None = None
    """None: no pace is known yet."""
    left_at: float = 0.0
    """Unix time for which ``left`` holds."""


def write_progress(directory: StudyDirectory, progress: RunProgress) -> None:
    """The study's ``progress.json`` holds this, at its URI too.

    Raises:
        OSError, RecordError: the disk or the store refused.
    """
    directory.write(PROGRESS_NAME, json.dumps(asdict(progress), indent=1))


def read_progress(directory: StudyDirectory) -> RunProgress | None:
    """What the driver wrote last; None if there is nothing that can be read."""
    try:
        directory.fetch(PROGRESS_NAME)
        content = (directory.root / PROGRESS_NAME).read_bytes()
        return TypeAdapter(RunProgress).validate_json(content)
    except (OSError, RecordError, ValidationError):
        return None
