"""``replicates: {from, to, until: decided}``: its looks, its refusals, and what stays as it was."""

import json
from typing import Any

import pytest

from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.spec.check import check_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import validate
from rethink_ray.spec.study import BudgetSpec, Study
from tests.search.search_builders import small_study

UNTIL_DECIDED: dict[str, Any] = {"from": 3, "to": 9, "until": "decided"}
SHARPER = "hwang_shih_decani_2"
FEW: dict[str, Any] = {"trials": 2, "keep": [2, 2, 2]}


def budget(**keys: Any) -> BudgetSpec:
    return validate(BudgetSpec, keys, "budget")


@pytest.mark.parametrize(
    ("keys", "looks"),
    [
        ({"to": 9}, (3, 5, 7, 9)),
        ({"to": 8}, (3, 5, 7, 8)),
        ({"from": 4, "to": 5}, (4, 5)),
        ({"to": 9, "at": [3, 9]}, (3, 9)),
    ],
)
def test_a_study_looks_at_every_second_number_and_at_the_last(
    keys: dict[str, Any], looks: tuple[int, ...]
) -> None:
    plan = budget(replicates=UNTIL_DECIDED | keys).sequential
    assert plan is not None
    assert plan.looks == looks


def test_readers_of_a_number_get_the_most() -> None:
    both = budget(searches=UNTIL_DECIDED, replicates=2)
    assert (both.num_searches, both.num_replicates) == (9, 2)
    assert budget().sequential is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"from": 2}, "replicates.from: must be greater than or equal to 3, but got 2."),
        ({"to": 3}, "replicates.to: must be more than from (3), but got 3. A plain number"),
        ({"at": [3, 7]}, "replicates.at: must rise from 3 to 9, but got [3, 7]. For instance [3, "),
        ({"at": [3, 7, 5, 9]}, "replicates.at: must rise from 3 to 9"),
        ({"until": "done"}, "replicates.until: must be 'decided', but got 'done'."),
        ({"looks": 4}, "replicates.looks: must be a known key, but got 'looks'."),
        ({"reserve": 0.05}, "replicates.reserve: must be less than 0.05"),
    ],
)
def test_a_plan_that_cannot_decide_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        budget(replicates=UNTIL_DECIDED | keys)
    assert message in str(refusal.value)


def test_one_of_the_two_waits_for_a_decision_not_both() -> None:
    with pytest.raises(SpecError, match="searches: must be a plain number where replicates are"):
        budget(replicates=UNTIL_DECIDED, searches=UNTIL_DECIDED)
    with pytest.raises(SpecError, match="replicates: must be a plain number where a cell is sea"):
        budget(replicates=UNTIL_DECIDED, searches=3)


def test_a_study_that_compares_nothing_takes_a_plain_number() -> None:
    with pytest.raises(SpecError, match=r"budget.replicates: must be a plain number where nothing"):
        small_study(arms={"scratch": {}}, budget=FEW | {"replicates": UNTIL_DECIDED})


def test_a_study_is_written_and_read_again_as_its_file_says_it() -> None:
    study = small_study(budget=FEW | {"replicates": UNTIL_DECIDED})
    text = study.model_dump_json(exclude_unset=True)
    assert json.loads(text)["budget"]["replicates"] == UNTIL_DECIDED
    again = Study.model_validate_json(text)
    check_study(again, "again")
    assert again == study


def test_looks_are_part_of_a_studys_fingerprint_and_plain_numbers_are_not() -> None:
    plain = {fingerprint_of(small_study(budget=FEW | {"replicates": num})) for num in (3, 9)}
    plans = (UNTIL_DECIDED, UNTIL_DECIDED | {"to": 7}, UNTIL_DECIDED | {"spending": SHARPER})
    waiting = {fingerprint_of(small_study(budget=FEW | {"replicates": plan})) for plan in plans}
    assert len(plain) == 1
    assert len(waiting) == 3
    assert not plain & waiting
