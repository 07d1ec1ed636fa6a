"""Which files of its trials a study still needs, and which may be deleted.

A study needs the trunks from which trials may train on, and the weights of the best trials. All
other files can be made again by training, bit for bit: deleting one too early costs time and
changes no number.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.protocol.cell_view import CellView, StudyView
from rethink_ray.records.state import StudyState
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """The files that the trials of a study, or of one cell, still need."""

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


_NOTHING = Needed(trunks=frozenset(), branches=frozenset(), models=frozenset())


def needed_by(view: CellView) -> Needed:
    """The files that the trials of one cell need, under the study's ``checkpoints``."""
    unfinished = _unfinished(view)
    trial_ids = {m.trial_id for m in (*view.members("search"), *view.members("replicate"))}
    match view.study.checkpoints.trunks:
        case "all":
            trunks = trial_ids
        case "promotable":
            trunks = unfinished | _promotable(view)
        case "unfinished":
            trunks = unfinished
    match view.study.checkpoints.models:
        case "all":
            models = {rung for rung in view.state.rungs if rung[0] in trial_ids}
        case "incumbents":
            models = {(member.trial_id, length) for length, member in view.incumbents.items()}
        case "none":
            models = set()
    return Needed(
        trunks=frozenset(trunks), branches=frozenset(unfinished), models=frozenset(models)
    )


class Retention:
    """Lists the files that may be deleted; folders without any left are not read again."""

    def __init__(
        self,
        study: Study,
        root: Path,
        files_in: Callable[[Path], list[Path]] | None = None,
    ) -> None:
        """``files_in`` lists a folder of the study: on this machine, or in a store."""
        self._study = study
        self._trials = root / "trials"
        self._files_in = files_in or _files_in
        self._clean: set[str] = set()

    def files_to_drop(self, state: StudyState, running: Collection[str]) -> list[Path]:
        """Files that no job reads any more. Only the study's writer may delete them.

        Args:
            state: the records.
            running: ids of trials that a slot works on; their folders are left out.
        """
        needed = _NOTHING
        trial_ids: dict[str, None] = {}
        for view in StudyView(self._study, state).searches:
            needed |= needed_by(view)
            for member in (*view.members("search"), *view.members("replicate")):
                trial_ids[member.trial_id] = None
        lengths = {f"{length:g}x.pt": length for _, length in state.rungs}
        to_drop: list[Path] = []
        for trial_id in trial_ids:
            if trial_id not in running and trial_id not in self._clean:
                useless = [
                    *self._useless_checkpoints(trial_id, needed),
                    *self._useless_models(trial_id, needed, state, lengths),
                ]
                if not useless and trial_id not in needed.trunks | needed.branches:
                    self._clean.add(trial_id)
                to_drop += useless
        return to_drop

    def _useless_checkpoints(self, trial_id: str, needed: Needed) -> Iterator[Path]:
        for path in self._files_in(self._trials / trial_id):
            trunk = path.name.startswith("trunk-") and trial_id not in needed.trunks
            branch = path.name == "branch.pt" and trial_id not in needed.branches
            if trunk or branch or _is_torn(path):
                yield path

    def _useless_models(
        self, trial_id: str, needed: Needed, state: StudyState, lengths: Mapping[str, float]
    ) -> Iterator[Path]:
        """Weights of recorded rungs that are no incumbent's; a rung not recorded yet may still win.

        Args:
            trial_id: the trial.
            needed: files that all cells need.
            state: the records.
            lengths: file name -> schedule length.
        """
        for path in self._files_in(self._trials / trial_id / "models"):
            rung = (trial_id, lengths.get(path.name, math.nan))
            if _is_torn(path) or (rung in state.rungs and rung not in needed.models):
                yield path


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_torn(path: Path) -> bool:
    """A file that a killed process had not finished writing."""
    return path.name.startswith(".")


def _unfinished(view: CellView) -> set[str]:
    """Trials that may still run on, without any change to the study.

    Until the first round is decided, all its trials are among them: any loser may be audited.
    """
    unfinished = {s.member.trial_id for s in view.statuses if s.state == "waiting"}
    first = view.halving.get(0)
    if first is not None and view.rules.num_audited and not first.is_decided:
        unfinished |= {m.trial_id for m in first.steps[0]} - view.state.ended.keys()
    return unfinished


def _promotable(view: CellView) -> set[str]:
    """Trials that a longer ladder would take further: the best at its end, and their replicates."""
    at_end = _at_the_end(view.source or view)
    if view.source is not None:
        at_end = {m.trial_id for m in view.members("search") if m.of in at_end}
    at_end |= {m.trial_id for m in view.members("replicate") if m.of in at_end}
    return at_end - view.state.ended.keys()


def _at_the_end(view: CellView) -> set[str]:
    """Search trials that halving or the audit brought to the end of the ladder."""
    if view.ladder.searched:
        return set()
    at_end: set[str] = set()
    for number, halving in view.halving.items():
        if len(halving.steps) == len(view.ladder.keep) and not halving.converged:
            at_end |= {m.trial_id for m in halving.steps[-1]}
            at_end |= {m.trial_id for m in view.audited} if number == 0 else set()
    return at_end
