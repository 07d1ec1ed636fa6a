"""Cells whose search is over without a single score, and why.

An arm that diverges everywhere is a result, and the other arms still have findings. A study in
which every cell is empty has no findings and is incomplete.

If the method ends a trial (*diverged*, *infeasible*, *misconfigured*, *refused*), that is a result,
and the trial is not retried. A job that the machine lost (*failed*) is retried.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rethink_ray.protocol.remaining import CellProgress, StudyProgress
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import TrialEnded
from rethink_ray.spec.errors import mask_numbers
from rethink_ray.spec.resolve import Cell, space_of
from rethink_ray.spec.study import Study

ASSET_PATHS: dict[str, tuple[str, ...]] = {
    "classifier": ("upstream.", "detector."),
    "direct": ("direct.", "detector."),
    "upstream_detector": ("upstream_detector.", "detector."),
    "teacher": (),
    "pseudo_labels": ("labels.",),
    "imported_labels": ("labels.",),
}
"""Kind of an asset -> where a trial's own values may change it: beginnings of their paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why trials have no score."""

    outcome: str
    """How the method ended them; ``without a score`` for trials that finished and have none."""
    text: str
    """The recorded reason of the first of them."""
    trial_ids: tuple[str, ...]
    asset_kind: str = ""
    """Kind of the asset that was refused; empty for every other outcome."""


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


def can_more_trials_help(cells: Iterable[EmptyCell], study: Study) -> bool:
    """Whether a trial with other searched values may end otherwise in one of these cells.

    An asset that was refused is refused for each trial that needs it. Only a search over values
    that make another asset can help there.
    """
    for empty in cells:
        space = space_of(study, empty.cell)
        for reason in empty.reasons:
            paths = ("",) if reason.outcome != "refused" else ASSET_PATHS.get(reason.asset_kind, ())
            if any(path.startswith(paths) for path in space):
                return True
    return False


def _reasons(state: StudyState, searches: Iterable[CellProgress]) -> tuple[Reason, ...]:
    members = [m for one in searches for _, m in state.members(one.cell, "search")]
    groups: dict[tuple[str, str], list[str]] = {}
    texts: dict[tuple[str, str], str] = {}
    for trial_id in dict.fromkeys(member.trial_id for member in members):
        outcome, text = _end_of(state.ended.get(trial_id))
        key = (outcome, mask_numbers(text))
        groups.setdefault(key, []).append(trial_id)
        texts.setdefault(key, text)
    ordered = sorted(groups, key=lambda key: -len(groups[key]))
    return tuple(
        Reason(
            outcome=key[0],
            text=texts[key],
            trial_ids=tuple(groups[key]),
            asset_kind=_kind_of_refused(state, texts[key]) if key[0] == "refused" else "",
        )
        for key in ordered
    )


def _kind_of_refused(state: StudyState, text: str) -> str:
    """The kind of the refused asset whose key a trial's reason names."""
    return next((a.kind for key, a in state.assets.items() if a.refused and key in text), "")


def _end_of(ended: TrialEnded | None) -> tuple[str, str]:
    return ("without a score", "") if ended is None else (ended.outcome, ended.reason)
