"""Who teaches whom in a study: what ``arms.<name>.teacher`` and ``labels`` mean together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rethink_ray.spec.detector_weights import starts_from_file
from rethink_ray.spec.direct import ONLY_DETECTING
from rethink_ray.spec.errors import show_value
from rethink_ray.spec.pixel_input import IMAGENET, InputSpec
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, recipe_of_file, space_of
from rethink_ray.spec.rules.rule import Breach, Rule
from rethink_ray.spec.rules.search_space import SearchedCell
from rethink_ray.spec.settings import flatten, nearest, settled_paths
from rethink_ray.spec.study import CopyFrom, Study, TeacherFile
from rethink_ray.spec.weight_keys import FROM_HUB

SHAPELESS = frozenset(
    f"detector.{name}"
    for name in (
        *ONLY_DETECTING,
        "min_side_px",
        "max_side_px",
        "norm_batch",
        "norm_epsilon",
        "neck_merge",
        "anchor_base_px",
        "foreground_iou",
        "background_iou",
        "cascade_ious",
        "canonical_scale_px",
        *("focal_gamma", "focal_alpha", "box_loss", "box_loss_beta", "box_loss_weight"),
        *("rpn_box_loss_beta", "rpn_box_loss_weight"),
        *("rpn_pre_nms_train", "rpn_post_nms_train", "rpn_batch", "box_batch"),
    )
)
"""Settings of a detector that do not change the shapes of its weights."""
PIXEL_PATHS = ("labels.kind", "labels.start", "init.input", "init.source", "detector.backbone")
"""Paths that decide which input a student states, and which one its teacher has."""
SCORE_THRESHOLD = "detector.score_threshold"
LOOKING = ("batch_size", "precision", "init.input")
"""Settings beside ``detector`` and ``evaluation`` that a detector which only labels reads."""


def _is_no_arm(study: Study) -> bool | Breach:
    for name, arm in study.arms.items():
        if isinstance(arm.teacher, str) and arm.teacher not in study.arms:
            words = {"nearest": nearest(arm.teacher, list(study.arms))}
            return Breach(key=f"arms.{name}.teacher", came=arm.teacher, words=words)
    return False


def _waits_for_itself(study: Study) -> bool | Breach:
    """The first arm that waits for itself, through teachers and ``copy_from``."""
    waits_for = {name: [*_waits_for(study, name)] for name in study.arms}
    for name in study.arms:
        passed, ahead = [name], list(waits_for[name])
        while ahead:
            arm = ahead.pop()
            if arm == name:
                return Breach(key=f"arms.{name}.teacher", came=", ".join(dict.fromkeys(passed)))
            if arm not in passed:
                passed.append(arm)
                ahead += waits_for[arm]
    return False


def _waits_for(study: Study, name: str) -> Iterator[str]:
    teacher = study.arms[name].teacher
    if isinstance(teacher, str):
        yield teacher
    if isinstance(study.tuning, CopyFrom) and study.tuning.copy_from != name:
        yield study.tuning.copy_from


TEACHER_RULES: tuple[Rule[Study], ...] = (
    Rule(
        key="arms",
        broken=_is_no_arm,
        must="must name an arm",
        remedy="{nearest} A file is written {{file: PATH}}.",
    ),
    Rule(
        key="arms",
        reads=("tuning.copy_from",),
        broken=_waits_for_itself,
        must="must not wait for itself: a teacher's search ends before its student's",
        remedy="Give one of these arms no teacher, or copy from another arm.",
    ),
)


@dataclass(frozen=True)
class Student(SearchedCell):
    """A cell, looked at as one that may have a teacher."""

    @property
    def teacher(self) -> str | TeacherFile | None:
        """As the arm names it."""
        return self.study.arms[self.cell.arm].teacher

    @property
    def key(self) -> str:
        """Where the arm names its teacher."""
        return f"arms.{self.cell.arm}.teacher"

    @property
    def is_taught(self) -> bool:
        """Whether any run of the cell may learn from a teacher."""
        searched = self.space.get("labels.kind")
        kinds = {self.recipe.labels.kind, *((searched.choice or ()) if searched else ())}
        return bool(kinds & {"self_training", "continued"})

    @property
    def goes_on(self) -> bool:
        """Whether any run of the cell may start from its teacher's weights."""
        return self.recipe.labels.start == "teacher" or "labels.start" in self.space

    @property
    def words(self) -> dict[str, Any]:
        """What the sentences of a rule are filled from."""
        others = [arm for arm in self.study.arms if arm != self.cell.arm]
        return {
            **dict(self.recipe),
            "other": others[0] if others else "the name of another arm",
            "teacher": self.name_of_teacher,
            "looking": " or ".join(LOOKING),
        }

    @property
    def name_of_teacher(self) -> str:
        """The teacher's cell, or its file in words."""
        if isinstance(self.teacher, TeacherFile):
            return f"the teacher in {self.teacher.file}"
        return Cell(self.cell.regime, self.teacher or "").name

    def recipe_of_teacher(self) -> tuple[Recipe, frozenset[str]]:
        """The teacher's base recipe, and the paths that its own search changes."""
        assert self.teacher is not None, "an earlier rule requires a teacher"
        if isinstance(self.teacher, TeacherFile):
            return recipe_of_file(self.study, self.cell), frozenset()
        cell = Cell(self.cell.regime, self.teacher)
        return base_recipe(self.study, cell), frozenset(space_of(self.study, cell))


