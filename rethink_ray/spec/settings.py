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
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.rules.rule import BROKEN_RULE

LIST_ERRORS = ("tuple_type", "list_type")
"""Types of pydantic's errors for a value that should be a list."""
TOO_FEW = "too_few"
"""The type of an error for a list of a fixed length that lacks numbers."""
LENGTH_PATH = "schedule.length"
"""One length, searched or set: short for ``schedule.lengths`` with one entry."""
FORMER_PATHS: Mapping[str, tuple[str, ...]] = {
    f"detector.{former}": tuple(f"detector.{key}" for key in keys)
    for former, keys in FORMER_KEYS.items()
}
"""Paths of version 0.1 -> the paths that have taken their place."""
USUAL_NAMES = {"optimizer.learning_rate": "optimizer.lr"}
"""Names that other programs use -> ours, where a path that looks more alike means another thing."""


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
    if USUAL_NAMES.get(name) in known:
        return f"Did you mean '{USUAL_NAMES[name]}'?"
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    shown = sorted(known)
    return "Known: " + ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") + "."


def suggest_path(path: str) -> str:
    """A remedy for an unknown path of the recipe; some belong to the study's data instead."""
    key = path.rpartition(".")[2]
    is_of_recipe = any(known.endswith(f".{key}") for known in known_paths())
    if key in DataSpec.model_fields and (not is_of_recipe or path in (key, f"data.{key}")):
        return say_data_key(key)
    return nearest(path, known_paths())


def say_data_key(key: str) -> str:
    """The remedy for a key of the study's data that stands elsewhere."""
    return f"Write data.{key}: it belongs to the study's data, which all arms and regimes share."


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
        first = join_missing_numbers(error.errors())[0]
        path = ".".join(str(p) for p in first["loc"])
        raise SpecError(explain_field(f"{where}: {path}", first)) from None


def join_missing_numbers(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """One error for a list that is too short, in place of one for each number that it lacks."""
    joined: list[ErrorDetails] = []
    for error in errors:
        item = error["loc"][-1] if error["loc"] else None
        if error["type"] == "missing" and isinstance(item, int):
            group, limits = error["loc"][:-1], {"max_length": item + 1}
            if joined and joined[-1]["type"] == TOO_FEW and joined[-1]["loc"] == group:
                joined.pop()
            error = {**error, "type": TOO_FEW, "loc": group, "ctx": limits}
        joined.append(error)
    return joined


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
    raise SpecError(explain(where, "must be a path of the recipe", full, suggest_path(full)))


def explain_field(where: str, error: ErrorDetails) -> Explanation:
    """The message for one of pydantic's errors, with the remedies that people need most."""
    came = error["input"]
    if error["type"] == BROKEN_RULE:
        parts = error["ctx"]
        key = f"{where}.{parts['key']}" if parts["key"] else where
        return Explanation.of(key, parts["must"], parts["came"], parts["remedy"])
    if error["type"] in ("float_type", "int_type") and isinstance(came, str):
        spelling = spell_number(came, is_whole=error["type"] == "int_type")
        if spelling:
            remedy = f"Write {spelling} (YAML reads {came} as text)."
            return explain(where, "must be a number", came, remedy)
    if came is None and error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        remedy = "Write {} for an empty one."
        return Explanation.of(where, "must be a group of keys", "nothing", remedy)
    remedy = ""
    if error["type"] in LIST_ERRORS and isinstance(came, dict):
        remedy = "Put it in brackets: [{...}]."
    return explain(where, _say_must(error), came, remedy)


def spell_number(text: str, *, is_whole: bool = False) -> str:
    """Spells a number that YAML reads as text so that it reads a number: ``4.0e-2`` for ``4e-2``.

    Empty if the text is no number. A whole one is spelt with its digits: ``1000`` for ``1e3``.
    """
    if not _is_number(text):
        return ""
    if is_whole and float(text).is_integer():
        return str(int(float(text)))
    return _yaml_number(text)


def _say_must(error: ErrorDetails) -> str:
    """What must hold, in place of one of pydantic's messages: ``must have at least one entry``."""
    limits = error.get("ctx", {})
    match error["type"]:
        case kind if kind in LIST_ERRORS:
            return "must be a list"
        case "float_type":
            return "must be a number"
        case "int_type":
            return "must be a whole number"
        case "bool_type":
            return "must be true or false"
        case "string_type":
            return "must be text"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a group of keys"
        case "too_short" if limits["min_length"] == 1:
            return "must have at least one entry"
        case "too_short":
            return f"must have at least {limits['min_length']} entries"
        case "too_long" | "too_few":  # only lists of a fixed length have a most
            return f"must be {limits['max_length']} numbers"
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
