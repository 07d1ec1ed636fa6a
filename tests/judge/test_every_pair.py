"""Every two arms are compared: with the reference as headlines, all others as a second family."""

from typing import Any

import pytest

from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.judging import Judged, judge_study
from rethink_ray.judge.verdicts import Finding
from rethink_ray.spec.claim import Claim
from tests.analysis.planted import build_study
from tests.judge.rows import build_samples

ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
    "stem": {"set": {"init": {"source": "upstream", "frozen": "stem"}}},
}
ROWS = {
    "scratch": [9.0, 10.0, 11.0],
    "pretrained": [12.0, 13.0, 14.0],
    "frozen": [15.0, 15.5, 16.0],
    "stem": [12.5, 13.5, 15.0],
}


def judge(*names: str, claims: dict[str, Claim] | None = None) -> Judged:
    study = build_study(arms={name: ARMS.get(name, {}) for name in names})
    rows = {(arm, n): ROWS.get(arm, ROWS["scratch"]) for arm in names for n in (4.0, 6.0)}
    samples = build_samples(rows)
    return judge_study(study, samples, measure_claims(claims or {}, samples, study.margin))


def of_family(judged: Judged, family: str) -> list[Finding]:
    return [f for f in judged.findings if f.family == family]


def test_each_pair_without_the_reference_is_one_secondary_finding_at_the_longest_length() -> None:
    judged = judge(*ARMS)
    pairs = [f.arms for f in of_family(judged, "secondary")]
    assert pairs == [("pretrained", "frozen"), ("pretrained", "stem"), ("frozen", "stem")]
    assert {f.lengths for f in of_family(judged, "secondary")} == {(6.0,)}
    assert len([f for f in of_family(judged, "descriptive") if f.kind == "arms"]) == 6


def test_the_second_family_is_corrected_by_itself_and_headlines_keep_their_p() -> None:
    judged = judge(*ARMS)
    pairs, headlines = of_family(judged, "secondary"), of_family(judged, "primary")
    alone = sorted(f.effect.p_value or 0.0 for f in pairs if f.effect)
    holm = [3 * alone[0], max(3 * alone[0], 2 * alone[1])]
    assert sorted(f.p_adjusted or 0.0 for f in pairs)[:2] == pytest.approx(holm)
    for other in ("pretrained", "frozen", "stem"):
        (alone_finding,) = of_family(judge("scratch", other), "primary")
        assert alone_finding.effect is not None
        p = alone_finding.effect.p_value or 0.0
        (headline,) = [f for f in headlines if f.arms[1] == other]
        assert p <= (headline.p_adjusted or 0.0) <= 3 * p + 1e-12


def test_twins_are_a_check_and_no_pair() -> None:
    judged = judge("scratch", "again", "pretrained")
    assert of_family(judged, "secondary") == []


def test_a_pair_that_a_primary_claim_tests_has_the_p_of_the_claim() -> None:
    claim = Claim.model_validate(
        {
            "says": "frozen ends above pretrained",
            "side": {"arm": "frozen"},
            "against": {"arm": "pretrained"},
            "match": ("regime", "metric"),
            "rung": "longest",
            "primary": True,
        }
    )
    judged = judge("scratch", "pretrained", "frozen", claims={"frozen_wins": claim})
    (pair,) = of_family(judged, "secondary")
    (declared,) = [f for f in of_family(judged, "primary") if f.kind == "claim"]
    assert pair.p_adjusted == declared.p_adjusted
