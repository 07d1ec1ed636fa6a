"""Checks a study, a recipe or a batch against the tables in ``rules``, before anything starts."""

from collections.abc import Mapping

from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.metrics import MEASURED
from rethink_ray.spec.reach import ONE_PROCESS, Run, reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import cells_of
from rethink_ray.spec.rules.batches import BATCH_RULES
from rethink_ray.spec.rules.claims import CLAIM_NAME_RULES, ClaimNames
from rethink_ray.spec.rules.effects import SEARCH_EFFECTS, SETTING_EFFECTS
from rethink_ray.spec.rules.first_values import ENTRY_RULES, FIRST_RULES, entries_of
from rethink_ray.spec.rules.images import (
    ANNOTATION_RULES,
    IMAGE_RULES,
    OBJECTIVE_RULES,
    PASSES_RULES,
    RunOnImages,
    ScoredStudy,
    StudyImages,
)
from rethink_ray.spec.rules.rule import check_rules
from rethink_ray.spec.rules.runs import IN_STUDY_RULES, RECIPE_RULES
from rethink_ray.spec.rules.search_space import (
    BASE_VALUE_RULES,
    CONDITION_RULES,
    PARAMETER_RULES,
    Condition,
    SearchedCell,
    SearchedPath,
)
from rethink_ray.spec.rules.studies import LADDER_RULES, NAME_RULES
from rethink_ray.spec.rules.teaching import STUDENT_RULES, TEACHER_RULES, Student
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import ResourceSpec, Study
from rethink_ray.spec.trial_config import uses_upstream_detector
from rethink_ray.spec.upstream_detector import upstream_detector_recipe

UPSTREAM_DETECTOR_PATHS = (
    *("init.source", "init.weights"),
    *("detector.family", "detector.num_keypoints"),
)
"""Recipe paths that decide whether an upstream detector fits the images that it learns from."""


def check_study(study: Study, where: str) -> None:
    """The study breaks no rule that can be checked without its images.

    Raises:
        SpecError: with the key of the first rule that is broken; ``where`` names the file.
    """
    words = dict(study)
    check_rules(NAME_RULES, study, words, where)
    _check_claims(study, where)
    for cell in cells_of(study):
        _check_cell(SearchedCell(study, cell), where)
    check_rules(SETTING_EFFECTS, study, words, where)
    for entry in entries_of(study):
        check_rules(ENTRY_RULES, entry, {}, where)
    check_rules(FIRST_RULES, study, words, where)
    check_rules(TEACHER_RULES, study, words, where)
    for cell in cells_of(study):
        student = Student(study, cell)
        check_rules(STUDENT_RULES, student, student.words, where)
    check_regimes(study, None, where)
    check_rules(LADDER_RULES, study, words, where)


def check_recipe(recipe: Recipe, where: str, resources: ResourceSpec = ONE_PROCESS) -> None:
    """The recipe breaks no rule about runs.

    Raises:
        SpecError: with the key of the first rule that is broken.
    """
    run = Run(recipe=recipe, resources=resources)
    check_rules(RECIPE_RULES, run, run.words, where)


def check_batch(recipe: Recipe, where: str, resources: ResourceSpec) -> None:
    """The batch divides among workers, kinds of label and micro-batches, as ``norm_batch`` says.

    Raises:
        SpecError: with the key of the first rule that is broken.
    """
    run = Run(recipe=recipe, resources=resources)
    check_rules(BATCH_RULES, run, run.words, where)


def check_regimes(study: Study, available: int | None, where: str) -> None:
    """The regimes fit the training images.

    Args:
        study: the study.
        available: training images outside the hold-out; ``None``: not known yet.
        where: the study file, for the message.

    Raises:
        SpecError: with the key of the first rule that is broken.
    """
    images = StudyImages(study, available)
    check_rules(IMAGE_RULES, images, {**dict(study), **images.words}, where)


