"""The only writer of a study's records: each event goes into the log first, then into the state.

An event that is recorded already changes nothing, so a job may report a rung more than once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import StudyLock
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import (
    AssetDone,
    Event,
    LookTaken,
    Resumed,
    RoundProposed,
    RungDone,
    TrialEnded,
)
from rethink_ray.records.views import write_views
from rethink_ray.search.optuna_journal import OptunaJournal
from rethink_ray.spec.errors import RecordError

VIEW_SECONDS = 10.0
"""Tables and Optuna's journal are rewritten at most this often, and at the end."""
VIEW_SHARE = 20.0
"""Rewriting them takes at most one part in this many of the driver's time."""

Listener = Callable[[Event], None]
"""Called with each new event once it is recorded. Its exceptions are logged and stop nothing."""

_log = logging.getLogger(__name__)


class Recorder:
    """The log and the state of one study, which always agree."""

    def __init__(
        self,
        directory: StudyDirectory,
        listeners: Sequence[Listener] = (),
        lock: StudyLock | None = None,
    ) -> None:
        self.directory = directory
        self._lock = lock
        self.state = directory.load_state()
        self._journal = OptunaJournal(directory.optuna_journal_path, directory.study)
        self._listeners = tuple(listeners)
        self._failed_listeners: set[int] = set()
        self._views_at = time.monotonic()
        self._views_cost = 0.0
        self._views_version = -1

    def continue_study(self) -> None:
        """Record that a study continues; jobs that were lost so far get all their retries again.

        Nothing is recorded if the study has no records yet, because it only begins.
        """
        if self.state.version == 0:
            return
        study = self.directory.study
        self.record(
            Resumed(
                trials=study.budget.trials,
                replicates=study.budget.num_replicates,
                searches=num_searches(study),
                lengths=study.schedule.lengths or (),
            )
        )

    def record(self, event: Event) -> bool:
        """``event`` is in the log and in the state. Returns False if it was recorded before.

        Raises:
            RecordError: the disk refused, or another process has taken the study over.
        """
        if _is_recorded(self.state, event):
            return False
        if self._lock is not None:
            self._lock.require_held()
        if event.at == 0.0:
            event = replace(event, at=round(time.time(), 3))
        self.directory.log.append(event)
        self.state.add(event)
        self._notify(event)
        return True

    def _notify(self, event: Event) -> None:
        for index, listener in enumerate(self._listeners):
            try:
                listener(event)
            except Exception as error:
                level = logging.DEBUG if index in self._failed_listeners else logging.WARNING
                self._failed_listeners.add(index)
                _log.log(level, "a listener failed; the study goes on: %r", error)

    def refresh_views(self, *, now: bool = False) -> None:
        """Rewrite the tables and Optuna's journal if they are due, or ``now``.

        They can be rebuilt from the log at any time, so a full disk stops nothing here.
        """
        waited = time.monotonic() - self._views_at
        if not now and waited < max(VIEW_SECONDS, VIEW_SHARE * self._views_cost):
            return
        if self._views_version == self.state.version:
            return
        started = time.monotonic()
        try:
            write_views(self.directory, self.state, build_tables)
            self._journal.update(self.state)
            self.directory.publish()
            self._views_version = self.state.version
        except (OSError, RecordError) as error:
            _log.warning("views could not be written (%s); they are rebuilt when read", error)
        self._views_at = time.monotonic()
        self._views_cost = self._views_at - started
        _log.debug("views written in %.2f s", self._views_cost)


def _is_recorded(state: StudyState, event: Event) -> bool:
    """Whether the state holds this result or this round already."""
    match event:
        case RoundProposed():
            return event.number in state.rounds.get((event.cell, event.purpose), {})
        case RungDone():
            return (event.trial_id, event.length) in state.rungs
        case TrialEnded():
            return event.trial_id in state.ended
        case AssetDone():
            return event.key in state.assets
        case LookTaken():
            return event.number in state.looks
        case _:
            return False
