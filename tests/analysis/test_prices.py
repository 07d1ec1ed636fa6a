"""Hours and memory of a run, the fronts, and the search at equal hours: numbers for a pencil."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.read.prices import Priced, on_front, time_unit
from rethink_ray.analysis.show.optional_sheets import cost_sheets
from rethink_ray.analysis.show.price_figures import draw_prices
from rethink_ray.analysis.show.render import as_json_text
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RungDone
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study
from tests.analysis.planted import Planted, build_study


def _score(cell: Cell, length: float, purpose: str, number: int) -> float:
    """Scratch 12, 14, 16; pre-trained 13, 15, 17: the later trial a little worse."""
    return 10.0 + length + (cell.arm == "pretrained") - 0.1 * number


def _findings(study: Study, peak: Callable[[RungDone], int] = lambda rung: 0) -> Findings:
    """As planted, every rung adds 60 updates, and they take 10 s."""
    planted = Planted(study, _score)
    events = [
        replace(e, peak_memory_bytes=peak(e)) if isinstance(e, RungDone) else e
        for e in planted.events()
    ]
    return derive_findings(build_tables(study, StudyState(events), planted.facts))


def _at(findings: Findings, arm: str, length: float) -> Priced:
    return next(p for p in findings.sections["prices"] if (p.arm, p.length) == (arm, length))


def test_a_run_s_hours_are_its_stand_alone_updates_at_the_pace_of_its_replicates() -> None:
    """60 updates in 10 s: 120 updates of a 2x run take 20 s, 360 of a 6x run 60 s."""
    findings = _findings(build_study())
    assert _at(findings, "scratch", 2.0).run_hours == pytest.approx(20.0 / 3600.0)
    assert _at(findings, "scratch", 6.0).run_hours == pytest.approx(60.0 / 3600.0)
    assert _at(findings, "scratch", 6.0).asset_hours == 0.0
    assert _at(findings, "pretrained", 6.0).asset_hours == pytest.approx(100.0 / 3600.0)


def test_gpus_and_workers_multiply_the_hours_and_name_them() -> None:
    resources = {"workers": 8, "gpus_per_worker": 1}
    findings = _findings(build_study(resources=resources))
    assert _at(findings, "scratch", 2.0).run_hours == pytest.approx(8 * 20.0 / 3600.0)
    sheet = next(s for s in cost_sheets(findings, Containment()) if s.title == "What a score costs")
    assert "GPU time" in sheet.columns


def test_who_is_outdone_in_price_and_score_is_not_on_the_front() -> None:
    points = [(1.0, 10.0), (2.0, 9.0), (2.0, 12.0), (3.0, 12.0), (1.0, 10.0)]
    assert on_front(points) == [True, False, True, False, True]


def test_an_asset_of_100_s_keeps_a_short_pre_trained_run_off_the_front() -> None:
    """Scratch at 6x scores 16 for 60 s; pre-trained at 4x scores 15 for 140 s, at 6x 17 for 160."""
    findings = _findings(build_study())
    on = {(p.arm, p.length) for p in findings.sections["prices"] if p.best_for_hours}
    assert on == {("scratch", 2.0), ("scratch", 4.0), ("scratch", 6.0), ("pretrained", 6.0)}


def test_memory_ranks_only_where_peaks_differ_by_more_than_a_fifth() -> None:
    study = build_study()
    assert not any(p.best_for_memory for p in _findings(study).sections["prices"])
    close = _findings(study, lambda rung: 10**9 + int(rung.length) * 10**7)
    assert not any(p.best_for_memory for p in close.sections["prices"])
    apart = _findings(study, lambda rung: int(rung.length) * 10**9)
    assert {(p.arm, p.length) for p in apart.sections["prices"] if p.best_for_memory} == {
        ("pretrained", 2.0),
        ("pretrained", 4.0),
        ("pretrained", 6.0),
    }
    assert _at(apart, "scratch", 4.0).peak_memory_bytes == 4 * 10**9


def test_at_equal_hours_the_asset_is_paid_before_the_first_trial() -> None:
    """A trial runs 180 updates at 1/6 s: 30 s. Scratch spends 60 s, the asset alone costs 100."""
    scratch, pretrained = _findings(build_study()).sections["equal_hours"]
    assert scratch.search_hours == pytest.approx(60.0 / 3600.0)
    assert (scratch.equal_hours_with_assets.trials, pretrained.equal_hours_with_assets.trials) == (
        2,
        0,
    )
    assert (pretrained.equal_trials.trials, pretrained.equal_hours.trials) == (2, 2)
    assert pretrained.equal_hours_with_assets.best is None
    assert scratch.equal_hours_with_assets.select == pytest.approx(16.0)


def test_the_dearer_arm_affords_fewer_trials() -> None:
    """Scratch runs one trial of two to 2x only: 40 s in all; pre-training affords one of two."""
    planted = Planted(build_study(), _score, ladders={("scratch", "search", 1): (2.0,)})
    scratch, pretrained = derive_findings(planted.tables()).sections["equal_hours"]
    assert scratch.equal_hours.trials == 2
    assert pretrained.equal_hours.trials == 1


def test_tables_and_json_carry_prices_and_equal_hours() -> None:
    findings = _findings(build_study())
    titles = [sheet.title for sheet in cost_sheets(findings, Containment())]
    assert titles[:4] == [
        "What it cost",
        "What a method costs",
        "What a score costs",
        "At equal trials, and at equal hours",
    ]
    tree: dict[str, Any] = json.loads(as_json_text(findings))
    assert tree["hours_are"] == "slot-hours"
    assert tree["prices"][0]["peak_memory_bytes"] is None
    assert tree["equal_hours"][1]["equal_hours_with_assets"]["trials"] == 0


def test_a_study_without_replicates_has_no_prices_and_no_traceback() -> None:
    findings = derive_findings(Planted(build_study(), _score, replicates=0).tables())
    assert findings.sections["prices"] == ()
    empty = build_study()
    nothing = derive_findings(build_tables(empty, StudyState([]), Planted(empty, _score).facts))
    assert {nothing.sections[key] for key in ("prices", "equal_hours", "importance")} == {()}


@pytest.mark.parametrize(
    ("longest", "told"),
    [
        (0.03, ("slot-seconds", 3600.0)),
        (0.5, ("slot-minutes", 60.0)),
        (2.0, ("slot-hours", 1.0)),
    ],
)
def test_an_axis_counts_in_the_unit_that_reads_well(
    longest: float, told: tuple[str, float]
) -> None:
    assert time_unit(build_study(), longest) == told


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    """The asset of 100 s makes prices span 20 s to 160 s."""
    (svg,) = draw_prices(_findings(build_study())).values()
    assert "mathdefault" not in svg
    assert "(log scale)" in svg or "slot-minutes" in svg
