"""Equality is corrected together with the differences; numbers one can check by hand.

Three scores with an sd of ``s`` on both sides: the standard error of a difference is
``s * sqrt(2 / 3)``, with 4 degrees of freedom.
"""

from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.judging import judge_study
from rethink_ray.judge.power import count_replicates_needed
from rethink_ray.judge.rules import rule_of
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.spec.claim import about
from tests.analysis.planted import build_study
from tests.golden_words import assert_says
from tests.judge.rows import build_samples
from tests.judge.test_every_pair import ARMS

MARGIN = 0.5
PAIR = "full/pretrained-vs-scratch@6x"


def judge(means: dict[str, float], sd: float, **changes: Any) -> dict[str, Finding]:
    """Findings by key: ``means`` of arms at 4x and 6x, three scores each."""
    study = build_study(arms={name: ARMS[name] for name in means}, margin=MARGIN, **changes)
    rows = {
        (arm, n): [mean - sd, mean, mean + sd] for arm, mean in means.items() for n in (4.0, 6.0)
    }
    samples = build_samples(rows)
    claims = measure_claims(about("ap", study.claims), samples, study.margin)
    return {finding.key: finding for finding in judge_study(study, samples, claims).findings}


def test_a_pair_that_is_equal_by_itself_is_open_among_three_and_the_sentence_says_so() -> None:
    # t = 0.5 / (0.2 * sqrt(2 / 3)) = 3.06: p on one side is 0.019, and 0.056 among three
    alone = judge({"scratch": 20.0, "pretrained": 20.0}, 0.2)[PAIR]
    assert alone.verdict is Verdict.EQUIVALENT
    among = judge(dict.fromkeys(ARMS, 20.0), 0.2)[PAIR]
    assert among.verdict is Verdict.INCONCLUSIVE
    assert among.effect == alone.effect
    assert_says("judge", "a pair within the margin by itself, among three", among.sentence)


def test_a_lead_within_the_margin_by_itself_is_a_lead_among_three_and_the_sentence_says_so() -> (
    None
):
    # sd 0.05: 0.1225 below the margin are 3 standard errors, p 0.020, among three 0.060
    means = {"scratch": 20.0, "pretrained": 20.3775, "frozen": 20.0, "stem": 20.0}
    alone = judge({name: means[name] for name in ("scratch", "pretrained")}, 0.05)
    among = judge(means, 0.05)
    assert alone[PAIR].verdict is Verdict.EQUIVALENT
    assert among[PAIR].verdict is Verdict.SUPPORTED
    assert_says("judge", "a lead within the margin by itself, among three", among[PAIR].sentence)
    chase = "full/scratch-catches-pretrained"
    assert alone[chase].verdict is Verdict.SUPPORTED
    assert among[chase].verdict is Verdict.CONTRADICTED
    assert_says("judge", "a catch-up by itself, among three", among[chase].sentence)


def test_replicates_that_would_decide_are_those_that_equality_takes_among_three() -> None:
    finding = judge(dict.fromkeys(ARMS, 20.0), 0.3)[PAIR]
    rule = rule_of("above", MARGIN, apart_by=3.0, margin_by=3.0)
    assert finding.needed == count_replicates_needed(0.0, (0.3, 0.3), rule, 3)
    alone = judge({"scratch": 20.0, "pretrained": 20.0}, 0.3)[PAIR]
    assert alone.needed is not None
    assert (finding.needed or 0) > alone.needed


def test_a_headline_clear_of_the_margin_leaves_its_share_to_the_equality_of_another() -> None:
    # as above p is 0.019 for two equal pairs: times 3 while all share, times 2 without the third
    finding = judge({"scratch": 20.0, "pretrained": 20.0, "frozen": 25.0, "stem": 20.0}, 0.2)[PAIR]
    assert finding.verdict is Verdict.EQUIVALENT
    assert student.sf(0.5 / (0.2 * (2 / 3) ** 0.5), 4) == pytest.approx(0.0188, abs=1e-4)


def test_pairs_without_the_reference_share_their_errors_among_themselves() -> None:
    # three such pairs, three headlines: each family multiplies by three
    findings = judge(dict.fromkeys(ARMS, 20.0), 0.2)
    pairs = [f for f in findings.values() if f.family == "secondary"]
    assert len(pairs) == 3
    assert {f.verdict for f in pairs} == {Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(("others", "verdict"), [(False, "contradicted"), (True, "inconclusive")])
def test_a_claim_of_equality_is_contradicted_by_a_corrected_p(others: bool, verdict: str) -> None:
    """0.5 + 3.4 standard errors apart: two-sided p of "by less than the margin" is 0.027."""
    claim = {
        "says": "pre-training changes nothing",
        "side": {"arm": "pretrained"},
        "against": {"arm": "scratch"},
        "match": ["regime", "metric"],
        "expect": "equal",
        "primary": True,
    }
    lead = 0.5 + 3.4 * 0.1 * (2 / 3) ** 0.5
    means = {"scratch": 20.0, "pretrained": 20.0 + lead}
    if others:
        means["frozen"] = 20.5  # neither equal nor clear of the margin, so it keeps its share
    findings = judge(means, 0.1, claims={"same": claim})
    assert findings["claim:same"].verdict == verdict
    assert findings[PAIR].verdict is Verdict.SUPPORTED


def test_a_claim_after_the_first_result_is_judged_by_itself() -> None:
    study = build_study(arms=ARMS, margin=MARGIN)
    rng = np.random.default_rng(0)
    rows = {(arm, 6.0): (20.0 + 0.2 * rng.normal(size=3)).tolist() for arm in ARMS}
    samples = build_samples(rows)
    claim = {
        "says": "frozen scores as stem does at 6x",
        "side": {"arm": "frozen"},
        "against": {"arm": "stem"},
        "match": ["regime", "metric"],
        "expect": "not_below",
        "primary": True,
    }
    claims = build_study(arms=ARMS, claims={"late": claim}).claims
    measured = measure_claims(claims, samples, MARGIN, post_hoc=("late",))
    plain, more = (judge_study(study, samples, own).findings for own in ((), measured))
    assert [f for f in more if f.kind != "claim"] == list(plain)
