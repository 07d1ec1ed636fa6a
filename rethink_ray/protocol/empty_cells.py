"""Cells whose search is over without a single score, and why.

An arm that diverges everywhere is a result, and the other arms still have findings. A study in
which every cell is empty has no findings and is incomplete.

If the method ends a trial (*diverged*, *infeasible*, *misconfigured*, *refused*), that is a result,
and the trial is not retried. A job that the machine lost (*failed*) is retried.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from rethink_ray.protocol.remaining import CellProgress, StudyProgress
from rethink_ray.records.failures import FAILURE_FILE, point_to_file, without_numbers
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import TrialEnded
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why trials have no score."""

    outcome: str
    """How the method ended them; ``without a score`` for trials that finished and have none."""
    text: str
    """The recorded reason of the first of them."""
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyCell:
    """A cell without a score in any of its searches."""

    cell: Cell
    reasons: tuple[Reason, ...]
    """Most frequent first; none where no trial was proposed."""


def empty_cells(state: StudyState, progress: StudyProgress) -> tuple[EmptyCell, ...]:
    """The cells of a study whose search is over without one score, in the study's order."""
    by_arm: dict[tuple[str, str], list[CellProgress]] = {}
    for one in progress.cells:
        by_arm.setdefault((one.cell.regime, one.cell.arm), []).append(one)
    return tuple(
        EmptyCell(cell=Cell(*which), reasons=_reasons(state, searches))
        for which, searches in by_arm.items()
        if not any(one.search_to_go or one.best or one.reported for one in searches)
    )


def is_all_of(cells: Collection[EmptyCell], study: Study) -> bool:
    """Whether no cell of the study has a score: then there is nothing to find."""
    return len(cells) == len(study.regimes) * len(study.arms)


def _reasons(state: StudyState, searches: Iterable[CellProgress]) -> tuple[Reason, ...]:
    members = [m for one in searches for _, m in state.members(one.cell, "search")]
    groups: dict[tuple[str, str], list[str]] = {}
    texts: dict[tuple[str, str], str] = {}
    for trial_id in dict.fromkeys(member.trial_id for member in members):
        outcome, text = _end_of(state.ended.get(trial_id))
        key = (outcome, without_numbers(text))
        groups.setdefault(key, []).append(trial_id)
        texts.setdefault(key, text)
    ordered = sorted(groups, key=lambda key: -len(groups[key]))
    return tuple(
        Reason(outcome=key[0], text=texts[key], trial_ids=tuple(groups[key])) for key in ordered
    )


def _end_of(ended: TrialEnded | None) -> tuple[str, str]:
    return ("without a score", "") if ended is None else (ended.outcome, ended.reason)


def empty_lines(cells: Iterable[EmptyCell], root: Path) -> list[str]:
    """Why each cell is empty: reasons with counts, and the file with the whole traceback.

    Args:
        cells: those without a score.
        root: the study directory on this machine.
    """
    return [line for empty in cells for line in _lines_of(empty, root)]


def _lines_of(empty: EmptyCell, root: Path) -> list[str]:
    if not empty.reasons:
        return [f"{empty.cell.name}: no trial ran, because the arm it waits for has no score"]
    lines = [f"{empty.cell.name}: no search trial has a score"]
    for reason in empty.reasons:
        said = f": {reason.text}" if reason.text else ""
        files = (root / "trials" / trial_id / FAILURE_FILE for trial_id in reason.trial_ids)
        lines.append(f"  {len(reason.trial_ids)} {reason.outcome}{said}{point_to_file(files)}")
    return lines
