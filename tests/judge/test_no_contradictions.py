"""No report contradicts itself: whatever the numbers, no two findings of one difference disagree.

A finding says that a difference lies in some region, or that something is open. The regions are
written down here again, from the meaning of the words, and not taken from the code that judges.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.judge.claims import ClaimOutcome, judge_claims, measure_claims
from rethink_ray.judge.judging import judge_questions, judge_study
from rethink_ray.judge.questions import Question, ask_about_arms
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.spec.claim import Claim
from rethink_ray.spec.study import Study
from tests.analysis.planted import Planted, build_study, noisy
from tests.judge.rows import build_samples

ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
}
LENGTHS = (2.0, 4.0, 6.0)
EXPECTATIONS = ("above", "not_below", "equal", "catches_up")
DECIDED = (Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.EQUIVALENT)


@dataclass(frozen=True)
class Said:
    """What one finding says of ``other minus reference`` at one length."""

    where: tuple[str, str, float]
    expects: str
    """Of the difference, seen from the finding's own first side."""
    is_turned: bool
    """The finding's first side is the reference."""
    margin: float
    finding: Finding

    @property
    def region(self) -> tuple[tuple[float, float], ...]:
        """Open intervals in which the difference is said to lie; all of them for an open one."""
        inside = ((-self.margin, self.margin),)
        ahead, behind = ((0.0, np.inf),), ((-np.inf, 0.0),)
        beyond = ((-np.inf, -self.margin), (self.margin, np.inf))
        not_below = ((-self.margin, np.inf),)
        match self.expects, self.finding.verdict:
            case "above", Verdict.SUPPORTED:
                region: tuple[tuple[float, float], ...] = ahead
            case "equal", Verdict.SUPPORTED:
                region = inside
            case _, Verdict.SUPPORTED:
                region = not_below
            case _, Verdict.EQUIVALENT:
                region = inside
            case "equal", Verdict.CONTRADICTED:
                region = beyond
            case _, Verdict.CONTRADICTED:
                region = behind
            case _:
                region = ((-np.inf, np.inf),)
        return tuple((-high, -low) for low, high in region) if self.is_turned else region


def overlap(one: Said, other: Said) -> bool:
    return any(
        max(a[0], b[0]) < min(a[1], b[1]) for a, b in itertools.product(one.region, other.region)
    )


def said_in(findings: Sequence[Finding], claims: Sequence[ClaimOutcome]) -> Iterator[Said]:
    """Everything that findings and claims say of two arms, the earlier one as the reference."""
    order = list(ARMS)
    expects = {"arms": "above", "catch_up": "catches_up"}
    for finding in findings:
        if finding.kind in expects and len(set(finding.lengths[-1:])) == 1:
            reference, other = finding.arms
            where = (finding.regime, f"{other} - {reference}", finding.lengths[-1])
            turned = finding.kind == "catch_up"
            yield Said(where, expects[finding.kind], turned, 0.5, finding)
    for outcome in claims:
        for finding in outcome.findings:
            _, side = finding.arms
            reference, other = sorted(finding.arms, key=order.index)
            turned = side == reference
            where = (finding.regime, f"{other} - {reference}", finding.lengths[-1])
            margin = outcome.claim.margin_within(0.5)
            yield Said(where, outcome.claim.expect, turned, margin, finding)


def contradictions(sayings: Sequence[Said]) -> Iterator[str]:
    """Pairs of findings that cannot both stand."""
    for one, other in itertools.permutations(sayings, 2):
        if one.where != other.where:
            continue
        pair = f"{one.finding.sentence} | {other.finding.sentence}"
        if not overlap(one, other):
            yield f"apart: {pair}"
        is_open = one.finding.verdict is Verdict.INCONCLUSIVE
        if not is_open or other.finding.verdict not in DECIDED:
            continue
        one_sided = all(low >= 0.0 for low, _ in other.region) or all(
            high <= 0.0 for _, high in other.region
        )
        if one.expects == "above" and one_sided:
            yield f"open, yet one side is said to be ahead: {pair}"
        same = (one.expects, one.is_turned, one.margin) == (
            other.expects,
            other.is_turned,
            other.margin,
        )
        if same:
            yield f"one claim, open and decided: {pair}"
        if one.expects in ("not_below", "catches_up"):
            seen = _turned(other, one.is_turned)
            ahead = all(low >= 0.0 for low, _ in seen)
            # behind, and perhaps by less than a larger margin: that may be open
            behind = all(high <= 0.0 for _, high in seen) and one.margin == other.margin
            if behind or ahead:
                yield f"open, yet the side is said to be ahead or behind: {pair}"
        within = other.expects in ("above", "equal") and other.region == ((-0.5, 0.5),)
        if within and one.margin == 0.5 and one.expects in ("above", "equal", "not_below"):
            yield f"open, yet the two are said to be equal: {pair}"


def _turned(said: Said, turned: bool) -> Sequence[tuple[float, float]]:
    return [(-high, -low) if turned else (low, high) for low, high in said.region]


@cache
def claim_of(expect: str, arms: tuple[str, str], primary: bool, margin: float | None) -> Claim:
    side, against = arms
    return Claim.model_validate(
        {
            "says": f"{side} {expect} {against}",
            "side": {"arm": side},
            "against": {"arm": against},
            "match": ("regime", "metric"),
            "expect": expect,
            "primary": primary,
            "margin": margin,
        }
    )


