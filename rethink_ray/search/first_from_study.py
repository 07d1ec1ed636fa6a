"""Copies the points that ``try_first: {from: studies/other}`` names into a study that starts."""

import logging

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.search.best_points import BestPoints, choose_best_points
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import Explanation, RecordError, SpecError
from rethink_ray.spec.first_points import CopiedPoints, FirstFromStudy
from rethink_ray.spec.study import Study
from rethink_ray.spec.yaml_text import replace_value

_log = logging.getLogger(__name__)


def copy_first_points(study: Study, yaml_text: str, where: str) -> tuple[Study, str]:
    """The study and its file, with the points that ``try_first.from`` names.

    What is left out is logged. A study that names no other, or that has its points already, comes
    back as it is.

    Args:
        study: checked.
        yaml_text: its file.
        where: the file's name, for messages.

    Raises:
        SpecError: the other study cannot be read, or has no point for any arm.
    """
    source = study.try_first
    if not isinstance(source, FirstFromStudy) or source.copied is not None:
        return study, yaml_text
    key = f"{where}: try_first.from"
    directory = _open(source.source, key)
    other = StudyView(directory.study, directory.load_state())
    best = choose_best_points(study, other, directory.facts.regime_sizes)
    _require_points(study, source.source, best, directory.study, key)
    copied = CopiedPoints(
        study=directory.study.study,
        data=directory.facts.fingerprint,
        select_on=directory.study.data.select_split,
        points=best.points,
    )
    for remark in _list_remarks(best):
        _log.warning("%s: %s.", key, remark)
    filled = source.model_copy(update={"copied": copied})
    with_points = study.model_copy(update={"try_first": filled})
    check_study(with_points, where)
    tree = filled.model_dump(mode="json", by_alias=True)
    return with_points, replace_value(yaml_text, "try_first", tree)


def _open(address: str, key: str) -> StudyDirectory:
    try:
        return StudyDirectory.open(address)
    except RecordError as error:
        remedy = (
            "Name the directory of a study that has run. If this study has started, its own "
            "study.yaml holds the points that it copied."
        )
        must = "must hold a study whose points can be copied"
        raise SpecError(Explanation.of(key, must, f"{address}: {error.came}", remedy)) from None


def _require_points(study: Study, address: str, best: BestPoints, other: Study, key: str) -> None:
    """Refuses a study that could give no cell anything, and says why it could not."""
    if best.points or not (best.without_points or best.remarks):
        return  # or the recipe's own values are the best everywhere
    must = "must have points for an arm of this study"
    if best.remarks:
        shown = f"none that a cell can try: {'; '.join(best.remarks[:3])}"
        remedy = "Widen the ranges, raise budget.trials, or leave try_first out."
    elif set(study.arms) & set(other.arms):
        shown = f"{address}, of which no trial has finished"
        remedy = "Let it run first."
    else:
        shown = f"{address}, whose arms are {', '.join(other.arms)}"
        remedy = "Call arms by the same name in both studies, or leave try_first out."
    raise SpecError(Explanation.of(key, must, shown, remedy))


def _list_remarks(best: BestPoints) -> list[str]:
    """One sentence for each thing a reader should know, without its full stop."""
    remarks = list(best.remarks)
    if best.without_points:
        remarks.append(
            f"no trial has finished there for {', '.join(best.without_points)}, which begins "
            "with the recipe's values alone; findings that compare it say so"
        )
    return remarks
