"""Comparisons with arms that joined after the first result pay for it; late claims are marked."""

import json
from typing import Any

import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.answer import family_note
from rethink_ray.analysis.show.as_json import as_plain
from rethink_ray.analysis.show.render import as_json_text, as_terminal
from rethink_ray.judge.arms import find_reference_arm
from rethink_ray.judge.verdicts import Finding, Verdict
from tests.analysis.planted import Planted, build_study, noisy
from tests.golden_words import assert_says

ARMS: dict[str, Any] = {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}}
FROZEN: dict[str, Any] = {"set": {"init.source": "upstream", "init.frozen": "backbone"}}
FIVE = {"trials": 2, "keep": [2, 2, 2], "replicates": 5}
ADDED: dict[str, Any] = {"arms": {**ARMS, "frozen": FROZEN}, "edits": [{"arms": ["frozen"]}]}
AHEAD = {
    "says": "pre-training ends ahead",
    "side": {"arm": "pretrained"},
    "against": {"arm": "scratch"},
    "primary": True,
}
LEADS = {"scratch": 0.0, "pretrained": 1.0, "frozen": 5.0, "stem": 2.0}


def derived(**changes: Any) -> Findings:
    study = build_study(**{"arms": ARMS, "budget": FIVE} | changes)

    def truth(cell: Any, length: float) -> float:
        return 20.0 + length + LEADS[cell.arm]

    return derive_findings(Planted(study, noisy(truth, 0.4, 3)).tables())


def headline(findings: Findings, arm: str) -> Finding:
    keys = [f for f in findings.findings if f.family == "primary" and arm in f.arms]
    return next(f for f in keys if f.kind == "arms")


def test_an_added_arms_comparisons_count_as_a_second_look() -> None:
    late, early = derived(**ADDED), derived(arms=ADDED["arms"])
    for arm, looks in (("frozen", 2), ("pretrained", 1)):
        effect = headline(late, arm).effect
        assert effect is not None
        assert effect.looks == looks
    before, after = (headline(f, "frozen").effect for f in (early, late))
    assert before is not None
    assert after is not None
    assert after.value == before.value
    assert after.p_value == pytest.approx(2.0 * (before.p_value or 0.0))
    assert late.looks == 2


def test_a_later_edit_is_a_later_look() -> None:
    third = {"set": {"init.source": "upstream", "init.frozen": "stem"}}
    edits = [{"arms": ["frozen"]}, {"arms": ["stem"]}]
    findings = derived(arms={**ADDED["arms"], "stem": third}, edits=edits)
    looks = {arm: headline(findings, arm).effect.looks for arm in ("frozen", "stem")}  # type: ignore[union-attr]
    assert looks == {"frozen": 2, "stem": 3}


def test_added_comparisons_join_the_family_and_no_earlier_verdict_gets_better() -> None:
    alone, together = derived(), derived(**ADDED)
    assert (alone.num_primary, together.num_primary) == (1, 2)
    grown = {f.key: f for f in together.findings}
    for finding in alone.findings:
        now = grown[finding.key]
        assert now.effect == finding.effect
        assert (now.p_adjusted or 0.0) >= (finding.p_adjusted or 0.0)


def test_an_arm_with_random_weights_that_is_added_becomes_no_reference() -> None:
    arms = {"pretrained": ARMS["pretrained"], "frozen": FROZEN}
    study = build_study(arms={**arms, "scratch": {}}, edits=[{"arms": ["scratch"]}])
    assert find_reference_arm(study, "full") == "pretrained"
    assert find_reference_arm(build_study(arms={**arms, "scratch": {}}), "full") == "scratch"


def test_an_added_regimes_comparisons_pay_too() -> None:
    regimes = {"full": {"images": "all"}, "few": {"images": 60}}
    findings = derived(regimes=regimes, edits=[{"regimes": ["few"]}])
    looks = {f.regime: f.effect.looks for f in findings.findings if f.kind == "arms" and f.effect}
    assert looks == {"full": 1, "few": 2}


def test_a_claim_that_was_written_later_is_marked_and_outside_the_family() -> None:
    declared = derived(claims={"ahead": AHEAD})
    late = derived(claims={"ahead": AHEAD}, edits=[{"claims": ["ahead"]}])
    assert (declared.num_primary, late.num_primary) == (2, 1)
    (claim,) = [f for f in late.findings if f.kind == "claim"]
    assert (claim.family, claim.post_hoc) == ("descriptive", True)
    assert claim.sentence.startswith("ahead (post hoc): that pre-training ends ahead")
    assert "post hoc" in as_terminal(late)
    tree = json.loads(as_json_text(late))
    marks = {f["key"]: f["post_hoc"] for f in tree["findings"]}
    assert marks["claim:ahead"] is True
    assert sum(marks.values()) == 1
    assert headline(late, "pretrained").p_adjusted == headline(derived(), "pretrained").p_adjusted


def test_a_late_claim_without_its_rows_is_marked_as_well() -> None:
    claims = {"nothing": {**AHEAD, "side": {"arm": "pretrained", "schedule": "99x"}}}
    findings = derived(claims=claims, edits=[{"claims": ["nothing"]}])
    (claim,) = [f for f in findings.findings if f.kind == "claim"]
    assert claim.verdict is Verdict.NOT_TESTED
    assert claim.post_hoc
    assert findings.num_primary == 1


def test_the_notes_say_what_was_added_and_what_it_costs() -> None:
    findings = derived(
        **{**ADDED, "edits": [{"arms": ["frozen"], "claims": ["ahead"]}]}, claims={"ahead": AHEAD}
    )
    assert_says("analysis", "family note of a study with an added arm", family_note(findings))
    caveat = next(c for c in findings.caveats if c.key == "added-later:frozen")
    assert_says("analysis", "caveat of an added arm", caveat.text)
    assert caveat.key in headline(findings, "frozen").caveats
    assert caveat.key not in headline(findings, "pretrained").caveats


def test_a_finding_in_json_says_whether_it_is_post_hoc() -> None:
    assert as_plain(headline(derived(), "pretrained"))["post_hoc"] is False
