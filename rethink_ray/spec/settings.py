"""Dotted paths into a recipe: the known ones, their values, and recipes with other values."""

import difflib
import json
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rethink_ray.spec.detector import FORMER_KEYS
from rethink_ray.spec.errors import Explanation, SpecError, explain
from rethink_ray.spec.recipe import Recipe, Spec
from rethink_ray.spec.rules.rule import BROKEN_RULE

LENGTH_PATH = "schedule.length"
"""One length, searched or set: short for ``schedule.lengths`` with one entry."""
FORMER_PATHS: Mapping[str, tuple[str, ...]] = {
    f"detector.{former}": tuple(f"detector.{key}" for key in keys)
    for former, keys in FORMER_KEYS.items()
}
"""Paths of version 0.1 -> the paths that have taken their place."""


@cache
def known_paths(model: type[Spec] = Recipe, prefix: str = "") -> dict[str, Any]:
    """Every dotted path of a recipe -> the type of its value; groups are not paths."""
    paths: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Spec):
            paths |= known_paths(inner, f"{prefix}{name}.")
        else:
            paths[f"{prefix}{name}"] = inner
    if model is Recipe:
        paths[LENGTH_PATH] = float
    return paths


def nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """A remedy for an unknown name: ``Did you mean 'x'?``, or the known names if none is close."""
    if name in FORMER_PATHS:
        return f"Write {' and '.join(FORMER_PATHS[name])}."
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    shown = sorted(known)
    return "Known: " + ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") + "."


def holds_float(path: str) -> bool:
    """Whether the value at a path is a float (``optimizer.lr``) or an optional float."""
    return float in _leaf_types(known_paths()[path])


def _leaf_types(annotation: Any) -> set[type]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return set().union(*(_leaf_types(a) for a in get_args(annotation) if a is not NoneType))
    if hasattr(annotation, "__metadata__"):
        return _leaf_types(get_args(annotation)[0])
    return {annotation} if isinstance(annotation, type) else set()


def flatten(recipe: Recipe) -> dict[str, Any]:
    """Dotted path -> plain value, for every path but ``schedule.length``."""
    return {p: value_at(recipe, p) for p in known_paths() if p != LENGTH_PATH}


def value_at(recipe: Recipe, path: str) -> Any:
    """The value of a recipe at a dotted path; for ``schedule.length`` its longest length.

    A path of version 0.1 is the first of those that have taken its place.
    """
    if path == LENGTH_PATH:
        return recipe.schedule.lengths[-1]
    value: Any = recipe
    for part in FORMER_PATHS.get(path, (path,))[0].split("."):
        value = getattr(value, part)
    return value.model_dump(mode="json") if isinstance(value, Spec) else value


def used_value_at(recipe: Recipe, path: str) -> Any:
    """The value that a run uses: the published one where null stands for it."""
    return value_at(with_published(recipe), path)


def with_published(recipe: Recipe) -> Recipe:
    """The recipe with a value for each null of its detector that stands for a published one."""
    published = recipe.detector.as_published()
    if published is recipe.detector:
        return recipe
    return recipe.model_copy(update={"detector": published})


def with_settings(recipe: Recipe, settings: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with ``settings`` (dotted path -> value), its fields checked again.

    A path may name a group if its value is a mapping: ``schedule: {unit: 100}``.

    Raises:
        SpecError: a path is unknown (names the nearest known one), or its field refuses a value.
    """
    tree = recipe.model_dump(mode="json")
    for path, value in settings.items():
        _put(tree, path, value, where)
    try:
        return Recipe.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(p) for p in first["loc"])
        raise SpecError(explain_field(f"{where}: {path}", first)) from None


def settled_paths(settings: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The paths that ``settings`` fix; a group (``schedule: {unit: 100}``) fixes each path in it.

    A setting of ``schedule.lengths`` fixes ``schedule.length``, and a path of version 0.1 those
    that have taken its place.
    """
    paths: set[str] = set()
    for name, value in settings.items():
        path = prefix + name
        paths |= {*FORMER_PATHS.get(path, ())}
        if isinstance(value, Mapping) and path not in known_paths():
            paths |= settled_paths(value, f"{path}.")
        else:
            paths.add(LENGTH_PATH if path == "schedule.lengths" else path)
    return paths


def _put(tree: dict[str, Any], path: str, value: Any, where: str, prefix: str = "") -> None:
    """``tree``, the group named ``prefix``, holds ``value`` at ``path`` afterwards."""
    full = prefix + path
    if full in FORMER_PATHS:
        for successor in FORMER_PATHS[full]:
            _put(tree, successor.removeprefix(prefix), value, where, prefix)
        return
    if full == LENGTH_PATH:
        path, value = path + "s", [value]
    *groups, leaf = path.split(".")
    for group in groups:
        inner = tree.get(group)
        if not isinstance(inner, dict):
            break
        tree = inner
    else:
        if leaf in tree:
            is_group = full not in known_paths()
            if is_group and isinstance(tree[leaf], dict) and isinstance(value, dict):
                for key, inner_value in value.items():
                    _put(tree[leaf], key, inner_value, where, f"{full}.")
            else:
                tree[leaf] = value
            return
    raise SpecError(
        explain(where, "must be a path of the recipe", full, nearest(full, known_paths()))
    )


def explain_field(where: str, error: ErrorDetails) -> Explanation:
    """The message for one of pydantic's errors, with the remedies that people need most."""
    came = error["input"]
    if error["type"] == BROKEN_RULE:
        parts = error["ctx"]
        key = f"{where}.{parts['key']}" if parts["key"] else where
        return Explanation.of(key, parts["must"], parts["came"], parts["remedy"])
    number_wanted = error["type"] in ("float_type", "int_type")
    if number_wanted and isinstance(came, str) and _is_number(came):
        whole = error["type"] == "int_type" and float(came).is_integer()
        spelt = str(int(float(came))) if whole else _yaml_number(came)
        return explain(
            where, "must be a number", came, f"Write {spelt} (YAML reads {came} as text)."
        )
    if came is None and error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        remedy = "Write {} for an empty one."
        return Explanation.of(where, "must be a group of keys", "nothing", remedy)
    return explain(where, _say_must(error), came)


def _say_must(error: ErrorDetails) -> str:
    """What must hold, in place of one of pydantic's messages: ``must have at least one entry``."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "too_short" if limits["min_length"] == 1:
            return "must have at least one entry"
        case "too_short":
            return f"must have at least {limits['min_length']} entries"
        case "too_long":
            return f"must have at most {limits['max_length']} entries"
        case "string_too_short" if limits["min_length"] == 1:
            return "must not be empty"
    message = str(error["msg"])
    _, should, rest = message.partition(" should ")
    return f"must {rest}" if should else message[0].lower() + message[1:]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _yaml_number(text: str) -> str:
    mantissa, e, exponent = text.lower().partition("e")
    if not e:
        return text
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    sign = "" if exponent[:1] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent}"
