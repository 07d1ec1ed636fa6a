"""What a method costs and how far its backbone moved: measured, beside the reference arm's."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.sections.method_costs import METHOD_COSTS
from rethink_ray.analysis.show.figures import draw_figures
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.analysis.show.report import as_html
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study, written
from tests.golden_words import assert_says

ARMS = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init.source": "upstream", "init.frozen": "backbone"}},
}
ROWS = {(arm, n): [9.0, 9.1, 9.2] for arm in ARMS for n in (2.0, 4.0, 6.0)}


def _price(cell: Cell) -> Mapping[str, Any]:
    frozen = cell.arm == "frozen"
    return {
        "trained_share": 0.25 if frozen else 1.0,
        "step_flops": 3.0e9 if frozen else 4.0e9,
        "peak_memory_bytes": 6 * 10**9 if frozen else 8 * 10**9,
        "peak_memory_of": "gpu",
        "seconds_train": 60.0 if frozen else 120.0,
    }


def _drift(cell: Cell, length: float, number: int) -> Mapping[str, float]:
    moved = {"scratch": 0.5, "pretrained": 0.125, "frozen": 0.0}[cell.arm]
    return {"train/backbone_drift": moved * length}


def _findings(**changes: Any) -> Findings:
    fields = {"price": _price, "metrics": _drift, **changes}
    return derive_findings(Planted(build_study(arms=ARMS), written(ROWS), **fields).tables())


def test_a_frozen_arm_s_savings_stand_beside_the_reference_arm() -> None:
    scratch, pretrained, frozen = _findings().sections["method_costs"]
    assert [c.cell.arm for c in (scratch, pretrained, frozen)] == list(ARMS)
    assert {c.reference for c in (scratch, pretrained, frozen)} == {"scratch"}
    assert frozen.length == 6.0
    assert (frozen.amounts.trained_share, frozen.amounts.step_flops) == (0.25, 3.0e9)
    # 120 s for 60 updates are 2 s each; a run of 6x is 360 updates: 720 s
    assert scratch.amounts.run_hours == pytest.approx(0.2)
    ratios = frozen.ratios
    assert (ratios.trained_share, ratios.step_flops, ratios.peak_memory_bytes) == (0.25, 0.75, 0.75)
    assert ratios.run_hours == pytest.approx(0.5)
    assert pretrained.ratios.step_flops == 1.0


def test_the_memory_of_a_whole_process_is_no_saving_of_a_method() -> None:
    findings = _findings(price=lambda cell: {**_price(cell), "peak_memory_of": "process"})
    (frozen,) = (c for c in findings.sections["method_costs"] if c.cell.arm == "frozen")
    assert (frozen.amounts.peak_memory_bytes, frozen.ratios.peak_memory_bytes) == (6 * 10**9, None)
    note = METHOD_COSTS.build_sheet(
        findings.section_input(), findings.sections["method_costs"]
    ).note
    assert note in as_terminal(findings)
    assert_says("analysis", "note on memory of a process", note)


def test_what_an_older_study_did_not_measure_is_named_so() -> None:
    findings = derive_findings(Planted(build_study(arms=ARMS), written(ROWS)).tables())
    assert {c.amounts.step_flops for c in findings.sections["method_costs"]} == {None}
    assert findings.sections["backbone_drift"] == ()
    assert "not measured" in as_terminal(findings)
    assert "HOW FAR BACKBONES MOVED" not in as_terminal(findings)


def test_an_arm_that_shares_no_length_with_the_reference_has_no_ratio() -> None:
    arms = {**ARMS, "long": {"set": {"schedule.lengths": [9]}}}
    rows = {**ROWS, ("long", 9.0): [9.0, 9.1, 9.2]}
    tables = Planted(build_study(arms=arms), written(rows), price=lambda cell: {}).tables()
    assert "long" not in {c.cell.arm for c in derive_findings(tables).sections["method_costs"]}


def test_drift_is_told_length_by_length_with_its_interval() -> None:
    drifts = _findings().sections["backbone_drift"]
    assert [(d.length, d.mean.value) for d in drifts if d.cell.arm == "pretrained"] == [
        (2.0, 0.25),
        (4.0, 0.5),
        (6.0, 0.75),
    ]
    assert {d.mean.nums for d in drifts} == {(3,)}
    assert {d.cell.arm: d.source for d in drifts} == {
        "scratch": "random",
        "pretrained": "upstream",
        "frozen": "upstream",
    }
    assert {d.mean.value for d in drifts if d.cell.arm == "frozen"} == {0.0}


def test_a_student_s_backbone_moves_away_from_its_teacher_s() -> None:
    taught = {"labels.kind": "self_training"}
    arms = {
        "scratch": {},
        "student": {"teacher": "scratch", "set": taught},
        "restarted": {"teacher": "scratch", "set": {**taught, "labels.start": "init"}},
    }
    rows = {(arm, n): [9.0, 9.1, 9.2] for arm in arms for n in (2.0, 4.0, 6.0)}
    planted = Planted(
        build_study(arms=arms), written(rows), metrics=lambda c, n, i: {"train/backbone_drift": n}
    )
    found = {
        d.cell.arm: d.source for d in derive_findings(planted.tables()).sections["backbone_drift"]
    }
    assert found == {"scratch": "random", "student": "a teacher", "restarted": "random"}


def test_every_rendering_carries_costs_and_drift() -> None:
    findings = _findings()
    figures = draw_figures(findings)
    assert "backbone drift by schedule length" in figures["full-drift"]
    assert "|w0| (ratio)" in figures["full-drift"]
    for told in (
        as_terminal(findings),
        as_markdown(findings),
        as_html(findings, figures, "studies/planted").replace("\N{NO-BREAK SPACE}", " "),
    ):
        assert "25 % (0.25)" in told
        assert "3 GFLOP (0.75)" in told
        assert "6 GB (0.75)" in told
        assert "6 min 00 s (0.50)" in told
        assert "0.750 [0.750, 0.750]" in told
    tree = json.loads(as_json_text(findings))
    frozen = next(row for row in tree["method_costs"] if row["arm"] == "frozen")
    assert (frozen["reference"], frozen["amounts"]["peak_memory_of"]) == ("scratch", "gpu")
    assert frozen["ratios"]["step_flops"] == 0.75
    assert len(tree["backbone_drift"]) == 9
