"""Faults of the data are caveats from one percent on, and stand in the report."""

from collections.abc import Mapping
from dataclasses import replace

from rethink_ray.analysis.containment import Containment
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.optional_sheets import caveat_sheets
from rethink_ray.analysis.show.render import as_terminal, as_tree
from rethink_ray.analysis.show.report import as_html
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import RungDone
from rethink_ray.spec.fault_kinds import FaultShare
from tests.analysis.planted import Planted, build_study, written

ROWS = {(arm, length): [9.0, 10.0, 11.0] for arm in ("scratch", "pretrained") for length in (2, 6)}
Shares = Mapping[str, Mapping[str, FaultShare]]
DROPPED = (
    "30 % of the boxes of train were dropped (3 of 10): they have no pixels inside their picture "
    "(see rethink-ray data check)."
)


def share(count: int, total: int, kind: str = "box_degenerate") -> dict[str, FaultShare]:
    return {kind: FaultShare(count=count, total=total)}


def findings_with(
    splits: Shares, regimes: Shares, study_regimes: Mapping[str, object] | None = None
) -> Findings:
    wanted = study_regimes or {"full": {"images": "all"}}
    study = build_study(regimes=wanted, schedule={"unit": 60, "lengths": [2, 6]}, budget=BUDGET)
    tables = Planted(study, written(ROWS)).tables()
    facts = replace(tables.facts, split_faults=splits, regime_faults=regimes)
    return derive_findings(replace(tables, facts=facts))


BUDGET = {"trials": 2, "keep": [2, 2], "replicates": 3}


def caveats_of(findings: Findings) -> dict[str, str]:
    return {c.key: c.text for c in findings.caveats if c.key.startswith("data-faults")}


def test_30_percent_of_the_boxes_of_train_are_a_caveat_of_every_finding() -> None:
    findings = findings_with({"train": share(3, 10)}, {"full": share(3, 10)})
    assert caveats_of(findings) == {"data-faults:train/box_degenerate": DROPPED}
    (headline,) = [f for f in findings.findings if f.family == "primary"]
    assert findings.cautions_of(headline)[0] == DROPPED
    assert DROPPED in findings.answer_cautions[0]


def test_one_in_a_hundred_is_no_caveat_and_two_are() -> None:
    few = findings_with({"test": share(1, 100, "missing_image")}, {})
    assert caveats_of(few) == {}
    more = findings_with({"test": share(2, 100, "missing_image")}, {})
    assert caveats_of(more) == {
        "data-faults:test/missing_image": (
            "2.0 % of the images of test were left out (2 of 100): their files are missing "
            "(see rethink-ray data check)."
        )
    }


def test_a_caveat_of_one_regime_is_about_its_findings_alone() -> None:
    two = {"full": {"images": "all"}, "small": {"images": 20}}
    findings = findings_with(
        {"train": share(4, 400)}, {"full": share(4, 400), "small": share(4, 20)}, two
    )
    (caveat,) = [c for c in findings.caveats if c.key.startswith("data-faults")]
    assert (caveat.key, caveat.regime) == ("data-faults:small/box_degenerate", "small")
    assert caveat.text.startswith("small: 20 % of the boxes were dropped (4 of 20)")
    touched = {f.regime for f in findings.findings if caveat.key in f.caveats}
    assert touched == {"small"}


def test_faults_of_masks_are_a_caveat_only_where_a_run_learns_masks() -> None:
    masks = {"test": share(3, 10, "unreadable_masks")}
    assert caveats_of(findings_with(masks, {})) == {}
    study = build_study(recipe="tiny_mask_rcnn")
    rows = {(arm, n): [9.0, 10.0, 11.0] for arm in study.arms for n in (2.0, 4.0, 6.0)}
    tables = Planted(study, written(rows)).tables()
    facts = replace(tables.facts, split_faults=masks)
    (text,) = caveats_of(derive_findings(replace(tables, facts=facts))).values()
    assert text.startswith("30 % of the masks of test were left out (3 of 10)")


def test_the_table_has_every_fault_and_a_study_without_faults_has_no_table() -> None:
    findings = findings_with(
        {"train": share(1, 1000), "test": share(2, 50, "missing_image")}, {"full": share(1, 1000)}
    )
    (sheet,) = caveat_sheets(findings, Containment())
    assert [row[:4] for row in sheet.rows] == [
        ("train", "box_degenerate", "1 of 1000 boxes", "0.1 %"),
        ("test", "missing_image", "2 of 50 images", "4.0 %"),
    ]
    assert "FAULTS OF THE DATA" in as_terminal(findings)
    assert "2 of 50 images" in as_html(findings, {}, "studies/my")
    assert as_tree(findings)["data_faults"][1] == {
        "kind": "missing_image",
        "split": "test",
        "regime": None,
        "share": {"count": 2, "total": 50},
    }
    assert caveat_sheets(findings_with({}, {}), Containment()) == ()
    assert "Faults of the data" not in as_html(findings_with({}, {}), {}, "studies/my")


def test_pictures_that_broke_while_runs_went_on_are_counted_by_the_run_with_most() -> None:
    study = build_study()
    rows = {(arm, n): [9.0, 10.0, 11.0] for arm in study.arms for n in (2.0, 4.0, 6.0)}
    planted = Planted(study, written(rows))
    counts = iter([20, 3, *[0] * 100])

    def broken() -> dict[str, int]:
        count = next(counts)
        return {"broken_since_indexed": count, "crowd": 99} if count else {}

    events = [
        replace(e, data_faults=broken()) if isinstance(e, RungDone) else e for e in planted.events()
    ]
    findings = derive_findings(build_tables(study, StudyState(events), planted.facts))
    assert caveats_of(findings) == {
        "data-faults:full/broken_since_indexed": (
            "full: 5.0 % of the images were replaced by gray without boxes (20 of 400): their "
            "files broke after they were indexed (see rethink-ray data check)."
        )
    }
