"""Deletes checkpoints of trials while the study runs, as soon as no job can need them."""

import logging
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from rethink_ray.protocol.retention import Retention
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.jobs import Job
from rethink_ray.spec.errors import RecordError

SWEEP_SECONDS = 30.0
"""Files are searched for at most this often, and at the end."""
SWEEP_SHARE = 50.0
"""Searching takes at most one part in this many of the driver's time."""

_log = logging.getLogger(__name__)


class Sweeper:
    """Keeps a study directory as small as the study's ``checkpoints`` setting allows."""

    def __init__(self, directory: StudyDirectory) -> None:
        self._listing = _Listing(directory.copy) if directory.copy else None
        self._copy = directory.copy
        self._retention = Retention(directory.study, directory.root, self._listing)
        self._swept_at = time.monotonic()
        self._cost = 0.0
        self._version = -1

    def sweep(self, state: StudyState, running: Collection[Job], *, now: bool = False) -> None:
        """Delete files that no job can need, if it is time or ``now``; running trials keep all."""
        waited = time.monotonic() - self._swept_at
        if not now and waited < max(SWEEP_SECONDS, SWEEP_SHARE * self._cost):
            return
        if self._version == state.version:
            return
        started = time.monotonic()
        if self._listing is not None:
            self._listing.renew()
        trial_ids = {job.trial_id for job in running if job.trial_id}
        for path in self._retention.files_to_drop(state, trial_ids):
            try:
                if self._copy is None:
                    path.unlink(missing_ok=True)
                else:
                    self._copy.drop(path.relative_to(self._copy.root).as_posix())
            except (OSError, RecordError) as error:
                _log.warning("%s could not be deleted: %s", path, error)
        self._version = state.version
        self._swept_at = time.monotonic()
        self._cost = self._swept_at - started


class _Listing:
    """The files of trials in the store, most of them written by other machines."""

    def __init__(self, copy: WorkingCopy) -> None:
        self._copy = copy
        self._by_folder: dict[Path, list[Path]] = {}

    def renew(self) -> None:
        """Read the listing again."""
        by_folder: dict[Path, list[Path]] = defaultdict(list)
        try:
            for name in self._copy.store.list("trials"):
                path = self._copy.root / name
                by_folder[path.parent].append(path)
        except RecordError as error:
            _log.warning("%s", error)
        self._by_folder = dict(by_folder)

    def __call__(self, folder: Path) -> list[Path]:
        """The files of one folder."""
        return self._by_folder.get(folder, [])
