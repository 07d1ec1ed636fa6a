"""``optuna.journal``: the searches of a study as Optuna studies, for ``optuna-dashboard``.

The program writes this file and never reads it. Within one run the file only grows, because an open
dashboard remembers how far it has read. A new run writes the file anew. So does a run that finds
its file deleted or cut.
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

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.records.whole_files import write_atomically
from rethink_ray.search.optuna_trials import CellTrials, OptunaTrial
from rethink_ray.search.samplers import quiet_optuna
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


def write_optuna_journal(path: Path, study: Study, state: StudyState) -> None:
    """The whole journal of these records is at ``path``. A running study keeps an
    ``OptunaJournal``."""
    OptunaJournal(path, study).update(state)


def optuna_study_name(study: Study, cell: Cell) -> str:
    """The name of a cell's Optuna study: ``study/regime/arm``; of its second search
    ``study/regime/arm/2``."""
    return f"{study.study}/{cell.name}"


class OptunaJournal:
    """The journal of one run of a study, brought up to date again and again."""

    def __init__(self, path: Path, study: Study) -> None:
        self._path = path
        self._study = study
        self._view = StudyView(study, StudyState())
        self._start_over()

    def _start_over(self) -> None:
        self._journal = _Journal()
        self._storage: JournalStorage | None = None
        self._cells: list[tuple[int, CellTrials]] = []
        """(Number of an Optuna study, trials of its cell)."""
        self._numbers: dict[tuple[int, str], int] = {}
        """(Number of an Optuna study, trial id) -> Optuna's number for the trial."""
        self._last: dict[int, OptunaTrial] = {}
        """Optuna's number -> an unfinished trial as it was written last."""
        self._size = 0
        """Bytes in the file; 0 while nothing was written."""

    def update(self, state: StudyState) -> int:
        """The file agrees with the records; returns how many lines were added.

        Raises:
            OSError: the disk refused; the file is as it was, and the next call tries again.
        """
        self._view.read(state)
        if self._size and _size_of(self._path) != self._size:
            self._start_over()
        with quiet_optuna():
            storage = self._open()
            started = frozenset(s.trial_id for s in state.started.values() if s.trial_id)
            for study_id, cell in self._cells:
                for trial in cell.changing_trials(started):
                    self._put(storage, study_id, cell, trial)
        return self._write()

    def _open(self) -> JournalStorage:
        if self._storage is None:
            self._storage = JournalStorage(self._journal)
            for view in self._view.searches:
                name = optuna_study_name(self._study, view.cell)
                study_id = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
                self._cells.append((study_id, CellTrials(view)))
        return self._storage

    def _put(
        self, storage: JournalStorage, study_id: int, cell: CellTrials, trial: OptunaTrial
    ) -> None:
        """A new trial is created, an unfinished one advanced; a finished one stays as it is."""
        number = self._numbers.get((study_id, trial.member.trial_id))
        if number is None:
            number = storage.create_new_trial(study_id, cell.as_frozen_trial(trial))
            self._numbers[study_id, trial.member.trial_id] = number
        elif number in self._last:
            _advance(storage, number, self._last.pop(number), trial)
        else:
            return
        if not trial.is_finished:
            self._last[number] = trial

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


def _advance(storage: JournalStorage, number: int, before: OptunaTrial, now: OptunaTrial) -> None:
    """What has happened to a trial since it was last written is in the storage."""
    for step in now.steps.keys() - before.steps.keys():
        storage.set_trial_intermediate_value(number, step, now.steps[step])
    if now.outcome:
        storage.set_trial_user_attr(number, "outcome", now.outcome)
    if now.state == before.state:
        return
    if before.state == TrialState.WAITING:
        storage.set_trial_state_values(number, TrialState.RUNNING)
    if now.is_finished:
        values = None if now.value is None else [now.value]
        storage.set_trial_state_values(number, now.state, values)


class _Journal(BaseJournalBackend):
    """Optuna's journal in memory, so that a thousand trials cost one write.

    It holds only the entries that its storage has not read or that are not in the file yet.
    """

    def __init__(self) -> None:
        self.unwritten: list[str] = []
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Entries that were appended since the last call; only one storage reads them."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        for log in logs:
            line = json.dumps(log, separators=(",", ":"))
            self.unwritten.append(line + "\n")
            self._unread.append(json.loads(line))  # as a reader of the file gets it
