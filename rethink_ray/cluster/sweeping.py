"""Deletes, while a study runs, the files of its trials that nothing goes on from any more."""

import logging
import time
from collections.abc import Collection

from rethink_ray.records.retention import Retention
from rethink_ray.records.state import StudyState
from rethink_ray.search.jobs import Job

SWEEP_SECONDS = 30.0
"""Files are looked for at most this often, and at the end."""
SWEEP_SHARE = 50.0
"""... and never for more than one part in this many of the driver's time."""

_log = logging.getLogger(__name__)


class Sweeper:
    """Keeps a study directory as small as its ``checkpoints`` ask."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._swept_at = time.monotonic()
        self._cost = 0.0
        self._version = -1

    def sweep(self, state: StudyState, running: Collection[Job], *, now: bool = False) -> None:
        """In its rhythm, or ``now``: what nobody needs is gone, but for trials that run."""
        waited = time.monotonic() - self._swept_at
        if not now and waited < max(SWEEP_SECONDS, SWEEP_SHARE * self._cost):
            return
        if self._version == state.version:
            return
        started = time.monotonic()
        trial_ids = {job.trial_id for job in running if job.trial_id}
        for path in self._retention.files_to_drop(state, trial_ids):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s could not be deleted: %s", path, error)
        self._version = state.version
        self._swept_at = time.monotonic()
        self._cost = self._swept_at - started
