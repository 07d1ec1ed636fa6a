"""Syncs the files of a job between its machine and the store of a study at a URI.

Before the job its inputs are downloaded. While it runs its checkpoints are uploaded every few
seconds. Before an event is passed on, the files that belong to it are uploaded.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rethink_ray.cluster.work import StopFile
from rethink_ray.records.directory import STOP_NAME
from rethink_ray.records.store import Store
from rethink_ray.records.types import Event
from rethink_ray.records.working_copy import WorkingCopy
from rethink_ray.search.jobs import Job
from rethink_ray.spec.assets import assets_of
from rethink_ray.spec.errors import RecordError
from rethink_ray.training.stopping import never_stop

UPLOAD_SECONDS = 10.0
"""Time between two uploads of new checkpoints: a lost machine costs at most this much more work."""
STOP_CHECK_SECONDS = 2.0
"""Time between two checks whether the store holds a request to stop."""

_log = logging.getLogger(__name__)


def download_inputs(job: Job, copy: WorkingCopy) -> None:
    """The job's earlier files and its assets are on this machine.

    Raises:
        RecordError: the store does not answer.
    """
    assets = _asset_folders(job)
    copy.pull(job.folder, *assets)
    copy.trust(*assets)


def sync_events(job: Job, copy: WorkingCopy, run: Callable[[], Iterator[Event]]) -> Iterator[Event]:
    """The events of ``run``, each after its files were uploaded; first ``download_inputs``.

    Raises:
        RecordError: the store does not answer. That is a failure of the machine.
    """
    with _uploading(copy, (job.folder, *_asset_folders(job))) as upload:
        try:
            for event in run():
                upload()
                yield event
        finally:
            upload()


def _asset_folders(job: Job) -> tuple[str, ...]:
    """Folders of the assets that a job reads.

    They are uploaded, too: if an asset is damaged in the store, the first job that needs it builds
    it again, and the next jobs must not.
    """
    assets = job.asset.needs if job.config is None and job.asset else assets_of(job.trial[1])
    return tuple(f"assets/{asset.key}" for asset in assets)


@contextmanager
def _uploading(copy: WorkingCopy, names: tuple[str, ...]) -> Iterator[Callable[[], None]]:
    """Inside, a thread uploads ``names`` now and then; the yielded function does so at once."""
    one_at_a_time = threading.Lock()
    is_over = threading.Event()

    def upload() -> None:
        with one_at_a_time:
            copy.push(*names)

    def keep_uploading() -> None:
        while not is_over.wait(UPLOAD_SECONDS):
            try:
                upload()
            except RecordError as error:
                _log.warning("%s", error)

    thread = threading.Thread(target=keep_uploading, daemon=True)
    thread.start()
    try:
        yield upload
    finally:
        is_over.set()
        thread.join()


def build_stop_check(path: Path, uri: str) -> StopFile:
    """The check whether to stop, for a job: a file, and for a study at a URI an object as well."""
    return StopFile(path, StopObject(Store(uri), STOP_NAME) if uri else never_stop)


class StopObject:
    """Checks now and then whether a store holds the request to stop; no answer means no."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._checked_at = -STOP_CHECK_SECONDS
        self._exists = False

    def __call__(self) -> bool:
        """Whether the study was asked to stop."""
        now = time.monotonic()
        if not self._exists and now - self._checked_at >= STOP_CHECK_SECONDS:
            self._checked_at = now
            try:
                self._exists = self._store.exists(self._name)
            except RecordError as error:
                _log.warning("%s", error)
        return self._exists
