"""One rule writes all JSON of the analysis; a golden file keeps the keys of ``findings.json``."""

import json
import math
import os
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.show.as_json import as_plain, json_text
from rethink_ray.analysis.show.render import as_tree
from rethink_ray.judge.statistics import Estimate, mean_of
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study, noisy

KEYS = Path(__file__).parent.parent / "golden" / "findings_keys.json"
BY_DATA = {"values", "params", "states", "of_searches"}
"""Keys whose own keys are seeds, paths, states and numbers of searches."""


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Row:
    cell: Cell
    lead: Estimate | None
    color: Color
    where: Path


@dataclass(frozen=True)
class Clash:
    cell: Cell
    regime: str


def test_a_field_is_a_key_and_cells_and_estimates_stand_beside_the_others() -> None:
    row = Row(Cell("full", "frozen"), mean_of([1.0, 2.0, 3.0]), Color.RED, Path("a/b"))
    tree = as_plain(row)
    assert list(tree) == ["regime", "arm", "estimate", "interval", "replicates", "color", "where"]
    assert (tree["regime"], tree["arm"], tree["estimate"]) == ("full", "frozen", 2.0)
    assert (tree["replicates"], tree["color"], tree["where"]) == ([3], "red", "a/b")


def test_an_estimate_that_is_missing_has_its_keys_all_the_same() -> None:
    tree = as_plain(Row(Cell("full", "frozen"), None, Color.RED, Path("a")))
    assert (tree["estimate"], tree["interval"], tree["replicates"]) == (None, None, [])


def test_floats_have_six_significant_digits_and_whole_numbers_all() -> None:
    assert as_plain({"a": 1 / 3, "b": 1234567, "c": (0.1234567, True, None)}) == {
        "a": 0.333333,
        "b": 1234567,
        "c": [0.123457, True, None],
    }


def test_keys_that_are_lengths_or_cells_are_spelt_as_readers_know_them() -> None:
    assert as_plain({2.0: 1, Cell("full", "a", 1): 2}) == {"2": 1, "full/a/2": 2}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        json_text({"a": value})


def test_two_values_for_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="Clash: two values for regime"):
        as_plain(Clash(Cell("full", "a"), "few"))


def test_a_value_without_a_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form for object"):
        as_plain([object()])


def _keys(value: Any, name: str = "") -> Any:
    """Dictionaries by key, lists by what their entries have together, leaves by type."""
    if isinstance(value, dict) and name not in BY_DATA:
        return {key: _keys(one, key) for key, one in value.items()}
    if isinstance(value, dict | list):
        entries = list(value.values()) if isinstance(value, dict) else value
        merged: Any = None
        for entry in entries:
            merged = _merged(merged, _keys(entry))
        return {"*": merged} if isinstance(value, dict) else [merged]
    return (
        "number"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else ("null" if value is None else type(value).__name__)
    )


def _merged(one: Any, other: Any) -> Any:
    """What two entries of one list have together."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return {k: _merged(one.get(k), other.get(k)) for k in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    texts = {
        text
        for side in (one, other)
        for text in (side.split(" or ") if isinstance(side, str) else [])
    }
    plain = [side for side in (one, other) if not isinstance(side, str)]
    return plain[0] if plain else " or ".join(sorted(texts))


def test_findings_json_has_the_keys_that_are_kept() -> None:
    """A study with claims, drift, measured costs, an audit and two regimes."""
    claims = {
        "ahead": {
            "says": "it ends above scratch",
            "side": {"init": "upstream"},
            "against": {"init": "random"},
            "match": ["regime"],
            "primary": True,
        }
    }
    price = {
        "trained_share": 1.0,
        "step_flops": 1e9,
        "peak_memory_bytes": 9,
        "peak_memory_of": "gpu",
    }
    regimes = {"full": {"images": "all"}, "few": {"images": 60}, "half": {"images": 200}}
    planted = Planted(
        build_study(claims=claims, regimes=regimes),
        noisy(lambda cell, length: 10.0 + length, 0.5, 3),
        metrics=lambda cell, length, number: {"train/backbone_drift": 0.1 * length},
        price=lambda cell: price,
        ended={("scratch", "search", 1): "diverged"},
    )
    tables = planted.tables()
    missing = {"test": {"missing_image": FaultShare(count=1, total=50)}}
    tables = replace(tables, facts=replace(tables.facts, split_faults=missing))
    keys = _keys(as_tree(derive_findings(tables)))
    if os.environ.get("REWRITE_GOLDEN"):
        KEYS.write_text(json.dumps(keys, indent=1) + "\n")
    assert keys == json.loads(KEYS.read_text()), "if the new keys are right, REWRITE_GOLDEN=1"
