"""From a YAML file to a checked study. Every error names the file and the key."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import Explanation, SpecError, explain
from rethink_ray.spec.hashing import FIRST_IDENTITY
from rethink_ray.spec.older_records import fill_first_config
from rethink_ray.spec.recipe import Spec
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import ExportedConfig
from rethink_ray.spec.rules.rule import BROKEN_RULE
from rethink_ray.spec.settings import (
    FORMER_PATHS,
    explain_field,
    join_missing_numbers,
    known_paths,
    nearest,
    say_data_key,
    settled_paths,
)
from rethink_ray.spec.shipped import shipped_studies
from rethink_ray.spec.study import Study, TeacherFile
from rethink_ray.spec.yaml_text import parse_yaml

_T = TypeVar("_T", bound=Spec)
_log = logging.getLogger(__name__)

UNION_BRANCHES = {
    *("CopyFrom", "HoldoutSpec", "SequentialReplicates", "TeacherFile"),
    *("str", "int", "float", "bool"),
}
"""Names of union branches in the locations of pydantic's errors."""


def find_study(name: str) -> Path:
    """The path of a study file, given by path, or by its name if it ships with the program.

    Raises:
        SpecError: it is a folder, or there is no such file or name (the nearest name is shown).
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    shipped = shipped_studies()
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        is_study = (path / "resolved.json").is_file()
        next_step = f"To go on with this study: rethink-ray resume {name}."
        look = f"Look at its pictures with: rethink-ray data check {name}"
        write = f"write a study for them with: rethink-ray new {name}"
        remedy = next_step if is_study else f"{look}; {write}."
        raise SpecError(explain(name, "must be a study file", "a folder", remedy))
    if shipped:
        must = "must be a file or the name of a study that ships with the program"
        raise SpecError(explain("study", must, name, nearest(name, [*shipped])))
    raise SpecError(explain("study", "must be a readable file", name))


def load_study(path: Path, overrides: Sequence[str] = ()) -> tuple[Study, str]:
    """The checked study of a file with ``path=value`` overrides, and its YAML text.

    Raises:
        SpecError: the file cannot be read, is not YAML, or is no study that can run.
    """
    text, tree = _read_yaml(path)
    for override in overrides:
        put_override(tree, override)
    _refuse_picture_list(path, tree)
    study = validate(Study, tree, str(path))
    check_study(study, str(path))
    if "goal" in (tree.get("objective") or {}):
        _log.warning("%s: objective.goal: leave it out: in every metric higher is better.", path)
    for former, successors in _find_former_paths(study):
        _log.warning("%s: %s: write %s, which it sets.", path, former, " and ".join(successors))
    return study, yaml.safe_dump(tree, sort_keys=False) if overrides else text


def _refuse_picture_list(path: Path, tree: Mapping[str, Any]) -> None:
    """Refuses the ``data.yaml`` of a YOLO data set, in place of a study about it."""
    if "names" in tree and not {"train", "path"}.isdisjoint(tree):
        look = f"Look at its pictures with: rethink-ray data check {path}"
        remedy = f"{look}; write a study for them with: rethink-ray new {path}."
        must, shown = "must be a study file", "the data.yaml of a YOLO data set"
        raise SpecError(Explanation.of(str(path), must, shown, remedy))


def _find_former_paths(study: Study) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Paths of version 0.1 that the study sets, with those that have taken their place."""
    groups = [study.settings, *(regime.set for regime in study.regimes.values())]
    for arm in study.arms.values():
        groups += [arm.set, arm.teacher.set if isinstance(arm.teacher, TeacherFile) else {}]
    paths = {path for group in groups for path in settled_paths(group)}
    return ((former, FORMER_PATHS[former]) for former in sorted(paths & FORMER_PATHS.keys()))


def load_config(path: Path) -> ExportedConfig:
    """The trial configuration of an exported file; one of version 0.1 has the defaults of then."""
    _, tree = _read_yaml(path)
    if {"regimes", "arms"} & set(tree):
        remedy = "Run it, then take a configuration from: rethink-ray export DIR."
        must = "must be one run's configuration"
        raise SpecError(Explanation.of(str(path), must, "a study", remedy))
    config = validate(ExportedConfig, tree, str(path))
    if config.identity != FIRST_IDENTITY:
        return config
    return validate(ExportedConfig, fill_first_config(tree), str(path))


def validate(model: type[_T], tree: Mapping[str, Any], where: str) -> _T:
    """``tree`` as a ``model``.

    Raises:
        SpecError: with the first five errors, one per line.
    """
    try:
        return model.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        messages = [
            _explain(model, e, where) for e in _relevant(join_missing_numbers(error.errors()))[:5]
        ]
        raise SpecError(*dict.fromkeys(messages)) from None


