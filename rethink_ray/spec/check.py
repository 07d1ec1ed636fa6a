"""What the keys of a study mean together, checked before anything is started. One rule each."""

from collections.abc import Callable
from typing import TypeVar

from rethink_ray.spec.claim import check_claims
from rethink_ray.spec.draws import check_redraws
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.meaning import check_first_stages, check_reachable, check_recipe
from rethink_ray.spec.metrics import MEASURED
from rethink_ray.spec.recipe import WITH_KEYPOINTS, WITH_MASKS, Recipe
from rethink_ray.spec.regime import HoldoutSpec, num_images
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, lengths_of, space_of
from rethink_ray.spec.settings import (
    LENGTH_PATH,
    holds_float,
    known_paths,
    nearest,
    value_at,
    with_settings,
)
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import CopyFrom, Study
from rethink_ray.spec.teaching import check_teachers

__all__ = ["check_recipe", "check_regimes", "check_sizes", "check_study"]

T = TypeVar("T")


def check_study(study: Study, where: str) -> None:
    """Every rule that needs no data set and no accelerator.

    Raises:
        SpecError: naming file, key, what must hold, what came and what to do.
    """
    _check_names(study, where)
    _check_splits(study, where)
    _check_copy_from(study, where)
    _check_resources(study, where)
    names = {"arm": [*study.arms], "regime": [*study.regimes], "metric": [*MEASURED]}
    check_claims(study.claims, where, names)
    for cell in cells_of(study):
        recipe = _named(where, lambda c=cell: base_recipe(study, c))  # type: ignore[misc]
        space = space_of(study, cell)
        for path, parameter in space.items():
            _check_parameter(f"{where}: {_key_of(study, cell, path)}", path, parameter, recipe)
        _check_conditions(where, space, recipe)
        check_reachable(recipe, space, f"{where}: {cell.name}", study.resources)
        _check_objective(study, recipe, space, f"{where}: {cell.name}")
        _check_precision(study, recipe, space, f"{where}: {cell.name}")
    check_teachers(study, where)
    check_redraws(study, where)
    _check_keep(study, where)
    _check_converged(study, where)


def _check_names(study: Study, where: str) -> None:
    """Regimes and arms name files, jobs (``regime/arm``) and table rows."""
    for group, names in (("regimes", study.regimes), ("arms", study.arms)):
        for name in names:
            plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
            if not (plain and 0 < len(name) <= 60):
                must = "must be named by 1 to 60 printable characters without / or \\"
                raise SpecError(explain(f"{where}: {group}", must, name, "Rename it."))


def check_sizes(study: Study, facts: DataFacts, where: str) -> None:
    """What is counted in passes over a regime's images fits the number there are.

    Raises:
        SpecError: with the remedy.
    """
    for cell in cells_of(study):
        recipe, space = base_recipe(study, cell), space_of(study, cell)
        available = facts.regime_sizes[cell.regime]
        check_first_stages(recipe, space, available, f"{where}: {cell.name}")


def check_regimes(study: Study, available: int, where: str) -> None:
    """No regime asks for more images than there are.

    Args:
        study: the study.
        available: training images outside the hold-out.
        where: the study file, for the message.
    """
    for name, regime in study.regimes.items():
        if num_images(regime.images, available) > available:
            must = f"must be at most the {available} training images there are"
            remedy = "Write a smaller number, or all."
            raise SpecError(explain(f"{where}: regimes.{name}.images", must, regime.images, remedy))
    check_redraws(study, where, available)


