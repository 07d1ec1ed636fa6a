"""What the keys of a study mean together, checked before anything is started.

Each check knows one rule. Rules about weights, norms and frozen stages are checked for every
combination that the search could reach, so that no trial is lost to one hours later.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.regime import HoldoutSpec
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.settings import (
    LENGTH_PATH,
    holds_float,
    known_paths,
    nearest,
    value_at,
    with_settings,
)
from rethink_ray.spec.space import Parameter, Value
from rethink_ray.spec.study import CopyFrom, Study

T = TypeVar("T")

MEANING = (
    "detector.backbone",
    "detector.norm",
    "detector.norm_batch",
    "init.source",
    "init.weights",
    "init.weights_norm",
    "init.frozen",
    "batch_size",
)
"""Paths whose values only make sense together."""


def check_study(study: Study, where: str) -> None:
    """Every rule that needs no data set and no accelerator.

    Raises:
        SpecError: naming file, key, what must hold, what came and what to do.
    """
    _check_names(study, where)
    _check_splits(study, where)
    _check_copy_from(study, where)
    for cell in cells_of(study):
        recipe = _named(where, lambda c=cell: base_recipe(study, c))  # type: ignore[misc]
        space = space_of(study, cell)
        for path, parameter in space.items():
            _check_parameter(f"{where}: {_key_of(study, cell, path)}", path, parameter, recipe)
        _check_conditions(where, space)
        _check_schedule(f"{where}: {cell.name}", recipe, LENGTH_PATH in space)
        _check_keep(study, where, recipe, LENGTH_PATH in space)
        for reachable in reachable_recipes(recipe, space):
            check_recipe(reachable, f"{where}: {cell.name}", study.resources.workers)


def _check_names(study: Study, where: str) -> None:
    """Regimes and arms name files, jobs (``regime/arm``) and table rows."""
    for group, names in (("regimes", study.regimes), ("arms", study.arms)):
        for name in names:
            plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\")
            if not (plain and 0 < len(name) <= 60):
                must = "must be named by 1 to 60 printable characters without / or \\"
                raise SpecError(explain(f"{where}: {group}", must, name, "Rename it."))


def check_regimes(study: Study, available: int, where: str) -> None:
    """No regime asks for more images than there are.

    Args:
        study: the study.
        available: training images outside the hold-out.
        where: the study file, for the message.
    """
    for name, regime in study.regimes.items():
        if regime.images != "all" and regime.images > available:
            must = f"must be at most the {available} training images there are"
            remedy = "Write a smaller number, or all."
            raise SpecError(explain(f"{where}: regimes.{name}.images", must, regime.images, remedy))


def check_recipe(recipe: Recipe, where: str, workers: int = 0) -> None:
    """Weights, norm and frozen stages mean something together; batches divide.

    Raises:
        SpecError: with the remedy.
    """
    _check_weights(recipe, where)
    _check_frozen(recipe, where)
    _check_batch(recipe, where, workers)


def reachable_recipes(recipe: Recipe, space: dict[str, Parameter]) -> Iterator[Recipe]:
    """The base recipe with every combination of searched values that touch its meaning."""
    searched = {p: space[p].choice for p in MEANING if p in space}
    options = [choice for choice in searched.values() if choice is not None]
    for values in itertools.islice(itertools.product(*options), 512):
        chosen = dict(zip((p for p, c in searched.items() if c is not None), values, strict=True))
        known: dict[str, Value] = {
            c: value_at(recipe, c) for p in space.values() for c in p.when
        } | chosen
        active = {p: v for p, v in chosen.items() if space[p].active(known)}
        yield with_settings(recipe, active, "search")


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


def _check_conditions(where: str, space: dict[str, Parameter]) -> None:
    for path, parameter in space.items():
        for condition in parameter.when:
            key = f"{where}: search.{path}.when"
            if condition not in known_paths():
                remedy = nearest(condition, known_paths())
                raise SpecError(explain(key, "must name a path of the recipe", condition, remedy))
            if condition in space and space[condition].when:
                must = "must name a parameter that has no condition itself"
                raise SpecError(explain(key, must, condition))


def _check_schedule(where: str, recipe: Recipe, length_is_searched: bool) -> None:
    schedule = recipe.schedule
    lengths = schedule.lengths
    if not lengths or any(b <= a for a, b in itertools.pairwise(lengths)):
        raise SpecError(
            explain(f"{where}: schedule.lengths", "must be increasing, at least one", list(lengths))
        )
    if length_is_searched:
        return
    for length in lengths:
        decay = schedule.decay
        if isinstance(decay.before_end, dict) and f"{length:g}" not in decay.before_end:
            key = f"{where}: schedule.decay.before_end"
            raise SpecError(
                explain(key, f"must have an entry '{length:g}'", list(decay.before_end))
            )
        trunk = schedule.steps(length) - max(schedule.points(length), default=0)
        if trunk < schedule.warmup:
            first = max(schedule.points(length), default=0)
            must = f"warm-up + first decay point must fit into {length:g}x"
            came = f"{schedule.warmup} + {first} > {schedule.steps(length)} updates"
            remedy = "Start the ladder at a longer length, or shorten the warm-up."
            raise SpecError(explain(f"{where}: schedule", must, came, remedy))


def _check_keep(study: Study, where: str, recipe: Recipe, length_is_searched: bool) -> None:
    keep = study.budget.keep
    if keep is None:
        return
    key, num = f"{where}: budget.keep", len(recipe.schedule.lengths)
    if length_is_searched and len(keep) != 1:
        must = "must have one entry where schedule.length is searched"
        raise SpecError(explain(key, must, list(keep)))
    if not length_is_searched and len(keep) != num:
        must = f"must have one entry for each of the {num} lengths"
        raise SpecError(
            explain(key, must, list(keep), f"Lengths: {list(recipe.schedule.lengths)}.")
        )
    if keep[0] > study.budget.trials:
        must = f"must start a round with at most the {study.budget.trials} trials of the budget"
        raise SpecError(explain(key, must, keep[0], "Raise budget.trials or lower keep[0]."))


def _check_weights(recipe: Recipe, where: str) -> None:
    init, norm = recipe.init, recipe.detector.norm
    trained_with = {"torchvision": "bn", "file": init.weights_norm}.get(init.source)
    if init.source in ("torchvision", "file") and not init.weights:
        must = "must name the weights to load"
        raise SpecError(explain(f"{where}: init.weights", must, init.weights))
    if init.source == "file" and init.weights_norm is None:
        must = "must say which norm the file was trained with"
        raise SpecError(explain(f"{where}: init.weights_norm", must, None, "Write gn or bn."))
    if init.source == "torchvision" and recipe.detector.backbone == "tiny":
        remedy = "Use init.source: upstream, or a ResNet backbone."
        raise SpecError(
            explain(f"{where}: init.source", "has no weights for 'tiny'", "torchvision", remedy)
        )
    if trained_with == "bn" and norm == "gn":
        must = "must match weights that were trained with bn"
        remedy = (
            "Use norm bn or sync_bn; or a local GroupNorm classifier (init.source: file, "
            "init.weights_norm: gn); or init.source: upstream, which trains one per norm."
        )
        raise SpecError(explain(f"{where}: detector.norm", must, norm, remedy))
    if trained_with == "gn" and norm != "gn":
        must = "must match weights that were trained with gn"
        raise SpecError(explain(f"{where}: detector.norm", must, norm, "Use norm gn."))


def _check_frozen(recipe: Recipe, where: str) -> None:
    init, norm = recipe.init, recipe.detector.norm
    if init.source != "random":
        return
    if init.frozen != "none":
        must = "must be none on random weights"
        remedy = "Frozen random layers cost 3.3 AP (Detectron's old default); load weights first."
        raise SpecError(explain(f"{where}: init.frozen", must, init.frozen, remedy))
    if norm == "frozen_bn":
        must = "must be trainable on random weights"
        raise SpecError(explain(f"{where}: detector.norm", must, norm, "Use gn, bn or sync_bn."))


def _check_batch(recipe: Recipe, where: str, workers: int) -> None:
    num = max(workers, 1)
    if recipe.batch_size % num:
        must = f"must divide among {num} workers"
        raise SpecError(explain(f"{where}: batch_size", must, recipe.batch_size))
    asked = recipe.detector.norm_batch
    if recipe.detector.norm == "bn" and asked is not None and asked != recipe.batch_size // num:
        must = f"must equal batch_size / workers = {recipe.batch_size // num} under bn"
        raise SpecError(explain(f"{where}: detector.norm_batch", must, asked))