def _has_no_use_for_a_teacher(student: Student) -> bool | Breach:
    teacher = student.teacher
    if student.is_taught or teacher is None:
        return False
    named = teacher.file if isinstance(teacher, TeacherFile) else teacher
    return Breach(key=student.key, came=named)


def _sets_what_a_file_never_reads(student: Student) -> bool | Breach:
    """A detector in a file is not trained, so the recipe's other settings say nothing of it."""
    if not isinstance(student.teacher, TeacherFile):
        return False
    for path in settled_paths(student.teacher.set):
        if not path.startswith(("detector.", "evaluation.")) and path not in LOOKING:
            return Breach(key=f"{student.key}.set", came=path)
    return False


def _leaves_a_searched_setting_open(student: Student) -> bool | Breach:
    """The arm searches a setting that decides the shapes of weights; the file has one value."""
    if not isinstance(student.teacher, TeacherFile):
        return False
    known = SHAPELESS | settled_paths(student.teacher.set)
    for path in student.space:
        if path.startswith("detector.") and path not in known:
            return Breach(key=f"{student.key}.set", came="nothing of it", words={"path": path})
    return False


def _hides_labels(student: Student) -> bool | Breach:
    """The file's detector drops detections that score above the threshold of its labels."""
    if not isinstance(student.teacher, TeacherFile):
        return False
    floor = recipe_of_file(student.study, student.cell).detector.score_threshold
    is_hidden = student.recipe.labels.threshold < floor
    return is_hidden and Breach(key=f"{student.key}.set", came=floor)


def _hides_labels_of_an_arm(student: Student) -> bool | Breach:
    """The teaching arm drops detections that score above the threshold of its labels."""
    if not isinstance(student.teacher, str):
        return False
    cell = Cell(student.cell.regime, student.teacher)
    teachers = reachable_recipes(
        base_recipe(student.study, cell), space_of(student.study, cell), (SCORE_THRESHOLD,)
    )
    floor = max(recipe.detector.score_threshold for recipe in teachers)
    paths = ("labels.kind", "labels.threshold")
    for recipe in reachable_recipes(student.recipe, student.space, paths):
        if recipe.labels.kind == "self_training" and recipe.labels.threshold < floor:
            key = f"{student.cell.name}: labels.threshold"
            return Breach(key=key, came=recipe.labels.threshold, words={"floor": floor})
    return False


def _network_paths(student: Student) -> list[str]:
    """Paths that student and teacher must share for one to go on from the other's weights."""
    if not student.is_taught or not student.goes_on:
        return []
    paths = flatten(student.recipe)
    return [path for path in paths if path.startswith("detector.") and path not in SHAPELESS]


def _searches_the_network(student: Student) -> bool | Breach:
    paths = _network_paths(student)
    if not paths:
        return False
    _, teachers_space = student.recipe_of_teacher()
    for path in paths:
        if path in student.space or path in teachers_space:
            return Breach(key=f"{student.cell.name}: {path}", came="a search")
    return False


def _has_another_network(student: Student) -> bool | Breach:
    paths = _network_paths(student)
    if not paths:
        return False
    recipe, _ = student.recipe_of_teacher()
    ours, theirs = flatten(student.recipe), flatten(recipe)
    for path in paths:
        if _kind(path, ours[path]) != _kind(path, theirs[path]):
            words = {"theirs": show_value(theirs[path])}
            return Breach(key=f"{student.cell.name}: {path}", came=ours[path], words=words)
    return False


