"""Study files with other values, other keys, and damaged text."""

import copy
from collections.abc import Iterator
from typing import Any

import yaml

STUDY = """\
study: small
question: which arm is better?
data:
  root: DATA
  dataset:
    train: {images: train, annotations: train.json}
    val: {images: val, annotations: val.json}
  select_on: val
  report_on: val
  subset_seed: 0
recipe: tiny_retinanet
settings:
  detector.min_side_px: 64
  detector.max_side_px: 64
  batch_size: 2
regimes:
  full: {images: all}
arms:
  a: {}
  b: {set: {optimizer.momentum: 0.8}}
search:
  optimizer.lr: {log_uniform: [0.01, 0.2]}
schedule: {unit: 10, lengths: [2, 4], warmup: 2, decay: {kind: step, before_end: [0.4, 0.1]}}
objective: {metric: ap}
budget: {trials: 2, keep: [2, 1], replicates: 2}
seed: 0
"""

VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "abc", 0, -1, 1, 2.5, 10**400, 2**63, 1e300, "1e999", "nan"),
    *(float("nan"), float("inf"), [], {}, [[]], [None], {"a": 1}, "\0", "x" * 9000, "12.5", "0"),
    *({"choice": [1, 1]}, {"uniform": [2, 1]}, {"log_uniform": [0, 1]}, {"int": [1, None]}),
    *("../..", "all", "20%", "0%", "-1%", ["a", "b"], {"holdout": 10**9}, {"images": None}, "~"),
)
KEYS: tuple[Any, ...] = (
    "",
    "a",
    "images",
    "lr",
    "optimizer.lr",
    1,
    None,
    True,
    2.5,
    "\u00e9",
    "..",
)
PIECES = (
    *("\t", ":", "- ", "{", "}", "[", "]", '"', "'", "|", ">", "&a", "*a", "!!python/none x", "#"),
    *(
        "\0",
        "\x07",
        "\u2028",
        "\ufeff",
        "<<: *a",
        "? ",
        "%YAML 9.9",
        "---",
        "...",
        "2020-13-45",
        "\r",
    ),
    *("&a [*a]", "!!binary x", "0o9", "1_000", "=", "!!float x", "!!timestamp x", "@", "`"),
    *("!!bool x", "!!int x", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!null x", "!!map x"),
    *("!!seq x", "!!str [a]", "!x y", "!!int 9e9", "!!float ''", "!!timestamp [1]"),
)


def paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a tree, groups and plain values."""
    if here:
        yield here
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield from paths(tree[key], (*here, key))


GOOD: dict[str, Any] = yaml.safe_load(STUDY)
PATHS = tuple(paths(GOOD))


def with_value(path: tuple[Any, ...], value: Any, key: Any = None) -> str:
    """The study with another value, or under another key as well."""
    tree = copy.deepcopy(GOOD)
    inner: Any = tree
    for step in path[:-1]:
        inner = inner[step]
    if key is None:
        inner[path[-1]] = value
    elif isinstance(inner, dict):
        inner[key] = value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def with_piece(at: float, piece: str, num_cut: int) -> str:
    """The study's text with something written over a few of its characters."""
    position = int(at * len(STUDY))
    return STUDY[:position] + piece + STUDY[position + num_cut :]
