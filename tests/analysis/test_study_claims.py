"""Claims held against planted studies: what was planted is found, and own claims are declared."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.read.study_tables import read_tables
from rethink_ray.analysis.show.answer import family_note
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.analysis.show.report import as_html
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.statistics import contrast
from rethink_ray.judge.step_down import holm
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.protocol.tables import StudyTables, build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, RungDone
from rethink_ray.session import start_study
from rethink_ray.spec.check import check_study
from rethink_ray.spec.claim import Claim, claims_digest, paper_claims
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.load import find_study, load_study, validate
from rethink_ray.spec.study import Study
from tests.analysis.planted import Planted, build_facts, build_study, noisy, written
from tests.golden_words import assert_says
from tests.judge.two_groups import paired, welch

FIVE = {"trials": 2, "keep": [2, 2, 2], "replicates": 5}
AHEAD = {
    "says": "pre-training ends ahead",
    "side": {"arm": "pretrained"},
    "against": {"arm": "scratch"},
    "where": {"metric": "ap"},
    "match": ["regime", "metric"],
}


def _paper(findings: Findings, name: str) -> ClaimOutcome:
    return next(o for o in findings.claims.papers if o.name == name)


def _lead(by_length: Mapping[float, float], sd: float = 0.1, **changes: Any) -> Findings:
    """A study in which pre-training leads by this much at each length."""
    study = build_study(budget=FIVE, **changes)

    def truth(cell: Any, length: float) -> float:
        return 20 + length + (by_length[length] if cell.arm == "pretrained" else 0.0)

    return derive_findings(Planted(study, noisy(truth, sd, 5)).tables())


def test_a_planted_catch_up_is_found_by_the_papers_claim_and_by_the_study_s_own_finding() -> None:
    findings = _lead({2.0: 4.0, 4.0: 2.0, 6.0: 0.0})
    (claimed,) = _paper(findings, "he_2018/catch-up").findings
    own = next(f for f in findings.findings if f.kind == "catch_up")
    assert (claimed.verdict, claimed.bracket) == (Verdict.SUPPORTED, (4.0, 6.0))
    assert (own.verdict, own.bracket) == (claimed.verdict, claimed.bracket)
    assert set(claimed.evidence) == set(own.evidence)
    (slow,) = _paper(findings, "he_2018/slow-start").findings
    assert (slow.verdict, slow.lengths) == (Verdict.SUPPORTED, (2.0,))


def test_a_chaser_that_is_behind_at_the_last_length_is_said_to_be_behind_there() -> None:
    findings = _lead({2.0: -1.0, 4.0: 3.0, 6.0: 3.0})  # ahead at 2x, so no bracket has a lower end
    (claimed,) = _paper(findings, "he_2018/catch-up").findings
    assert (claimed.verdict, claimed.bracket) == (Verdict.CONTRADICTED, (None, None))
    assert "still behind at 6x; -3." in claimed.sentence


def test_two_named_arms_meet_whatever_they_differ_in_and_by_the_objective() -> None:
    """As the guide writes a claim: no ``match``; and here not even a metric."""
    bare = {key: AHEAD[key] for key in ("says", "side", "against")}
    findings = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0}, claims={"bare": {**bare, "primary": True}})
    (own,) = [f for f in findings.findings if f.kind == "claim"]
    assert own.verdict is Verdict.SUPPORTED
    assert own.effect == findings.findings[0].effect
    assert findings.num_primary == 2


def test_an_own_claim_can_be_read_without_its_verdict() -> None:
    findings = _lead({2.0: -3.0, 4.0: -3.0, 6.0: -3.0}, claims={"ahead": AHEAD})
    (own,) = [f for f in findings.findings if f.kind == "claim"]
    assert own.sentence.startswith(
        "ahead: that pre-training ends ahead is contradicted: full, 6x: -3."
    )


def test_a_claim_about_a_smaller_number_shows_what_was_measured() -> None:
    claims = {"faster": {**AHEAD, "says": "it scores less", "goal": "minimize"}}
    findings = _lead({2.0: -3.0, 4.0: -3.0, 6.0: -3.0}, sd=0.01, claims=claims)
    (own,) = [f for f in findings.findings if f.kind == "claim"]
    assert own.verdict is Verdict.SUPPORTED  # 23 against 26, and smaller was claimed
    assert "6x: -3.0 AP [-3.0, -3.0] (23.0 against 26.0)" in own.sentence


def test_a_planted_breakdown_at_400_images_is_supported_and_its_absence_is_not() -> None:
    (broken,) = _paper(_lead({2.0: 4.0, 4.0: 4.0, 6.0: 4.0}), "he_2018/breakdown").findings
    assert broken.verdict is Verdict.SUPPORTED
    level = _lead({2.0: 4.0, 4.0: 2.0, 6.0: 0.0}, sd=0.01)
    assert _paper(level, "he_2018/breakdown").findings[0].verdict is Verdict.EQUIVALENT


def test_parity_is_tested_only_between_10000_and_35000_images() -> None:
    findings = _lead({2.0: 4.0, 4.0: 2.0, 6.0: 0.0})
    assert _paper(findings, "he_2018/parity").untested == "no regime of 10000 to 35000 images"


def test_the_gain_of_pre_training_is_followed_along_the_number_of_images() -> None:
    regimes = {"full": {"images": "all"}, "small": {"images": 60}}
    study = build_study(regimes=regimes, budget=FIVE)

    def truth(cell: Any, length: float) -> float:
        lead = {"full": 1.0, "small": 6.0}[cell.regime]
        return 20.0 + (lead if cell.arm == "pretrained" else 0.0)

    findings = derive_findings(Planted(study, noisy(truth, 0.1, 2)).tables())
    (found,) = _paper(findings, "zoph_2020/labels").findings
    assert found.verdict is Verdict.SUPPORTED
    assert found.effect is not None
    assert found.effect.value == pytest.approx(5.0, abs=0.3)
    assert found.effect.nums == (5, 5, 5, 5)
    assert "from 60 to 400" in found.sentence


def _with_ap75(planted: Planted, ap75: Mapping[str, float]) -> StudyTables:
    """Every rung's AP50 is its AP; AP75 is that plus a constant of its arm."""
    arms: dict[str, str] = {}
    events: list[Event] = []
    for event in planted.events():
        if hasattr(event, "members"):
            arms |= {m.trial_id: event.arm for m in event.members}
        if isinstance(event, RungDone):
            ap = event.metrics["test/ap"]
            extra = {"test/ap50": ap, "test/ap75": ap + ap75[arms[event.trial_id]]}
            event = replace(event, metrics={**event.metrics, **extra})
        events.append(event)
    return build_tables(planted.study, StudyState(events), planted.facts)