def put_override(tree: dict[str, Any], override: str) -> None:
    """``tree`` holds one ``path=value`` of the command line afterwards; the value is YAML.

    Raises:
        SpecError: it does not read ``path=value``, or the path leads through a plain value.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        remedy = "For instance budget.trials=4."
        raise SpecError(explain("--set", "must read path=value", override, remedy))
    value = parse_yaml(text, f"--set {path}")
    *groups, leaf = _split(path)
    for group in groups:
        if tree.get(group) is None:
            tree[group] = {}
        inner = tree[group]
        if not isinstance(inner, dict):
            raise SpecError(explain("--set", f"'{group}' must be a group to set '{path}'", inner))
        tree = inner
    tree[leaf] = value


def _split(path: str) -> list[str]:
    """``arms.x.set.optimizer.lr`` -> [arms, x, set, optimizer.lr]."""
    parts = path.split(".")
    depth = {"settings": 1, "search": 1, "arms": 3, "regimes": 3}.get(parts[0], len(parts))
    named_paths = depth == 1 or (depth == 3 and parts[2:3] in (["set"], ["search"]))
    if not named_paths or len(parts) <= depth:
        return parts
    return [*parts[:depth], ".".join(parts[depth:])]


def _read_yaml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(explain(str(path), "must be a readable file", error.strerror)) from None
    except UnicodeDecodeError:
        raise SpecError(Explanation.of(str(path), "must be UTF-8 text", "other bytes")) from None
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        shown = "an empty file" if tree is None else type(tree).__name__
        raise SpecError(Explanation.of(str(path), "must be a mapping of keys to values", shown))
    return text, tree


def _relevant(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """One error per key: of the errors of a union, the one that lies deepest.

    A branch whose rule is broken fits in all else, so its error goes before those of equal depth.
    """
    paths = [_clean(error["loc"]) for error in errors]
    groups = {tuple(path[:depth]) for path in paths for depth in range(len(path))}
    deepest: dict[str, ErrorDetails] = {}
    for error in errors:
        if tuple(_clean(error["loc"])) in groups:
            continue  # another branch of a union has met the key inside
        key = ".".join(_clean(error["loc"])[:3])
        if key not in deepest or _depth_of(error) > _depth_of(deepest[key]):
            deepest[key] = error
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]
    return unknown or list(deepest.values())


def _depth_of(error: ErrorDetails) -> tuple[int, bool]:
    return len(error["loc"]), error["type"] == BROKEN_RULE


def _clean(loc: tuple[int | str, ...]) -> list[str]:
    """One of pydantic's locations, without the names of union branches."""
    branches = ("constrained-", "function-", "literal[", "dict[", "tuple[", "lax-or-strict[")
    keys = [str(p) for p in loc if not str(p).startswith(branches)]
    return [key for i, key in enumerate(keys) if key not in UNION_BRANCHES or i == 0]


def _explain(model: type[Spec], error: ErrorDetails, where: str) -> Explanation:
    parts = _clean(error["loc"])
    path = f"{where}: {'.'.join(parts)}" if parts else where
    if error["type"] == "extra_forbidden":
        known = _keys_at(model, parts[:-1])
        remedy = nearest(parts[-1], known)
        is_elsewhere = model is Study and parts[0] in (parts[-1], "arms", "regimes")
        if is_elsewhere and parts[-1] in DataSpec.model_fields:
            remedy = say_data_key(parts[-1])
        if len(parts) == 1 and any(p.split(".")[0] == parts[0] for p in known_paths()):
            remedy = f"The recipe's own values stand under settings: settings.{parts[0]}..."
        return explain(path, "must be a known key", parts[-1], remedy)
    if error["type"] == "missing":
        keys = ", ".join(_keys_at(model, parts[:-1]))
        return Explanation.of(path, "must be given", "nothing", f"Known keys: {keys}.")
    if parts[-2:-1] and "try_first" in parts and isinstance(error["input"], dict):
        remedy = f"Write a path with dots: {parts[-1]}.KEY: VALUE."
        return explain(path, "must be one value", error["input"], remedy)
    return explain_field(path, error)


def _keys_at(model: type[Spec], parts: list[str]) -> list[str]:
    """The keys that a file may have in the group at ``parts``, by the model's JSON schema."""
    schema = _schema_of(model)
    node: dict[str, Any] = schema
    for part in parts:
        options = [_resolved(o, schema) for o in node.get("anyOf", [node])]
        step: Any = {}
        for option in options:
            step = option.get("properties", {}).get(part) or option.get("additionalProperties")
            if isinstance(step, dict):
                break
        node = _resolved(step if isinstance(step, dict) else {}, schema)
    options = [_resolved(o, schema) for o in node.get("anyOf", [node])]
    return [
        key
        for option in options
        for key, entry in option.get("properties", {}).items()
        if not entry.get("readOnly")
    ]


@cache
def _schema_of(model: type[Spec]) -> dict[str, Any]:
    """The model's JSON schema, which takes 50 ms to write."""
    return model.model_json_schema()


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    resolved: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else node
    return resolved
