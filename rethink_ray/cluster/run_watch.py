"""Watches a running study for people: progress inside rungs, and the hours that are left.

It reads notes that jobs leave in their folders and forecasts from the study's own records. It may
lag or fail; the study does not notice.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.losses import LOSS_FILE, read_last_loss
from rethink_ray.records.run_progress import (
    HoursRange,
    JobProgress,
    RunProgress,
    write_progress,
)
from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import Outlook, forecast
from rethink_ray.search.jobs import Job
from rethink_ray.search.measured_paces import PaceMeter
from rethink_ray.spec.errors import RethinkError

WATCH_SECONDS = 3.0
"""Time between two looks at the running jobs."""
STORE_SECONDS = 15.0
"""The same for a study at a URI: other machines upload their notes every ten seconds."""
WATCH_SHARE = 50.0
"""Watching takes at most one part in this many of the driver's time, and so does forecasting."""

_log = logging.getLogger(__name__)


class RunWatch:
    """Sums up a running study, and keeps its ``progress.json`` current."""

    def __init__(self, directory: StudyDirectory) -> None:
        self._directory = directory
        self._meter = PaceMeter(directory.study, directory.facts)
        self._seconds = STORE_SECONDS if directory.copy else WATCH_SECONDS
        self._looked_at = self._forecast_at = -1e9
        self._look_cost = self._forecast_cost = 0.0
        self._forecast_version = -1
        self._left: HoursRange | None = None
        self._left_at = 0.0

    def look(
        self, state: StudyState, running: Mapping[str, Job], slots: int, *, now: bool = False
    ) -> RunProgress | None:
        """The study at this moment; None if it is not yet time to look again.

        Args:
            state: the records.
            running: job id -> job, of the jobs that slots work on.
            slots: jobs that can run at a time.
            now: look however short ago the last look was.
        """
        began = time.monotonic()
        patience = max(self._seconds, WATCH_SHARE * self._look_cost)
        if not now and began - self._looked_at < patience:
            return None
        try:
            self._forecast_if_due(state, running, slots, now=now)
        except Exception as error:  # a forecast must not end the study that it is about
            _log.warning("the hours that are left cannot be told: %r", error)
        looked_at = time.monotonic()
        seen = RunProgress(
            at=round(time.time(), 1),
            slots=slots,
            jobs=tuple(self._look_at(job, state) for job in running.values()),
            left=self._left,
            left_at=self._left_at,
        )
        try:
            write_progress(self._directory, seen)
        except (OSError, RethinkError) as error:
            _log.debug("progress is not written: %s", error)
        self._looked_at = time.monotonic()
        self._look_cost = self._looked_at - looked_at
        return seen

    def _look_at(self, job: Job, state: StudyState) -> JobProgress:
        started = state.started.get(job.job_id)
        seen = JobProgress(
            job_id=job.job_id,
            cell=job.cell,
            purpose=job.purpose,
            started=started.at if started else 0.0,
        )
        row = None if job.asset else read_last_loss(self._notes_of(job))
        if row is None or not started or row.at < started.at:  # notes of an earlier job
            return seen
        return JobProgress(
            job_id=seen.job_id,
            cell=seen.cell,
            purpose=seen.purpose,
            started=seen.started,
            length=row.length,
            updates_done=row.step + 1,
            updates=row.total_steps,
            loss=row.loss if row.loss == row.loss else None,
        )

    def _notes_of(self, job: Job) -> Path:
        """The notes of a job; those of another machine are downloaded first."""
        name = f"{job.folder}/{LOSS_FILE}"
        path = self._directory.root / name
        if self._directory.copy is not None and not _is_fresh(path):
            try:
                self._directory.fetch(name)
            except RethinkError as error:
                _log.debug("notes of %s cannot be read: %s", job.job_id, error)
        return path

    def _forecast_if_due(
        self, state: StudyState, running: Mapping[str, Job], slots: int, *, now: bool
    ) -> None:
        """Forecast anew after new results, but rarely where that takes long, or ``now``."""
        began = time.monotonic()
        is_early = began - self._forecast_at < WATCH_SHARE * self._forecast_cost
        is_known = state.version == self._forecast_version
        if not state.rungs or ((is_early or is_known) and not now):
            return
        at = time.time()
        worked = {job_id: _seconds_worked(job, state, at) for job_id, job in running.items()}
        outlook = Outlook(
            study=self._directory.study,
            facts=self._directory.facts,
            paces=self._meter.paces(state),
            slots=max(slots, 1),
            state=state,
            worked=worked,
        )
        self._forecast_version = state.version
        try:
            self._left, self._left_at = forecast(outlook).hours, at
        finally:
            self._forecast_at = time.monotonic()
            self._forecast_cost = self._forecast_at - began


def _seconds_worked(job: Job, state: StudyState, at: float) -> float:
    """Seconds for which a slot has worked on the next rung of a job, or on its asset."""
    started = state.started.get(job.job_id)
    if started is None:
        return 0.0
    done = [state.rungs.get((job.trial_id or "", length)) for length in job.lengths]
    return max(0.0, at - max([started.at, *(rung.at for rung in done if rung)]))


def _is_fresh(path: Path) -> bool:
    """Whether a job on this machine writes the file, so that nothing newer can lie in the store."""
    try:
        return time.time() - path.stat().st_mtime < 2 * STORE_SECONDS
    except OSError:
        return False