def _states_another_input(student: Student) -> bool | Breach:
    """The student goes on from weights that saw other pixels than ``init.input`` says."""
    for recipe in reachable_recipes(student.recipe, student.space, PIXEL_PATHS):
        stated = recipe.init.input
        if stated is None or not recipe.labels.goes_on:
            continue
        for taught in _inputs_of_teacher(student):
            if not stated.is_same(taught):
                key = f"{student.cell.name}: init.input"
                return Breach(key=key, came=stated.in_words, words={"theirs": taught.in_words})
    return False


def _inputs_of_teacher(student: Student) -> Iterator[InputSpec]:
    """Every input that the teacher's weights can have, as far as the study alone says it.

    Files of weights say it themselves, when a run opens them. Of torchvision's weights, VGG-16's
    differ in their input; those of the other backbones here have ImageNet's.
    """
    if student.teacher is None or isinstance(student.teacher, TeacherFile):
        stated = student.recipe_of_teacher()[0].init.input if student.teacher else None
        yield from () if stated is None else (stated,)
        return
    teacher = Student(student.study, Cell(student.cell.regime, student.teacher))
    for recipe in reachable_recipes(teacher.recipe, teacher.space, PIXEL_PATHS):
        init, is_vgg = recipe.init, recipe.detector.backbone == "vgg16"
        if init.input is not None:
            yield init.input
        elif recipe.labels.goes_on:
            yield from _inputs_of_teacher(teacher)
        elif not (starts_from_file(init) or init.source in FROM_HUB) and not (
            init.source == "torchvision" and is_vgg
        ):
            yield IMAGENET


def _kind(path: str, value: object) -> object:
    """Weights of ``bn`` fit ``sync_bn``, which only shares its statistics."""
    return "bn" if path == "detector.norm" and value == "sync_bn" else value


STUDENT_RULES: tuple[Rule[Student], ...] = (
    Rule(
        key="arms",
        reads=("labels.kind",),
        broken=_has_no_use_for_a_teacher,
        must="must be left out where labels.kind is {labels.kind}",
        remedy="Or set labels.kind: self_training, or continued.",
    ),
    Rule(
        key="arms",
        reads=("labels.kind",),
        broken=lambda student: (
            student.is_taught and student.teacher is None and Breach(key=student.key, came=None)
        ),
        must="must name the arm that teaches, under labels.kind: {labels.kind}",
        remedy="Such as teacher: {other}, or teacher: {{file: PATH}}.",
    ),
    Rule(
        key="arms",
        broken=_sets_what_a_file_never_reads,
        must="must name settings of detector or evaluation, {looking}",
        remedy="The detector in the file is not trained: it only labels images.",
    ),
    Rule(
        key="arms",
        broken=_leaves_a_searched_setting_open,
        must="must say {path} of the file, which the arm searches",
        remedy="Add it.",
    ),
    Rule(
        key="arms",
        reads=("labels.threshold", "detector.score_threshold"),
        broken=_hides_labels,
        must="must leave detector.score_threshold at most labels.threshold = {labels.threshold:g}",
    ),
    Rule(
        key="arms",
        reads=("labels.threshold", SCORE_THRESHOLD),
        broken=_hides_labels_of_an_arm,
        must="must be at least detector.score_threshold = {floor:g} of {teacher}",
        remedy="Raise it, or lower the teacher's.",
    ),
    Rule(
        key="detector",
        reads=("labels.start",),
        broken=_searches_the_network,
        must="must be set, not searched, here and in {teacher}, which it goes on from",
        remedy="Or set labels.start: init, where any student learns from any teacher.",
    ),
    Rule(
        key="detector",
        reads=("labels.start",),
        broken=_has_another_network,
        must="must be that of {teacher}, which it goes on from ({theirs})",
        remedy="Or set labels.start: init, where any student learns from any teacher.",
    ),
    Rule(
        key="init.input",
        reads=("labels.kind", "labels.start", "init.source", "detector.backbone"),
        broken=_states_another_input,
        must="must be that of {teacher}, which it goes on from ({theirs})",
        remedy="Leave it out: the weights carry it. Or set it in the teacher, too.",
    ),
)