def _named(where: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _key_of(study: Study, cell: Cell, path: str) -> str:
    own = path in study.arms[cell.arm].search
    return f"arms.{cell.arm}.search.{path}" if own else f"search.{path}"


def _check_splits(study: Study, where: str) -> None:
    data = study.data
    known = ["train", "val", "test"] if data.dataset != "coco" else ["train", "val"]
    if isinstance(data.dataset, dict):
        known = list(data.dataset)
        if "train" not in known:
            raise SpecError(explain(f"{where}: data.dataset", "must name a train split", known))
    named = {"report_on": data.report_on}
    if not isinstance(data.select_on, HoldoutSpec):
        named["select_on"] = data.select_on
    for key, split in named.items():
        if split not in known or split == "train":
            usable = [s for s in known if s != "train"]
            remedy = f"This data set has: {', '.join(usable) or 'none'}; or cut one: " + (
                "select_on: {holdout: 500}."
            )
            raise SpecError(
                explain(f"{where}: data.{key}", "must be a split with labels", split, remedy)
            )


def _check_copy_from(study: Study, where: str) -> None:
    if isinstance(study.tuning, CopyFrom) and study.tuning.copy_from not in study.arms:
        arm = study.tuning.copy_from
        remedy = nearest(arm, list(study.arms))
        raise SpecError(explain(f"{where}: tuning.copy_from", "must name an arm", arm, remedy))


def _check_parameter(where: str, path: str, parameter: Parameter, recipe: Recipe) -> None:
    if path not in known_paths():
        raise SpecError(
            explain(where, "must be a path of the recipe", path, nearest(path, known_paths()))
        )
    if path == LENGTH_PATH:
        if parameter.choice is None:
            raise SpecError(explain(where, "must be a choice of lengths", parameter.kind))
    elif parameter.choice is None and not (
        holds_float(path) or (parameter.kind == "int_uniform" and _is_int(recipe, path))
    ):
        remedy = "Use choice, or int_uniform for a count."
        raise SpecError(explain(where, "must hold a number to have a range", path, remedy))
    for value in parameter.choice or parameter.bounds:
        _named(where, lambda v=value: with_settings(recipe, {path: v}, "option"))  # type: ignore[misc]
    base = value_at(recipe, path)
    if path != LENGTH_PATH and not parameter.contains(base):
        remedy = "Widen it, or set the base value under settings."
        spelt = parameter.choice or parameter.bounds
        raise SpecError(
            explain(where, f"must contain the base recipe's value {base!r}", list(spelt), remedy)
        )


def _is_int(recipe: Recipe, path: str) -> bool:
    value = value_at(recipe, path)
    return isinstance(value, int) and not isinstance(value, bool)


def _check_conditions(where: str, space: dict[str, Parameter], recipe: Recipe) -> None:
    for path, parameter in space.items():
        for condition, wanted in parameter.when.items():
            key = f"{where}: search.{path}.when"
            if condition not in known_paths():
                remedy = nearest(condition, known_paths())
                raise SpecError(explain(key, "must name a path of the recipe", condition, remedy))
            if condition in space and space[condition].when:
                must = "must name a parameter that has no condition itself"
                raise SpecError(explain(key, must, condition))
            for value in wanted if isinstance(wanted, tuple) else (wanted,):
                option = {condition: value}
                with_settings(recipe, option, key)


def _check_objective(study: Study, recipe: Recipe, space: dict[str, Parameter], where: str) -> None:
    """Every family of the cell is scored in what the study decides on."""
    metric = study.objective.metric
    finds = {"mask": WITH_MASKS, "keypoint": WITH_KEYPOINTS}.get(metric.partition("_")[0])
    searched = space.get("detector.family")
    for family in (searched.choice or ()) if searched else (recipe.detector.family,):
        if finds is not None and family not in finds:
            must, remedy = f"must be one of {sorted(finds)} for {metric}", "Or choose objective ap."
            raise SpecError(explain(f"{where}: detector.family", must, family, remedy))


def _check_precision(study: Study, recipe: Recipe, space: dict[str, Parameter], where: str) -> None:
    """The workers support every precision that the cell can have."""
    searched = space.get("precision")
    asked = (searched.choice or ()) if searched else (recipe.precision,)
    if "tf32" in asked and not study.resources.gpus_per_worker:
        must = "must be fp32 or bf16 where workers have no GPU"
        remedy = "Set resources.gpus_per_worker, or another precision."
        raise SpecError(explain(f"{where}: precision", must, "tf32", remedy))


def _check_keep(study: Study, where: str) -> None:
    """One entry for each length of the longest ladder; a shorter ladder reads the first ones."""
    keep = study.budget.keep
    if keep is None:
        return
    key = f"{where}: budget.keep"
    cells = cells_of(study)
    ladders = [lengths_of(study, c) for c in cells if LENGTH_PATH not in space_of(study, c)]
    longest = max(ladders, key=len, default=())
    if not ladders and len(keep) != 1:
        must = "must have one entry where schedule.length is searched"
        raise SpecError(explain(key, must, list(keep)))
    if ladders and len(keep) != len(longest):
        must = f"must have one entry for each of the {len(longest)} lengths"
        raise SpecError(explain(key, must, list(keep), f"Lengths: {list(longest)}."))
    if keep[0] > study.budget.trials:
        must = f"must start a round with at most the {study.budget.trials} trials of the budget"
        raise SpecError(explain(key, must, keep[0], "Raise budget.trials or lower keep[0]."))


def _check_converged(study: Study, where: str) -> None:
    """The rule can end a ladder only after two lengths, so some ladder has a third."""
    if study.schedule.converged is None:
        return
    key = f"{where}: schedule.converged"
    cells = cells_of(study)
    if any(LENGTH_PATH in space_of(study, cell) for cell in cells):
        must = "must be left out where schedule.length is searched"
        raise SpecError(explain(key, must, study.schedule.converged))
    if study.budget.searches > 1:
        must = "must be left out where a cell is searched several times"
        remedy = "Searches of one cell would end at different lengths; leave out budget.searches."
        raise SpecError(explain(key, must, study.schedule.converged, remedy))
    longest = max((lengths_of(study, cell) for cell in cells), key=len)
    if len(longest) < 3:
        must = f"must have a ladder of three lengths or more, not {list(longest)}"
        remedy = "Two are always run. Add lengths or leave it out."
        raise SpecError(explain(key, must, study.schedule.converged, remedy))


def _check_resources(study: Study, where: str) -> None:
    gpus = study.resources.gpus_per_worker
    if gpus > 1 and not gpus.is_integer():
        must = "must be a part of one GPU or a whole number"
        raise SpecError(explain(f"{where}: resources.gpus_per_worker", must, gpus))