def test_two_metrics_of_one_replicate_are_paired_before_arms_are_compared() -> None:
    planted = Planted(build_study(budget=FIVE), noisy(lambda c, n: 20.0, 3.0, 1))
    findings = derive_findings(_with_ap75(planted, {"scratch": 2.0, "pretrained": 1.0}))
    (found,) = _paper(findings, "he_2018/localisation").findings
    assert found.effect is not None
    # AP itself has a spread of 3; the difference AP75 - AP50 has none, so neither has the claim
    assert found.effect.value == pytest.approx(1.0)
    assert found.effect.se == pytest.approx(0.0, abs=1e-9)
    assert found.verdict is Verdict.SUPPORTED


def test_losing_less_in_one_metric_is_not_told_as_gaining_more_in_it() -> None:
    def level(cell: Any, length: float) -> float:
        return 20.0 if cell.arm == "scratch" else 25.0

    planted = Planted(build_study(budget=FIVE), noisy(level, 0.1, 1))
    findings = derive_findings(_with_ap75(planted, {"scratch": -3.0, "pretrained": -5.0}))
    (found,) = _paper(findings, "he_2018/localisation").findings
    # AP50 20 against 25, AP75 17 against 20
    told = "behind in both; +2.0 [+2.0, +2.0] between them (-3."
    assert told in found.sentence, found.sentence


def test_a_metric_that_nothing_was_scored_by_is_named() -> None:
    findings = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0})  # planted rungs have AP alone
    (found,) = _paper(findings, "he_2018/localisation").findings
    assert found.verdict is Verdict.NOT_TESTED
    assert "no AP75 was measured: the split may hold nothing that it counts" in found.sentence


def test_a_contrast_of_two_groups_is_welch_and_of_four_sums_their_variances() -> None:
    a, b = [1.0, 2.0, 3.0], [2.0, 4.0, 9.0]
    two, known = contrast(((1.0, a), (-1.0, b))), welch(a, b)
    assert two is not None
    assert known is not None
    assert (two.value, two.se, two.df) == pytest.approx((known.value, known.se, known.df))
    four = contrast(((1.0, a), (-1.0, a), (1.0, a), (-1.0, a)))
    assert four is not None
    assert four.se == pytest.approx((4 * 1.0 / 3) ** 0.5)
    assert four.df == pytest.approx(8.0)  # four equal groups of three: 4 x 2
    one, same = contrast(((1.0, a),)), paired(a, [0.0] * 3)
    assert one is not None
    assert same is not None
    assert (one.se, one.df) == pytest.approx((same.se, same.df))
    assert contrast(((1.0, a), (1.0, []))) is None