def check_facts(study: Study, facts: DataFacts, where: str) -> None:
    """The objective can be scored, and every run that a search can reach has what it learns from.

    Raises:
        SpecError: with the key of the first rule that is broken.
    """
    check_rules(OBJECTIVE_RULES, ScoredStudy(study, facts), dict(study), where)
    for searched in (SearchedCell(study, cell) for cell in cells_of(study)):
        num_images = facts.regime_sizes[searched.cell.regime]
        for rule in (*PASSES_RULES, *ANNOTATION_RULES):
            for recipe in reachable_recipes(searched.recipe, searched.space, rule.paths):
                run = RunOnImages(recipe, facts, num_images)
                check_rules([rule], run, run.words, f"{where}: {searched.cell.name}")
        _check_upstream_detector(searched, facts.upstream_detection, where)


def _check_upstream_detector(searched: SearchedCell, facts: DataFacts | None, where: str) -> None:
    """The upstream detectors of a cell find in their images what they learn from.

    ``facts``: of these images; ``None``: there are none, which the check of the data refuses.
    """
    if facts is None:
        return
    key = f"{where}: {searched.cell.name}: data.upstream_detection"
    for recipe in reachable_recipes(searched.recipe, searched.space, UPSTREAM_DETECTOR_PATHS):
        if uses_upstream_detector(recipe):
            upstream = upstream_detector_recipe(recipe)
            run = RunOnImages(upstream, facts, facts.regime_sizes["all"])
            check_rules(ANNOTATION_RULES, run, run.words, key)


def _check_claims(study: Study, where: str) -> None:
    values = {"arm": [*study.arms], "regime": [*study.regimes], "metric": [*MEASURED]}
    for name, claim in study.claims.items():
        named = ClaimNames(claim, values, study.objective.metric)
        check_rules(CLAIM_NAME_RULES, named, {}, f"{where}: claims.{name}")


def _check_cell(searched: SearchedCell, where: str) -> None:
    """What a cell searches exists, and every run that it can reach breaks no rule."""
    try:
        recipe = searched.recipe
    except SpecError as error:
        raise error.within(where) from None
    for path, parameter in searched.space.items():
        key = f"{where}: {searched.key_of(path)}"
        _check_parameter(SearchedPath(path, parameter, recipe), key)
    for path, parameter in searched.space.items():
        _check_conditions(parameter, searched, f"{where}: search.{path}.when")
    _check_reachable(searched, f"{where}: {searched.cell.name}")
    check_rules(SEARCH_EFFECTS, searched, {}, where)


def _check_parameter(searched: SearchedPath, where: str) -> None:
    check_rules(PARAMETER_RULES, searched, {}, where)
    for value in searched.parameter.choice or searched.parameter.bounds:
        with_settings(searched.recipe, {searched.path: value}, f"{where}: option")
    check_rules(BASE_VALUE_RULES, searched, {}, where)


def _check_conditions(parameter: Parameter, searched: SearchedCell, where: str) -> None:
    for path, allowed in parameter.when.items():
        check_rules(CONDITION_RULES, Condition(path, searched.space), {}, where)
        for value in allowed if isinstance(allowed, tuple) else (allowed,):
            with_settings(searched.recipe, {path: value}, where)


def _check_reachable(searched: SearchedCell, where: str) -> None:
    """Each rule holds for every combination of its own paths; combinations are built once."""
    study = searched.study
    built: dict[tuple[str, ...], list[tuple[Run, Mapping[str, object]]]] = {}
    for rule in (*RECIPE_RULES, *IN_STUDY_RULES):
        paths = tuple(path for path in rule.paths if path in searched.space)
        if paths not in built:
            recipes = reachable_recipes(searched.recipe, searched.space, paths)
            runs = [_run_of(recipe, study) for recipe in recipes]
            built[paths] = [(run, run.words) for run in runs]
        for run, words in built[paths]:
            check_rules([rule], run, words, where)


def _run_of(recipe: Recipe, study: Study) -> Run:
    return Run(recipe=recipe, resources=study.resources, metric=study.objective.metric)