def random_rows(
    rng: np.random.Generator, num: int, lead: float, sd: float
) -> dict[tuple[str, float], list[float]]:
    leads = {"scratch": 0.0, "pretrained": lead, "frozen": -lead / 2.0}
    return {
        (arm, n): (20.0 + leads[arm] * (8.0 - n) / 4.0 + sd * rng.normal(size=num)).tolist()
        for arm in ARMS
        for n in LENGTHS
    }


@cache
def three_arms() -> tuple[Study, tuple[Question, ...]]:
    study = build_study(arms=ARMS)
    return study, ask_about_arms(study)


@given(
    seed=st.integers(0, 10_000),
    num=st.integers(3, 8),
    lead=st.floats(-2.0, 2.0),
    sd=st.floats(0.05, 1.5),
    primary=st.sets(st.sampled_from(EXPECTATIONS)),
)
@example(seed=0, num=3, lead=2.0, sd=0.0625, primary={"above", "equal"})
@example(seed=0, num=4, lead=-1.625, sd=0.0546875, primary={"equal"})
@settings(max_examples=50, deadline=None)
def test_no_two_findings_of_one_difference_contradict_each_other(
    seed: int, num: int, lead: float, sd: float, primary: set[str]
) -> None:
    study, questions = three_arms()
    samples = build_samples(random_rows(np.random.default_rng(seed), num, lead, sd))
    pairs = [("pretrained", "scratch"), ("frozen", "scratch"), ("frozen", "pretrained")]
    claims = {
        f"{expect}-{side}-{against}-{kind}": claim_of(
            expect, (side, against), kind == "primary", margin
        )
        for expect in EXPECTATIONS
        for pair in pairs
        for side, against in (pair, pair[::-1])
        for kind, margin in (("primary", None), ("plain", None), ("wide", 1.5))
        if kind != "primary" or expect in primary
    }
    measured = measure_claims(claims, samples, study.margin)
    judged = judge_questions(study, questions, samples, measured)
    outcomes = judge_claims(measured, "replicates", judged.corrections)
    sayings = list(said_in([f for f in judged.findings if f.kind != "claim"], outcomes))
    assert len(sayings) >= 24
    assert list(contradictions(sayings)) == []
    for finding in judged.findings:
        if finding.kind == "catch_up":
            check_bracket(finding, judged.findings)


def check_bracket(catch_up: Finding, findings: Sequence[Finding]) -> None:
    """Neither end of a bracket says what the comparison at its length leaves open."""
    leads = {f.lengths[0]: f for f in findings if f.kind == "arms" and f.arms == catch_up.arms}
    behind, caught = catch_up.bracket or (None, None)
    for length, lead in leads.items():
        if behind is not None and length <= behind:
            assert lead.verdict in (Verdict.SUPPORTED, Verdict.EQUIVALENT), catch_up.sentence
        if caught is not None and length >= caught:
            assert lead.verdict is not Verdict.SUPPORTED, catch_up.sentence
    if f"ahead at {catch_up.lengths[-1]:g}x" in catch_up.sentence:
        assert leads[catch_up.lengths[-1]].verdict in (Verdict.CONTRADICTED, Verdict.EQUIVALENT)


@pytest.mark.parametrize("seed", range(8))
def test_no_report_of_a_planted_study_contradicts_itself(seed: int) -> None:
    """The papers' claims are held against the same arms: they take the headlines' corrections."""
    study = build_study(arms=ARMS, budget={"trials": 2, "keep": [2, 2, 2], "replicates": 3})
    leads = {"scratch": 0.0, "pretrained": 1.2, "frozen": -0.8}
    score = noisy(lambda cell, n: 20.0 + leads[cell.arm] * (8.0 - n) / 3.0, 0.4, seed)
    findings = derive_findings(Planted(study, score).tables())
    papers = [o for o in findings.claims.papers if _is_plain(o)]
    assert papers
    sayings = list(said_in([f for f in findings.findings if f.kind != "claim"], papers))
    assert list(contradictions(sayings)) == []


def _is_plain(outcome: ClaimOutcome) -> bool:
    """Whether it compares scratch with another arm at one length, in AP."""
    claim = outcome.claim
    if claim.more or claim.along or claim.scale != "points" or claim.leader == "best":
        return False
    findings = outcome.findings
    in_ap = claim.where.get("metric", "ap") == "ap" and claim.rung != "best"
    return in_ap and bool(findings) and all("scratch" in f.arms for f in findings)


def test_a_catch_up_is_contradicted_only_by_its_corrected_headline() -> None:
    """Behind by 1.0 of 0.36 at 6x: p 0.05 alone. A second headline doubles it."""
    rows = {(arm, n): [10.0, 10.4, 10.8] for arm in ARMS for n in LENGTHS}
    rows |= {("pretrained", n): [11.02, 11.42, 11.82] for n in LENGTHS}
    two = build_study(arms={k: ARMS[k] for k in ("scratch", "pretrained")})
    alone, among = (
        {f.key: f for f in judge_study(study, build_samples(rows)).findings}
        for study in (two, build_study(arms=ARMS))
    )
    key, headline = "full/scratch-catches-pretrained", "full/pretrained-vs-scratch@6x"
    assert alone[headline].verdict is Verdict.SUPPORTED
    assert alone[key].verdict is Verdict.CONTRADICTED
    assert among[headline].verdict is among[key].verdict is Verdict.INCONCLUSIVE
    assert among[headline].p_adjusted == pytest.approx(2 * (alone[headline].p_adjusted or 0.0))
    assert among[key].p_adjusted == pytest.approx(alone[key].p_adjusted)  # its own null
