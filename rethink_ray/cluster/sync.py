"""A job of a study at a URI: what it needs is brought to its machine, what it leaves goes home.

A finished rung is told only when its files are home; checkpoints in between go every few seconds.
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

CARRY_SECONDS = 10.0
"""Between two looks for new checkpoints; a lost machine costs at most this much more."""

ASK_SECONDS = 2.0

_log = logging.getLogger(__name__)


def carried(job: Job, copy: WorkingCopy, run: Callable[[], Iterator[Event]]) -> Iterator[Event]:
    """The events of ``run``, which works in the folder of ``copy``; call ``fetch`` first.

    Raises:
        RecordError: the store does not answer; the machine's failure, not the method's.
    """
    with _carrier(copy, (job.folder, *_started_from(job))) as carry:
        try:
            for event in run():
                carry()
                yield event
        finally:
            carry()


def fetch(job: Job, copy: WorkingCopy) -> None:
    """What the job needs is on this machine.

    Raises:
        RecordError: the store does not answer.
    """
    assets = _started_from(job)
    copy.pull(job.folder, *assets)
    copy.trust(*assets)


def _started_from(job: Job) -> tuple[str, ...]:
    """Folders of the assets that a job reads. It carries them, too: one that was damaged at home is
    built again by the first job that needs it, and must not be by every other."""
    needed = job.asset.needs if job.config is None and job.asset else assets_of(job.trial[1])
    return tuple(f"assets/{asset.key}" for asset in needed)


@contextmanager
def _carrier(copy: WorkingCopy, names: tuple[str, ...]) -> Iterator[Callable[[], None]]:
    """Inside the block a thread carries ``names`` home; so does calling what it gives."""
    turn = threading.Lock()
    over = threading.Event()

    def carry() -> None:
        with turn:
            copy.push(*names)

    def keep_carrying() -> None:
        while not over.wait(CARRY_SECONDS):
            try:
                carry()
            except RecordError as error:
                _log.warning("%s", error)

    thread = threading.Thread(target=keep_carrying, daemon=True)
    thread.start()
    try:
        yield carry
    finally:
        over.set()
        thread.join()


def stop_of(path: Path, uri: str) -> StopFile:
    """The wish to stop as a job looks for it: a file and, for a study at a URI, an object."""
    return StopFile(path, StopObject(Store(uri), STOP_NAME) if uri else never_stop)


class StopObject:
    """Asks a store, now and then, whether to stop; one that does not answer has no wish."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._asked_at = -ASK_SECONDS
        self._found = False

    def __call__(self) -> bool:
        """Whether someone asked to stop."""
        now = time.monotonic()
        if not self._found and now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            try:
                self._found = self._store.exists(self._name)
            except RecordError as error:
                _log.warning("%s", error)
        return self._found
