"""``optuna.journal``: the search as Optuna studies, one per search, for ``optuna-dashboard``.

A mirror, never read back. Within one run the file only grows, because a dashboard that has it open
remembers how far it read; a new run, or one that finds its file lost or cut, writes it anew, whole.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from rethink_ray.records.state import StudyState
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.search.optuna_trials import Shown, ShownCell
from rethink_ray.search.proposals import quiet_optuna
from rethink_ray.spec.resolve import Cell, searches_of
from rethink_ray.spec.study import Study


def write_mirror(path: Path, study: Study, state: StudyState) -> None:
    """The mirror of ``state``, written once and whole. A running study keeps a ``Mirror``."""
    Mirror(path, study).update(state)


def mirrored_name(study: Study, cell: Cell) -> str:
    """The name of a cell's Optuna study: ``study/regime/arm``; of its second search
    ``study/regime/arm/2``."""
    return f"{study.study}/{cell.name}"


class Mirror:
    """The mirror of one run of a study, brought up to date again and again."""

    def __init__(self, path: Path, study: Study) -> None:
        self._path = path
        self._study = study
        self._start_over()

    def _start_over(self) -> None:
        self._journal = _Journal()
        self._storage: JournalStorage | None = None
        self._cells: list[tuple[int, ShownCell]] = []
        self._places: dict[tuple[int, str], int] = {}
        """(Optuna study, trial id) -> Optuna's number for the trial."""
        self._last: dict[int, Shown] = {}
        """Optuna's number -> how an unfinished trial was shown last."""
        self._size = 0
        """Bytes in the file; 0 while nothing was written."""

    def update(self, state: StudyState) -> int:
        """Bring the file up to the records; how many lines were added.

        Raises:
            OSError: the disk refused; the file is as it was, and the next call tries again.
        """
        if self._size and _size_of(self._path) != self._size:
            self._start_over()
        with quiet_optuna():
            storage = self._open()
            started = frozenset(s.trial_id for s in state.started.values() if s.trial_id)
            for study_id, cell in self._cells:
                for shown in cell.trials(state, started):
                    self._show(storage, study_id, cell, shown)
        return self._write()

    def _open(self) -> JournalStorage:
        if self._storage is None:
            self._storage = JournalStorage(self._journal)
            for cell in searches_of(self._study):
                name = mirrored_name(self._study, cell)
                study_id = self._storage.create_new_study(
                    [StudyDirection.MAXIMIZE], study_name=name
                )
                self._cells.append((study_id, ShownCell(self._study, cell)))
        return self._storage

    def _show(self, storage: JournalStorage, study_id: int, cell: ShownCell, shown: Shown) -> None:
        place = self._places.get((study_id, shown.member.trial_id))
        if place is None:
            place = storage.create_new_trial(study_id, cell.template(shown))
            self._places[study_id, shown.member.trial_id] = place
        elif place in self._last:
            _advance(storage, place, self._last.pop(place), shown)
        else:
            return
        if not shown.finished:
            self._last[place] = shown

    def _write(self) -> int:
        lines = self._journal.unwritten
        content = "".join(lines).encode("ascii")
        if not self._size:
            write_atomically(self._path, content)
        elif lines:
            self._append(content)
        self._size += len(content)
        self._journal.unwritten = []
        return len(lines)

    def _append(self, content: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(content)
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, self._size)
            raise


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _advance(storage: JournalStorage, place: int, before: Shown, now: Shown) -> None:
    """Whatever happened to a trial since it was last shown."""
    for step in now.steps.keys() - before.steps.keys():
        storage.set_trial_intermediate_value(place, step, now.steps[step])
    if now.outcome:
        storage.set_trial_user_attr(place, "outcome", now.outcome)
    if now.state == before.state:
        return
    if before.state == TrialState.WAITING:
        storage.set_trial_state_values(place, TrialState.RUNNING)
    if now.finished:
        storage.set_trial_state_values(place, now.state, None if now.value is None else [now.value])


class _Journal(BaseJournalBackend):
    """Optuna's journal in memory, so that a thousand trials are one write and not a thousand.

    Holds only what its storage has not read and the file does not have yet.
    """

    def __init__(self) -> None:
        self.unwritten: list[str] = []
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """What was appended since the one storage that reads here asked last."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        for log in logs:
            line = json.dumps(log, separators=(",", ":"))
            self.unwritten.append(line + "\n")
            self._unread.append(json.loads(line))  # what is replayed is what a reader will see
