"""Who teaches whom in a study: what ``arms.<name>.teacher`` and ``labels`` mean together."""

from rethink_ray.spec.direct import ONLY_DETECTING
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.settings import flatten, nearest
from rethink_ray.spec.study import CopyFrom, Study

SHAPELESS = frozenset(
    f"detector.{name}"
    for name in (
        *ONLY_DETECTING,
        *("min_side_px", "max_side_px", "norm_batch"),
        *("anchor_base_px", "foreground_iou", "background_iou", "cascade_ious"),
        *("rpn_pre_nms", "rpn_post_nms", "rpn_batch", "box_batch"),
    )
)
"""Settings of a detector that its weights fit whatever they say."""


def check_teachers(study: Study, where: str) -> None:
    """Whoever learns from a teacher names one, nobody waits in a circle, and weights fit.

    Raises:
        SpecError: with the remedy.
    """
    for name, arm in study.arms.items():
        if arm.teacher is not None and arm.teacher not in study.arms:
            remedy = nearest(arm.teacher, list(study.arms))
            key = f"{where}: arms.{name}.teacher"
            raise SpecError(explain(key, "must name an arm", arm.teacher, remedy))
    _check_circles(study, where)
    for cell in cells_of(study):
        _check_cell(study, cell, where)


def _check_circles(study: Study, where: str) -> None:
    """No arm waits for itself, through teachers and ``copy_from``."""
    waits_for = {name: _waits_for(study, name) for name in study.arms}
    for name in study.arms:
        met, ahead = [name], list(waits_for[name])
        while ahead:
            arm = ahead.pop()
            if arm == name:
                must = "must not wait for itself: a teacher's search ends before its student's"
                came = ", ".join(dict.fromkeys(met))
                remedy = "Give one of these arms no teacher, or copy from another arm."
                raise SpecError(explain(f"{where}: arms.{name}.teacher", must, came, remedy))
            if arm not in met:
                met.append(arm)
                ahead += waits_for[arm]


def _waits_for(study: Study, name: str) -> list[str]:
    teacher = study.arms[name].teacher
    found = [] if teacher is None else [teacher]
    if isinstance(study.tuning, CopyFrom) and study.tuning.copy_from != name:
        found.append(study.tuning.copy_from)
    return found


def _check_cell(study: Study, cell: Cell, where: str) -> None:
    arm, recipe, space = study.arms[cell.arm], base_recipe(study, cell), space_of(study, cell)
    searched = space.get("labels.kind")
    kinds = {recipe.labels.kind, *((searched.choice or ()) if searched else ())}
    key = f"{where}: arms.{cell.arm}.teacher"
    if kinds == {"human"}:
        if arm.teacher is not None:
            must = "must be left out where labels.kind is human"
            remedy = "Or set labels.kind: self_training, or continued."
            raise SpecError(explain(key, must, arm.teacher, remedy))
        return
    if arm.teacher is None:
        must = f"must name the arm that teaches, under labels.kind: {recipe.labels.kind}"
        remedy = f"Such as teacher: {_others(study, cell.arm)}."
        raise SpecError(explain(key, must, None, remedy))
    if recipe.labels.start == "teacher" or "labels.start" in space:
        _check_same_network(study, cell, Cell(cell.regime, arm.teacher), where)


def _check_same_network(study: Study, cell: Cell, teacher: Cell, where: str) -> None:
    own, its = flatten(base_recipe(study, cell)), flatten(base_recipe(study, teacher))
    searched = space_of(study, cell).keys() | space_of(study, teacher).keys()
    remedy = "Or set labels.start: init, where any student learns from any teacher."
    for path in own:
        if not path.startswith("detector.") or path in SHAPELESS:
            continue
        key = f"{where}: {cell.name}: {path}"
        if path in searched:
            must = f"must be set, not searched, here and in {teacher.name}, which it goes on from"
            raise SpecError(explain(key, must, "a search", remedy))
        if _kind(path, own[path]) != _kind(path, its[path]):
            must = f"must be that of {teacher.name}, which it goes on from ({its[path]!r})"
            raise SpecError(explain(key, must, own[path], remedy))


def _kind(path: str, value: object) -> object:
    """Weights of ``bn`` fit ``sync_bn``, which only shares its statistics."""
    return "bn" if path == "detector.norm" and value == "sync_bn" else value


def _others(study: Study, name: str) -> str:
    others = [arm for arm in study.arms if arm != name]
    return others[0] if others else "the name of another arm"