def test_an_interval_over_four_groups_of_three_covers_95_percent() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        groups = [rng.normal(0.0, sd, 3).tolist() for sd in (0.2, 0.4, 0.2, 0.8)]
        found = contrast(tuple(zip((1.0, -1.0, -1.0, 1.0), groups, strict=True)))
        assert found is not None
        low, high = found.interval() or (0.0, 0.0)
        covered += low <= 0.0 <= high
    assert 0.94 <= covered / 1000 <= 0.98


def test_own_primary_claims_are_corrected_together_with_the_headlines() -> None:
    claims = {"ahead": {**AHEAD, "rung": "each", "primary": True}}
    findings = _lead({2.0: 0.3, 4.0: 0.5, 6.0: 0.9}, sd=0.3, claims=claims)
    primary = [f for f in findings.findings if f.family == "primary"]
    assert [f.kind for f in primary] == ["arms", "claim", "claim", "claim"]
    assert findings.num_primary == 4
    raw = [f.effect.p_value or 0.0 for f in primary if f.effect]
    for finding, p, by_holm in zip(primary, raw, holm(raw), strict=True):
        # one null of a comparison may be rejected while the other keeps it in the count
        assert by_holm <= (finding.p_adjusted or 0.0) <= 4.0 * p + 1e-12
    assert min(f.p_adjusted or 0.0 for f in primary) == pytest.approx(4.0 * min(raw))
    assert "1 headline comparison (the longest shared length of each pair) and 3 declared" in (
        as_terminal(findings)
    )


def test_what_is_said_of_equivalence_depends_on_whether_comparisons_are_corrected() -> None:
    near = {2.0: 0.0, 4.0: 0.0, 6.0: 0.0}
    claims = {"same": {**AHEAD, "expect": "equal", "primary": True}}
    corrected = family_note(_lead(near, claims=claims))
    assert_says("analysis", "equivalence that is corrected", corrected)
    one = family_note(_lead(near, claims={"same": {**AHEAD, "expect": "equal"}}))
    assert "Equivalent: the 90 % interval lies inside the margin." in one


def test_a_primary_claim_that_cannot_be_tested_still_counts_and_says_why() -> None:
    claims = {"sizes": {**AHEAD, "where": {"metric": "ap_rare"}, "primary": True}}
    findings = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0}, claims=claims)
    headline, claim = (f for f in findings.findings if f.family == "primary")
    assert claim.verdict is Verdict.NOT_TESTED
    assert claim.sentence == (
        "sizes: that pre-training ends ahead is not tested: no row with metric ap_rare."
    )
    assert headline.effect is not None
    assert headline.p_adjusted == pytest.approx(2 * (headline.effect.p_value or 0.0))


def test_own_claims_without_primary_are_descriptive_and_change_no_headline() -> None:
    plain = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0})
    more = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0}, claims={"ahead": AHEAD})
    assert more.findings[0] == plain.findings[0]
    (own,) = [f for f in more.findings if f.kind == "claim"]
    assert (own.family, own.verdict, own.arms) == (
        "descriptive",
        Verdict.SUPPORTED,
        ("scratch", "pretrained"),
    )


def test_expectations_other_than_above_have_their_verdicts() -> None:
    def verdict(lead: float, **claim: Any) -> Verdict:
        swapped = {"side": {"arm": "scratch"}, "against": {"arm": "pretrained"}}
        claims = {"it": {**AHEAD, **swapped, **claim}}
        findings = _lead({2.0: lead, 4.0: lead, 6.0: lead}, sd=0.05, claims=claims)
        return next(f.verdict for f in findings.findings if f.kind == "claim")

    assert verdict(0.2, expect="not_below") is Verdict.SUPPORTED
    assert verdict(2.0, expect="not_below") is Verdict.CONTRADICTED
    assert verdict(-2.0, expect="not_below") is Verdict.SUPPORTED
    assert verdict(0.0, expect="equal") is Verdict.SUPPORTED
    assert verdict(2.0, expect="equal") is Verdict.CONTRADICTED
    assert verdict(0.5, expect="equal") is Verdict.INCONCLUSIVE
    assert verdict(0.9, expect="equal", margin=1.5) is Verdict.SUPPORTED


def test_a_second_name_of_a_contender_is_not_held_against_any_claim() -> None:
    arms = {"scratch": {}, "again": {}, "pretrained": {"set": {"init.source": "upstream"}}}
    findings = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0}, arms=arms)
    assert len(_paper(findings, "he_2018/slow-start").findings) == 1


