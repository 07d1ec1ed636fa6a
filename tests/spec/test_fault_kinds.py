"""Every kind of fault has words, and faults of the data are listed once."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rethink_ray.spec.fault_kinds import FAULT_KINDS, FaultShare, describe_kind, is_note
from rethink_ray.spec.met_faults import list_met_faults, say_met_faults
from tests.records.small_records import FACTS

DATA = Path(__file__).resolve().parent.parent.parent / "rethink_ray" / "data"


def shares(count: int, total: int, kind: str = "box_degenerate") -> dict[str, FaultShare]:
    return {kind: FaultShare(count=count, total=total)}


TWO = replace(FACTS, regime_sizes={"full": 12, "small": 4})


def kinds_named_in(tree: ast.Module) -> Iterator[str]:
    """Constants that a file gives to a problem or finding, to ``examples[...]``, or counts by."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Problem" | "DataFinding"), keywords=keywords):
                values = [one.value for one in keywords if one.arg == "kind"]
                yield from (str(one.value) for one in values if isinstance(one, ast.Constant))
            case ast.Subscript(value=ast.Name(id="examples"), slice=ast.Constant(value=str(kind))):
                yield kind
            case ast.FunctionDef(name="count_faults"):
                groups = [one for one in ast.walk(node) if isinstance(one, ast.Dict)]
                keys = [key for group in groups for key in group.keys]
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


def test_every_kind_that_the_data_room_counts_has_words() -> None:
    named = {
        kind
        for path in [*DATA.glob("*.py"), *(DATA / "sources").glob("*.py")]
        for kind in kinds_named_in(ast.parse(path.read_text()))
    }
    assert {"box_degenerate", "duplicate_id", "unknown_image", "empty_image"} <= named
    assert named - FAULT_KINDS.keys() == set()


def test_crowds_and_turned_pictures_are_notes_and_unknown_kinds_are_faults() -> None:
    assert is_note("crowd")
    assert is_note("orientation_6_turned")
    assert not is_note("box_degenerate")
    assert not is_note("of_a_later_version")
    assert describe_kind("of_a_later_version").reason.endswith("of_a_later_version")


@pytest.mark.parametrize(
    ("count", "total", "percent"),
    [(3, 10, "30 %"), (1, 1, "100 %"), (14, 1000, "1.4 %"), (1, 8, "12 %")],
)
def test_a_share_has_a_decimal_below_ten_percent(count: int, total: int, percent: str) -> None:
    assert FaultShare(count=count, total=total).percent == percent


def test_a_fault_as_frequent_in_every_regime_as_in_train_is_listed_once() -> None:
    facts = replace(
        TWO,
        split_faults={"train": shares(6, 20)},
        regime_faults={"full": shares(6, 20), "small": shares(3, 10)},
    )
    (met,) = list_met_faults(facts)
    assert met.sentence == (
        "30 % of the boxes of train were dropped (6 of 20): they have no pixels inside their "
        "picture (see rethink-ray data check)"
    )


def test_a_fault_that_regimes_have_more_or_less_often_is_listed_for_each() -> None:
    facts = replace(
        TWO,
        split_faults={"train": shares(6, 20)},
        regime_faults={"full": shares(6, 20), "small": shares(1, 10)},
    )
    full, small = list_met_faults(facts)
    assert full.sentence.startswith("full: 30 % of the boxes were dropped (6 of 20)")
    assert (small.regime, small.share.percent) == ("small", "10 %")


def test_a_fault_outside_every_regime_is_not_met() -> None:
    assert list_met_faults(replace(TWO, split_faults={"train": shares(1, 20)})) == ()


def test_one_line_names_train_first_then_the_splits_that_score() -> None:
    facts = replace(
        FACTS,
        split_faults={"val": shares(1, 5, "missing_image"), "train": shares(3, 10)},
        regime_faults={"full": shares(3, 10)},
    )
    assert say_met_faults(facts) == (
        "3 of 10 boxes of train were dropped (box_degenerate); "
        "1 of 5 images of val were left out (missing_image) (see rethink-ray data check)"
    )
    assert say_met_faults(FACTS) == ""
