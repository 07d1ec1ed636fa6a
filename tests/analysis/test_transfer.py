"""What one regime's best configuration costs in another, from trials that exist."""

from collections.abc import Mapping, Sequence

import pytest

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.sections.transfer import Transfer
from rethink_ray.analysis.show.optional_sheets import search_sheets
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study
from tests.golden_words import assert_says

REGIMES = {"full": {"images": "all"}, "few": {"images": 60}}


def _score(cell: Cell, length: float, purpose: str, number: int) -> float:
    """The first trial is best on all images, the second on few: 20 and 19, 12 and 15."""
    if purpose == "replicate":
        return 10.0
    return {"full": (20.0, 19.0), "few": (12.0, 15.0)}[cell.regime][number] + length


def _transfers(ladders: Mapping[tuple[str, str, int], Sequence[float]]) -> list[Transfer]:
    study = build_study(regimes=REGIMES, arms={"scratch": {}})
    return list(
        derive_findings(Planted(study, _score, ladders=ladders).tables()).sections["transfer"]
    )


def test_the_loss_is_read_off_the_trial_with_the_same_values() -> None:
    there, back = _transfers({})
    assert (there.best_of, there.used_in, there.length) == ("full", "few", 6.0)
    assert there.cost == pytest.approx(3.0)  # 15 against 12
    assert back.cost == pytest.approx(1.0)  # 20 against 19


def test_values_stopped_before_the_length_are_not_tested_and_say_so() -> None:
    there, back = _transfers({("few/scratch", "search", 0): (2.0, 4.0)})
    assert there.cost is None
    assert_says("analysis", "transfer to a trial that has not come so far", there.untested)
    assert back.cost == pytest.approx(1.0)


def test_values_that_nobody_tried_there_are_not_tested() -> None:
    study = build_study(regimes=REGIMES, arms={"scratch": {}})
    planted = Planted(study, _score, lr_in={"few": (0.04, 0.05)})
    findings = derive_findings(planted.tables())
    (why,) = {t.untested for t in findings.sections["transfer"]}
    assert_says("analysis", "transfer to values that no trial has", why)
    (sheet,) = [
        s
        for s in search_sheets(findings, Containment())
        if s.title.startswith("The best configuration")
    ]
    assert sheet.rows[0][4] == f"not tested: {why}"


def test_one_regime_has_nowhere_to_transfer_to() -> None:
    findings = derive_findings(Planted(build_study(), _score).tables())
    assert findings.sections["transfer"] == ()
