"""Who teaches whom in a study: what ``arms.<name>.teacher`` and ``labels`` mean together."""

from rethink_ray.spec.direct import ONLY_DETECTING
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, recipe_of_file, space_of
from rethink_ray.spec.settings import flatten, nearest, settled_paths
from rethink_ray.spec.study import CopyFrom, Study, TeacherFile

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
LOOKING = ("batch_size", "precision")
"""Settings beside ``detector`` and ``evaluation`` that matter to one that only looks."""


def check_teachers(study: Study, where: str) -> None:
    """Whoever learns from a teacher names one, nobody waits in a circle, and weights fit.

    Raises:
        SpecError: with the remedy.
    """
    for name, arm in study.arms.items():
        if isinstance(arm.teacher, str) and arm.teacher not in study.arms:
            remedy = f"{nearest(arm.teacher, list(study.arms))} A file is written {{file: PATH}}."
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
    found = [teacher] if isinstance(teacher, str) else []
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
            came = arm.teacher.file if isinstance(arm.teacher, TeacherFile) else arm.teacher
            raise SpecError(explain(key, must, came, remedy))
        return
    if arm.teacher is None:
        must = f"must name the arm that teaches, under labels.kind: {recipe.labels.kind}"
        remedy = f"Such as teacher: {_others(study, cell.arm)}, or teacher: {{file: PATH}}."
        raise SpecError(explain(key, must, None, remedy))
    goes_on = recipe.labels.start == "teacher" or "labels.start" in space
    if isinstance(arm.teacher, TeacherFile):
        its, its_space = _checked_file(study, cell, arm.teacher, where), frozenset[str]()
        name = f"the teacher in {arm.teacher.file}"
    else:
        teacher = Cell(cell.regime, arm.teacher)
        its, its_space = base_recipe(study, teacher), frozenset(space_of(study, teacher))
        name = teacher.name
    if goes_on:
        _check_same_network(study, cell, its, its_space, name, where)


def _checked_file(study: Study, cell: Cell, given: TeacherFile, where: str) -> Recipe:
    """How a detector looks that is only said where it differs from the arm's."""
    key = f"{where}: arms.{cell.arm}.teacher.set"
    for path in settled_paths(given.set):
        if not path.startswith(("detector.", "evaluation.")) and path not in LOOKING:
            must = f"must name settings of detector or evaluation, {' or '.join(LOOKING)}"
            remedy = "A detector in a file is not trained: it only looks."
            raise SpecError(explain(key, must, path, remedy))
    recipe = recipe_of_file(study, cell)
    for path in space_of(study, cell):
        if path.startswith("detector.") and path not in SHAPELESS | settled_paths(given.set):
            must = f"must say {path} of the file, which the arm searches"
            raise SpecError(explain(key, must, "nothing of it", "Add it."))
    threshold, floor = base_recipe(study, cell).labels.threshold, recipe.detector.score_threshold
    if threshold < floor:
        must = f"must leave detector.score_threshold at most labels.threshold = {threshold:g}"
        raise SpecError(explain(key, must, floor))
    return recipe


def _check_same_network(
    study: Study, cell: Cell, teacher: Recipe, its_space: frozenset[str], name: str, where: str
) -> None:
    own, its = flatten(base_recipe(study, cell)), flatten(teacher)
    searched = space_of(study, cell).keys() | its_space
    remedy = "Or set labels.start: init, where any student learns from any teacher."
    for path in own:
        if not path.startswith("detector.") or path in SHAPELESS:
            continue
        key = f"{where}: {cell.name}: {path}"
        if path in searched:
            must = f"must be set, not searched, here and in {name}, which it goes on from"
            raise SpecError(explain(key, must, "a search", remedy))
        if _kind(path, own[path]) != _kind(path, its[path]):
            must = f"must be that of {name}, which it goes on from ({its[path]!r})"
            raise SpecError(explain(key, must, own[path], remedy))


def _kind(path: str, value: object) -> object:
    """Weights of ``bn`` fit ``sync_bn``, which only shares its statistics."""
    return "bn" if path == "detector.norm" and value == "sync_bn" else value


def _others(study: Study, name: str) -> str:
    others = [arm for arm in study.arms if arm != name]
    return others[0] if others else "the name of another arm"
