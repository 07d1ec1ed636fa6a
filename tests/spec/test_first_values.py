"""``try_first``: which configurations a cell tries first, and what is refused."""

from typing import Any

import pytest

from rethink_ray.protocol.extension import extend, fingerprint_of, merge
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.first_values import first_values
from rethink_ray.spec.resolve import Cell
from tests.search.search_builders import SEARCH, small_study

RECIPE: dict[str, Any] = {"optimizer.lr": 0.02, "optimizer.weight_decay": 1e-4}
CELL = Cell("full", "scratch")
WINNER = {"optimizer.lr": 0.04, "optimizer.weight_decay": 1e-3}


def test_entries_follow_the_recipes_own_values_in_their_order() -> None:
    study = small_study(try_first=[{"optimizer.lr": 0.08}, {"optimizer.lr": 0.04}])
    assert first_values(study, CELL) == (
        RECIPE,
        RECIPE | {"optimizer.lr": 0.08},
        RECIPE | {"optimizer.lr": 0.04},
    )


def test_the_same_values_are_not_tried_twice() -> None:
    entries = [{"optimizer.lr": 0.02}, WINNER, {"optimizer.weight_decay": 1e-4}, WINNER]
    assert first_values(small_study(try_first=entries), CELL) == (RECIPE, WINNER)


def test_an_entry_holds_only_where_all_of_its_paths_are_searched() -> None:
    regimes = {"full": {"images": "all"}, "few": {"images": 60, "set": {"optimizer.lr": 0.01}}}
    study = small_study(regimes=regimes, try_first=[WINNER])
    assert first_values(study, CELL) == (RECIPE, WINNER)
    assert first_values(study, Cell("few", "scratch")) == ({"optimizer.weight_decay": 1e-4},)


def test_an_arm_tries_its_own_entries_after_the_studys() -> None:
    arms = {"scratch": {"try_first": [{"optimizer.lr": 0.08}]}, "pretrained": {}}
    study = small_study(arms=arms, try_first=[WINNER])
    assert first_values(study, CELL) == (RECIPE, WINNER, RECIPE | {"optimizer.lr": 0.08})
    assert first_values(study, Cell("full", "pretrained")) == (RECIPE, WINNER)


def test_a_conditional_path_holds_where_its_condition_does() -> None:
    search = SEARCH | {
        "optimizer.name": {"choice": ["sgd", "adamw"]},
        "optimizer.momentum": {"uniform": [0.8, 0.95], "when": {"optimizer.name": "sgd"}},
    }
    entry = {"optimizer.name": "adamw", "optimizer.lr": 0.004}
    study = small_study(search=search, try_first=[entry])
    assert first_values(study, CELL)[1] == entry | {"optimizer.weight_decay": 1e-4}
    with pytest.raises(SpecError, match=r"one cell searches together.*optimizer.momentum: 0.85"):
        small_study(search=search, try_first=[{**entry, "optimizer.momentum": 0.85}])


def test_a_range_binds_an_entry_only_where_the_entry_is_tried() -> None:
    """``a`` searches no momentum, so its range of rates from 0.01 says nothing of this entry."""
    wide = {
        "optimizer.lr": {"log_uniform": [0.001, 0.2]},
        "optimizer.momentum": {"uniform": [0.8, 0.95]},
    }
    arms = {"a": {"search": {"optimizer.lr": {"log_uniform": [0.01, 0.2]}}}, "b": {"search": wide}}
    entry = {"optimizer.lr": 0.002, "optimizer.momentum": 0.85}
    study = small_study(arms=arms, search={}, try_first=[entry])
    assert len(first_values(study, Cell("full", "a"))) == 1
    assert first_values(study, Cell("full", "b"))[1] == entry
    with pytest.raises(SpecError, match="the range that full/a searches"):
        small_study(arms=arms, search={}, try_first=[{"optimizer.lr": 0.002}])


def test_whole_numbers_of_a_file_become_numbers_of_the_range() -> None:
    search = {"optimizer.lr": {"uniform": [0.01, 2.0]}}
    study = small_study(search=search, try_first=[{"optimizer.lr": 1}, {"optimizer.lr": 1.0}])
    assert first_values(study, CELL) == ({"optimizer.lr": 0.02}, {"optimizer.lr": 1.0})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"try_first": [WINNER, {"optimizer.lr": 0.5}]},
            r"try_first\[1\]\.optimizer\.lr: must lie in the range that full/scratch searches "
            r"\(log_uniform \[0\.002, 0\.1\]\), but got 0\.5\. Widen the range",
        ),
        (
            {"try_first": [{"optimizer.rate": 0.04}]},
            r"try_first\[0\]: must name paths that are searched, but got 'optimizer\.rate'\.",
        ),
        (
            {"arms": {"scratch": {"try_first": [{"batch_size": 4}]}}},
            r"arms\.scratch\.try_first\[0\]: must name paths that are searched",
        ),
        (
            {"try_first": [WINNER, {"optimizer.lr": 0.08}], "budget": {"trials": 2}},
            r"try_first: must leave each cell at most budget\.trials = 2 configurations to try "
            r"first.*but got 3\. Set budget\.trials to 3 \(for full/scratch\)",
        ),
        (
            {"try_first": [{"optimizer.lr": "0.04x"}]},
            r"try_first\[0\]\.optimizer\.lr: must lie in the range",
        ),
    ],
    ids=["outside the range", "not searched", "of an arm", "too many", "text"],
)
def test_an_entry_that_cannot_be_tried_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        small_study(**changes)


def test_an_arm_that_copies_its_values_tries_nothing_of_its_own() -> None:
    arms = {"scratch": {"try_first": [WINNER]}, "pretrained": {}}
    with pytest.raises(SpecError, match="Nothing is searched there"):
        small_study(arms=arms, tuning={"copy_from": "pretrained"})


def test_a_started_study_keeps_its_entries() -> None:
    plain, with_entry = small_study(), small_study(try_first=[WINNER])
    assert fingerprint_of(small_study(try_first=[])) == fingerprint_of(plain)
    assert fingerprint_of(with_entry) != fingerprint_of(plain)
    with pytest.raises(SpecError, match=r"try_first is \[\{"):
        merge(plain, with_entry)
    assert extend(with_entry, trials=12).try_first == with_entry.try_first
