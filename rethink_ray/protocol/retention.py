"""Which files of its trials a study still needs, and which may go.

Needed are the trunks that something goes on from and the weights of the best; everything else can
be trained again, bit for bit, so a file dropped too early costs time and never changes a number.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.protocol.audit import audited
from rethink_ray.protocol.halving import HalvingState, ladder_of, replay_halving
from rethink_ray.protocol.incumbents import incumbents
from rethink_ray.protocol.status import trial_statuses
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Member
from rethink_ray.spec.resolve import Cell, copied_cell, searches_of
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What the trials of a study, or of one cell, still need on disk."""

    trunks: frozenset[str]
    """Trial ids whose trunk files are kept."""
    branches: frozenset[str]
    """Trial ids whose unfinished branch is kept."""
    models: frozenset[tuple[str, float]]
    """(trial id, length) of finished rungs whose weights are kept."""

    def __or__(self, other: "Needed") -> "Needed":
        return Needed(
            trunks=self.trunks | other.trunks,
            branches=self.branches | other.branches,
            models=self.models | other.models,
        )


NOTHING = Needed(trunks=frozenset(), branches=frozenset(), models=frozenset())


def needed_by(study: Study, state: StudyState, cell: Cell) -> Needed:
    """What the trials of one cell need, under the study's ``checkpoints``."""
    unfinished = _unfinished(study, state, cell)
    members = [m for p in ("search", "replicate") for _, m in state.members(cell, p)]
    match study.checkpoints.trunks:
        case "all":
            trunks = {m.trial_id for m in members}
        case "promotable":
            trunks = unfinished | _would_go_on(study, state, cell)
        case "unfinished":
            trunks = unfinished
    match study.checkpoints.models:
        case "all":
            own = {m.trial_id for m in members}
            models = {key for key in state.rungs if key[0] in own}
        case "incumbents":
            best = incumbents(study, state, cell)
            models = {(member.trial_id, length) for length, member in best.items()}
        case "none":
            models = set()
    return Needed(
        trunks=frozenset(trunks), branches=frozenset(unfinished), models=frozenset(models)
    )


class Retention:
    """Finds what may go, again and again; folders that are clean for good are looked at once."""

    def __init__(
        self,
        study: Study,
        root: Path,
        files_in: Callable[[Path], list[Path]] | None = None,
    ) -> None:
        """``files_in`` lists a folder of the study, wherever its files are."""
        self._study = study
        self._trials = root / "trials"
        self._files_in = files_in or _files_in
        self._clean: set[str] = set()

    def files_to_drop(self, state: StudyState, running: Collection[str]) -> list[Path]:
        """Files that no job reads any more. Nobody but the study's writer may delete them.

        Args:
            state: the records.
            running: ids of trials that a slot works on; their folders are left alone.
        """
        needed = NOTHING
        trial_ids: dict[str, None] = {}
        for cell in searches_of(self._study):
            needed |= needed_by(self._study, state, cell)
            for purpose in ("search", "replicate"):
                trial_ids |= {m.trial_id: None for _, m in state.members(cell, purpose)}
        lengths = {f"{length:g}x.pt": length for _, length in state.rungs}
        found: list[Path] = []
        for trial_id in trial_ids:
            if trial_id not in running and trial_id not in self._clean:
                useless = [
                    *self._useless_checkpoints(trial_id, needed),
                    *self._useless_models(trial_id, needed, state, lengths),
                ]
                if not useless and trial_id not in needed.trunks | needed.branches:
                    self._clean.add(trial_id)
                found += useless
        return found

    def _useless_checkpoints(self, trial_id: str, needed: Needed) -> Iterator[Path]:
        for path in self._files_in(self._trials / trial_id):
            trunk = path.name.startswith("trunk-") and trial_id not in needed.trunks
            branch = path.name == "branch.pt" and trial_id not in needed.branches
            if trunk or branch or _is_torn(path):
                yield path

    def _useless_models(
        self, trial_id: str, needed: Needed, state: StudyState, lengths: Mapping[str, float]
    ) -> Iterator[Path]:
        """Weights that lost; what is not recorded yet may still win.

        Args:
            trial_id: the trial.
            needed: by all cells.
            state: the records.
            lengths: file name -> the length it is of.
        """
        for path in self._files_in(self._trials / trial_id / "models"):
            rung = (trial_id, lengths.get(path.name, math.nan))
            if _is_torn(path) or (rung in state.rungs and rung not in needed.models):
                yield path


def files_to_drop(
    study: Study, state: StudyState, root: Path, running: Collection[str]
) -> list[Path]:
    """``Retention.files_to_drop``, asked once."""
    return Retention(study, root).files_to_drop(state, running)


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_torn(path: Path) -> bool:
    """What a killed process was about to write."""
    return path.name.startswith(".")


def _unfinished(study: Study, state: StudyState, cell: Cell) -> set[str]:
    """Trials that the study as it stands may still run on."""
    waiting = {
        f.member.trial_id for f in trial_statuses(study, state, cell) if f.state == "waiting"
    }
    first = state.rounds.get((cell, "search"), {}).get(0)
    if first is None or not study.budget.audit or copied_cell(study, cell) is not None:
        return waiting
    if not _standing(study, state, cell, first.members).is_decided:  # anybody may be audited
        waiting |= {m.trial_id for m in first.members if m.trial_id not in state.ended}
    return waiting


def _would_go_on(study: Study, state: StudyState, cell: Cell) -> set[str]:
    """Trials that a longer ladder would take further: the best at its end, and their repeats."""
    source = copied_cell(study, cell)
    going = _at_the_end(study, state, cell if source is None else source)
    if source is not None:
        going = {m.trial_id for _, m in state.members(cell, "search") if m.of in going}
    going |= {m.trial_id for _, m in state.members(cell, "replicate") if m.of in going}
    return going - state.ended.keys()


def _at_the_end(study: Study, state: StudyState, cell: Cell) -> set[str]:
    """Search trials that halving or the audit brought to the end of the ladder."""
    ladder = ladder_of(study, cell)
    if ladder.searched:
        return set()
    going: set[str] = set()
    for number, proposed in state.rounds.get((cell, "search"), {}).items():
        standing = _standing(study, state, cell, proposed.members)
        if len(standing.steps) == len(ladder.keep) and not standing.converged:
            going |= {m.trial_id for m in standing.steps[-1]}
            going |= set(audited(study, state, cell)) if number == 0 else set()
    return going


def _standing(
    study: Study, state: StudyState, cell: Cell, members: tuple[Member, ...]
) -> HalvingState:
    return replay_halving(study, state, ladder_of(study, cell), members)