def test_a_norm_that_the_search_tunes_matches_on_both_sides_and_no_claim_about_one_norm() -> None:
    search = {
        "optimizer.lr": {"log_uniform": [0.005, 0.08]},
        "detector.norm": {"choice": ["gn", "bn"]},
    }
    study = build_study(search=search, claims={"gn": {**AHEAD, "where": {"norm": "gn"}}})
    values = {
        (a, n): [10.0, 10.1, 10.2] for a in ("scratch", "pretrained") for n in (2.0, 4.0, 6.0)
    }
    findings = derive_findings(Planted(study, written(values), norms=["gn", "bn"]).tables())
    assert _paper(findings, "he_2018/slow-start").findings
    (own,) = [f for f in findings.findings if f.kind == "claim"]
    assert own.sentence.endswith("is not tested: no row with norm gn, metric ap.")


def test_what_else_differs_between_two_arms_is_a_caveat_of_the_claim() -> None:
    arms = {
        "scratch": {},
        "pretrained": {"set": {"init.source": "upstream", "detector.head_convs": 1}},
    }
    findings = _lead({2.0: 3.0, 4.0: 3.0, 6.0: 3.0}, arms=arms, claims={"ahead": AHEAD})
    (own,) = [f for f in findings.findings if f.kind == "claim"]
    (key,) = [k for k in own.caveats if k.startswith("claim:ahead")]
    texts = {c.key: c.text for c in findings.caveats}
    assert texts[key].endswith("the two sides differ in detector.head_convs as well.")
    assert not any(k.startswith("claim:") for k in findings.findings[0].caveats)


def test_every_rendering_carries_the_papers_claims_and_what_the_papers_report() -> None:
    findings = _lead({2.0: 4.0, 4.0: 2.0, 6.0: 0.0}, claims={"ahead": AHEAD})
    for render in (as_terminal, as_markdown, lambda f: as_html(f, {}, "studies/planted")):
        told = render(findings)
        assert "from scratch catches up with fine-tuning" in told
        assert "+0.2 to +0.5, 2 of 2 in line" in told
    assert '"untested": "no row with metric ap, augment s4"' in as_json_text(findings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"side": {"inits": "random"}}, r"claims\.it: must select by a column .* Did you mean"),
        ({"side": {"arm": "pretraind"}}, r"one of the study's arms, but got 'pretraind'. Did you"),
        ({"where": {"regime": "tiny"}}, r"one of the study's regimes, but got 'tiny'"),
        ({"match": ["colour"]}, r"claims\.it: must select by a column"),
        ({"where": {"metric": "ap_large"}}, r"study.s metrics, but got .ap_large."),
    ],
)
def test_a_claim_that_names_what_is_not_there_is_refused(change: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        check_study(build_study(claims={"it": {**AHEAD, **change}}), "my.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"against": None}, "must have against, or along, or both"),
        ({"more": {"metric": "ap75"}}, "more and than must be given together"),
        ({"expect": "catches_up", "against": None}, "must"),
        ({"margin": -1}, "margin"),
        ({"expects": "above"}, "expects"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(change: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        validate(Claim, {**AHEAD, **change}, "my.yaml")


def test_claims_are_hashed_into_the_study_before_its_first_result(tmp_path: Path) -> None:
    study = build_study(claims={"ahead": AHEAD})
    made = start_study(tmp_path / "s", study, "study: x\n", build_facts(study), {})
    assert made.claims_digest == claims_digest(study.claims)
    assert made.claims_digest != claims_digest({})
    tables = read_tables(StudyDirectory.open(tmp_path / "s"))
    assert tables.declared_claims == made.claims_digest
    assert tables.study.claims == study.claims
    assert "This study began before" not in as_terminal(derive_findings(tables))


def test_a_study_cannot_change_its_claims_and_one_without_any_keeps_its_fingerprint() -> None:
    bccd: Study = load_study(find_study("bccd"), ["budget.audit=0"])[0]
    assert fingerprint_of(bccd) == "f6ced85c0fc9ac4c"  # as started before there were claims
    assert fingerprint_of(build_study(claims={"a": AHEAD})) != fingerprint_of(build_study())


def test_the_papers_claims_name_all_that_the_papers_are_known_for() -> None:
    claims = paper_claims()
    assert len(claims) == 48
    assert all(c.source and not c.primary for c in claims.values())
    assert {n.partition("/")[0] for n in claims} == {
        "he_2018",
        "li_2019",
        "wang_2020",
        "zoph_2020",
        "li_2021",
        "vasconcelos_2022",
        "lee_2022",
        "muralidharan_2025",
    }
