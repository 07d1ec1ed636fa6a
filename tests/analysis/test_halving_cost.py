"""What halving cost: rank correlation between rungs, and the audit's losers."""

import json

import pytest

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.sections.halving_cost import HALVING_COST
from rethink_ray.analysis.show.render import as_json_text
from rethink_ray.judge.ranks import rank_correlation, ranks
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study

AT = {2.0: (4.0, 3.0, 2.0, 1.0), 4.0: (8.0, 7.0, 6.0, 5.0), 6.0: (10.0, 12.0, 9.0, 14.0)}


def _score(cell: Cell, length: float, purpose: str, number: int) -> float:
    return AT[length][number % 4]


def _planted() -> Planted:
    """Four trials, the best two go on, and the worst is audited: it ends 2 AP ahead."""
    budget = {"trials": 4, "keep": [4, 2, 2], "audit": 1, "replicates": 0}
    only_2x = {(arm, "search", 2): (2.0,) for arm in ("scratch", "pretrained")}
    return Planted(build_study(budget=budget), _score, ladders=only_2x)


def test_equal_values_share_their_mean_rank() -> None:
    assert list(ranks([10.0, 30.0, 20.0, 20.0])) == [1.0, 4.0, 2.5, 2.5]


def test_rank_correlation_is_1_for_one_order_and_minus_1_for_its_reverse() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [9, 5, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_an_audited_loser_that_ends_ahead_shows_what_halving_lost() -> None:
    findings = derive_findings(_planted().tables())
    rows = findings.sections["halving_cost"]
    second, longest = [row for row in rows if row.cell.arm == "scratch"]
    assert (second.lengths, second.trials) == ((2.0, 4.0), 3)
    assert second.rank_correlation == pytest.approx(1.0)
    assert (longest.lengths, longest.audited) == ((2.0, 6.0), 1)
    assert longest.best_audited == pytest.approx(2.0)  # 14 against 12
    assert longest.rank_correlation == pytest.approx(-1.0)  # 4, 3, 1 against 10, 12, 14


def test_the_table_and_the_json_carry_it() -> None:
    findings = derive_findings(_planted().tables())
    rows = findings.sections["halving_cost"]
    sheet = HALVING_COST.build_sheet(findings.section_input(), rows)
    assert ("full", "scratch", "2x to 6x", "3", "-1.00", "1", "+2.0") in sheet.rows
    assert json.loads(as_json_text(findings))["halving_cost"][1]["best_audited"] == 2.0


def test_a_study_of_one_length_has_no_halving_and_no_row_of_its_cost() -> None:
    schedule = {"unit": 60, "lengths": [2]}
    study = build_study(schedule=schedule, budget={"trials": 2, "keep": [2], "replicates": 0})
    findings = derive_findings(Planted(study, _score).tables())
    assert findings.sections["halving_cost"] == ()
