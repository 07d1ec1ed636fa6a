"""Looks at a study while it runs, with replicates that one can check by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.judging import judge_study
from rethink_ray.judge.look_errors import LookErrors
from rethink_ray.judge.spending import LookPlan
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import about
from tests.judge.rows import build_sample, build_samples
from tests.judge.sequential import ARMS, LOOKS, build_sequential_study, judge_rows, take_looks
from tests.judge.test_no_contradictions import (
    EXPECTATIONS,
    claim_of,
    contradictions,
    random_rows,
    said_in,
)

SPREAD = (-0.5, 0.0, 0.5, -0.5, 0.5, -0.4, 0.4, -0.5, 0.5)
"""Around a mean; after 3, 5, 7 and 9 of them the mean is 0."""
WIDE = (-1.2, 0.0, 1.2, -1.2, 1.2, -1.2, 1.2, -1.2, 1.2)
HEADLINE = "full/pretrained-vs-scratch@6x"


def around(mean: float, spread: tuple[float, ...] = SPREAD) -> list[float]:
    return [mean + step for step in spread]


def rows_of(**means: float) -> dict[tuple[str, float], list[float]]:
    return {(arm, 6.0): around(mean) for arm, mean in means.items()}


def test_a_lead_of_ten_points_is_decided_at_the_first_look_and_its_arm_stops() -> None:
    # sd 0.5, so t = 10 / sqrt(2 x 0.25 / 3) = 24.5 with 4 degrees of freedom: p = 0.000016
    rows = rows_of(scratch=20, pretrained=30, frozen=20)
    decisions = take_looks(build_sequential_study(), rows, 1)
    lead, level = decisions.comparisons
    assert (lead.verdict, lead.decided_at) == ("supported", 3)
    assert (level.verdict, level.decided_at) == ("open", None)
    # the reference runs on, because one of its comparisons is open
    assert decisions.open_arms == {("full", "scratch"), ("full", "frozen")}


def test_a_decided_comparison_is_frozen_whatever_comes_later() -> None:
    study, rows = build_sequential_study(), rows_of(scratch=20, pretrained=30, frozen=20)
    before = judge_rows(study, {key: values[:3] for key, values in rows.items()}, 1)[HEADLINE]
    rows["scratch", 6.0][3:] = [40.0] * 6  # the reference runs on, and overtakes
    after = judge_rows(study, rows, 2)[HEADLINE]
    assert after.verdict is Verdict.SUPPORTED
    assert (after.effect, after.p_adjusted) == (before.effect, before.p_adjusted)
    assert after.effect is not None
    assert after.effect.nums == (3, 3)
    assert after.effect.value == pytest.approx(10.0)
    assert after.evidence == before.evidence
    assert after.sentence.startswith(before.sentence)
    assert "stopped at 3 of 9 replicates: decided" in after.sentence
    assert after.stop is not None
    assert after.stop.later is not None
    # nine of scratch: (3 x 20 + 6 x 40) / 9 = 33.33
    assert after.stop.later.value == pytest.approx(30.0 - 100.0 / 3.0)
    assert "describes and decides nothing" in after.sentence


def test_what_a_look_decided_is_the_same_when_more_looks_follow() -> None:
    study, rng = build_sequential_study(), np.random.default_rng(1)
    for _ in range(3):
        rows = random_rows(rng, 9, 1.0, 0.5)
        each = [take_looks(study, rows, num) for num in range(1, 5)]
        for early, late in itertools.pairwise(each):
            for before, after in zip(early.comparisons, late.comparisons, strict=True):
                assert before.verdict == "open" or before == after


def test_equal_arms_that_scatter_widely_are_given_up_from_5_replicates_on() -> None:
    # sd 1.2 at 7: even 9 replicates leave half widths above 1.3, and the margin is 0.5
    study = build_sequential_study()
    rows = {(arm, 6.0): around(20.3 if arm == "frozen" else 20.0, WIDE) for arm in ARMS}
    assert {o.verdict for o in take_looks(study, rows, 1).comparisons} == {"open"}
    decisions = take_looks(study, rows, 4)
    assert {o.verdict for o in decisions.comparisons} == {"futile"}
    assert all(o.decided_at in (5, 7) for o in decisions.comparisons)
    assert not decisions.open_arms
    finding = judge_rows(study, rows, 4)[HEADLINE]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.interval is not None
    assert "9 could not decide it" in finding.sentence


def test_an_open_comparison_says_how_many_more_replicates_would_decide() -> None:
    # 1 point at sd 0.5: t = 2.4 at 3 replicates, and 3.2 at 5
    rows = rows_of(scratch=20, pretrained=21.2)
    finding = judge_rows(build_sequential_study(), rows, 1)[HEADLINE]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.stop is not None
    assert finding.stop.more in (2, 4)
    assert f"after 3 of 9 replicates, {finding.stop.more} more would decide" in finding.sentence
    assert finding.needed == 3 + finding.stop.more


def test_three_statements_stand_apart_and_the_familys_interval_is_the_widest() -> None:
    rows = rows_of(scratch=20, pretrained=24, frozen=20)
    finding = judge_rows(build_sequential_study(), rows, 2)[HEADLINE]
    assert finding.interval is not None
    assert finding.stop is not None
    assert finding.stop.family_interval is not None
    low, high = finding.interval
    family_low, family_high = finding.stop.family_interval
    # sd 0.5 at 5 replicates: the plain interval is 4 -+ 2.306 x 0.316, that of a look is wider
    assert finding.stop.number == 5
    assert family_low < low < 4.0 - 0.73
    assert family_high > high > 4.0 + 0.73
    assert finding.stop.unbiased is not None


def test_before_the_first_look_nothing_is_decided_whatever_the_replicates_show() -> None:
    means = {"scratch": 20.0, "pretrained": 30.0}
    rows = {(arm, n): around(mean)[:3] for arm, mean in means.items() for n in (2.0, 6.0)}
    findings = judge_rows(build_sequential_study(), rows, 0)
    about_both = [f for f in findings.values() if f.lengths[-1:] == (6.0,) and len(f.arms) == 2]
    assert {f.verdict for f in about_both} == {Verdict.INCONCLUSIVE}
    assert "first look is still to come" in findings[HEADLINE].sentence


def test_a_twin_runs_on_as_long_as_the_arm_that_it_repeats() -> None:
    study = build_sequential_study(arms=ARMS | {"again": {}})
    rows = rows_of(scratch=20, pretrained=30, frozen=20, again=20)
    assert take_looks(study, rows, 1).open_arms == {
        ("full", arm) for arm in ("scratch", "frozen", "again")
    }


def test_a_primary_claim_keeps_its_arms_running_and_counts_in_the_family() -> None:
    claim = {
        "says": "frozen is level with pretrained",
        "side": {"arm": "frozen"},
        "against": {"arm": "pretrained"},
        "match": ["regime", "metric"],
        "expect": "equal",
        "primary": True,
    }
    study = build_sequential_study(claims={"level": claim})
    rows = rows_of(scratch=20, pretrained=30, frozen=30.1)
    decisions = take_looks(study, rows, 1)
    assert [o.verdict for o in decisions.comparisons] == ["supported", "supported", "open"]
    assert decisions.open_arms == {("full", "pretrained"), ("full", "frozen")}
    assert decisions.corrections.num == 3
    finding = judge_rows(study, rows, 1)["claim:level"]
    assert finding.family == "primary"
    assert "after 3 of 9 replicates" in finding.sentence


def test_a_replicate_without_a_score_is_one_of_the_first_three_all_the_same() -> None:
    sample = build_sample("scratch", 6.0, [20.0, 21.0, 22.0, 23.0])
    # replicate 1 has no score: seeds 0, 2, 3 and 4 have
    values = dict(zip((0, 2, 3, 4), sample.numbers, strict=True))
    ordered = replace(sample, values=values, order=(0, 1, 2, 3, 4))
    assert ordered.up_to(3).values == {0: 20.0, 2: 21.0}
    assert ordered.up_to(3).evidence == ("scratch-0", "scratch-1")


def test_where_searches_are_added_a_value_is_the_mean_of_a_search_and_sentences_say_so() -> None:
    sample = build_sample("scratch", 6.0, [20.0, 21.0, 22.0])
    of_searches = replace(sample, evidence=tuple("abcdefghi"), order=(0, 1, 2))  # three runs each
    assert of_searches.up_to(2).values == {0: 20.0, 1: 21.0}
    assert of_searches.up_to(2).evidence == of_searches.evidence
    searches = {"from": 3, "to": 9, "until": "decided"}
    budget = {"trials": 2, "keep": [2, 2, 2], "replicates": 2, "searches": searches}
    study = build_sequential_study(budget=budget)
    finding = judge_rows(study, rows_of(scratch=20, pretrained=30), 1)[HEADLINE]
    assert "stopped at 3 of 9 searches: decided" in finding.sentence


def test_a_look_beyond_the_last_decides_only_by_the_error_that_was_kept_for_it() -> None:
    plan, at_looks = LookPlan(looks=LOOKS), [0.5, 0.4, 0.3, 0.03]
    kept, none_kept = LookErrors(plan=plan, reserve=0.01), LookErrors(plan=plan)
    # 4 of 5 % are left for the planned looks: their p counts 5/4, and that of the other look 5/1
    planned = none_kept.overall(at_looks)
    assert kept.overall(at_looks) == pytest.approx(1.25 * planned)
    assert kept.overall([*at_looks, 0.002]) == pytest.approx(0.01)
    assert none_kept.overall([*at_looks, 0.0]) == planned
    assert (kept.num_deciding, none_kept.num_deciding) == (5, 4)
    assert kept.at_look(4, 0.05) == pytest.approx(0.01)


@pytest.mark.parametrize("seed", range(8))
def test_no_two_findings_of_a_study_with_looks_disagree(seed: int) -> None:
    rng = np.random.default_rng([2, seed])
    pairs = list(itertools.permutations(ARMS, 2))
    chosen = [pairs[i] for i in rng.choice(len(pairs), 2, replace=False)]
    claims = {
        f"c{i}": claim_of(str(rng.choice(EXPECTATIONS)), pair, primary=bool(i), margin=None)
        for i, pair in enumerate(chosen)
    }
    tree = {name: c.model_dump(mode="json", exclude_unset=True) for name, c in claims.items()}
    study = build_sequential_study(claims=tree)
    lead, sd = float(rng.choice([0.0, 0.4, 1.0, 3.0])), float(rng.choice([0.2, 0.6]))
    rows = random_rows(rng, 9, lead, sd)
    samples = build_samples(rows)
    measured = measure_claims(about("ap", study.claims), samples, study.margin)
    for num in range(5):
        judged = judge_study(study, samples, measured, take_looks(study, rows, num))
        assert not list(contradictions(list(said_in(judged.findings, ()))))
