"""Which arm is recommended, from which set, and what the findings say of the same arms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rethink_ray.judge.arm_choice import ArmChoice, choose_arm
from rethink_ray.judge.judging import judge_study
from rethink_ray.judge.verdicts import Finding, Verdict
from tests.analysis.planted import build_study
from tests.judge.rows import build_samples

ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
}
ORDER = tuple(ARMS)


def choose(
    rows: dict[str, Sequence[float]], order: Sequence[str] = ORDER, **changes: Any
) -> tuple[ArmChoice, tuple[Finding, ...]]:
    """The choice, and the findings that it must agree with."""
    study = build_study(arms={arm: ARMS[arm] for arm in rows}, **changes)
    samples = build_samples({(arm, 6.0): values for arm, values in rows.items()})
    judged = judge_study(study, samples)
    return choose_arm(study, "full", samples, order, judged.corrections), judged.findings


def test_the_cheapest_arm_is_chosen_if_it_is_shown_to_be_less_than_the_margin_behind() -> None:
    rows = {"scratch": [20.0, 20.1, 20.2], "pretrained": [20.1, 20.2, 20.3]}
    choice, _ = choose(rows)
    assert (choice.arm, choice.why) == ("scratch", "cheapest")
    assert choice.best is not None
    assert choice.best.arms == ("pretrained", "scratch")
    assert choice.best.behind["scratch"] == pytest.approx(0.1 + 2.392 * 0.08165, abs=0.001)
    (open_one,) = choice.open
    assert open_one.is_equal


def test_with_a_smaller_margin_the_same_numbers_choose_the_highest_mean() -> None:
    rows = {"scratch": [20.0, 20.1, 20.2], "pretrained": [20.1, 20.2, 20.3]}
    choice, _ = choose(rows, margin=0.2)
    assert (choice.arm, choice.why) == ("pretrained", "highest")


def test_equal_means_are_given_to_the_cheapest() -> None:
    rows = {"scratch": [18.0, 20.0, 22.0], "pretrained": [18.0, 20.0, 22.0]}
    assert choose(rows)[0].arm == "scratch"
    assert choose(rows, ("pretrained", "scratch"))[0].arm == "pretrained"


def test_an_arm_ahead_of_all_others_is_the_only_one_in_the_set() -> None:
    rows = {"scratch": [9.0, 10.0, 11.0], "pretrained": [19.0, 20.0, 21.0], "frozen": [9.5] * 3}
    choice, _ = choose(rows)
    assert (choice.arm, choice.why, choice.open) == ("pretrained", "alone", ())
    assert choice.shown_behind == {"scratch": "pretrained", "frozen": "pretrained"}


def test_what_is_open_asks_for_as_many_replicates_as_the_finding_about_it() -> None:
    rows = {"scratch": [9.0, 10.0, 11.0], "pretrained": [10.0, 11.0, 12.0]}
    choice, findings = choose(rows)
    (open_one,) = choice.open
    assert (open_one.arms, open_one.lead) == (("pretrained", "scratch"), pytest.approx(1.0))
    assert open_one.needed == findings[0].needed == 17


def test_an_arm_with_two_replicates_is_not_compared() -> None:
    rows = {"scratch": [9.0, 10.0, 11.0], "pretrained": [19.0, 20.0], "frozen": []}
    choice, _ = choose(rows)
    assert (choice.arm, choice.why, choice.judged) == ("scratch", "one_arm", ("scratch",))


def test_without_three_replicates_anywhere_the_highest_mean_is_named_and_nothing_is_shown() -> None:
    choice, _ = choose({"scratch": [9.0, 10.0], "pretrained": [19.0]})
    assert (choice.arm, choice.why, choice.best) == ("pretrained", "no_interval", None)


def test_without_replicates_no_arm_is_chosen_among_several() -> None:
    choice, _ = choose({"scratch": [], "pretrained": []})
    assert (choice.arm, choice.why) == (None, "none")


def is_decided(findings: Sequence[Finding], worse: str, better: str) -> bool:
    """Whether the corrected finding of two arms says that one ends above the other."""
    for finding in findings:
        if finding.family in ("primary", "secondary") and set(finding.arms) == {worse, better}:
            turned = finding.arms[1] == worse
            return finding.verdict is (Verdict.CONTRADICTED if turned else Verdict.SUPPORTED)
    raise AssertionError("the two arms are not compared")


def test_no_arm_is_left_out_over_a_comparison_that_the_findings_call_open_or_equal() -> None:
    rng, num_left_out = np.random.default_rng(3), 0
    for _ in range(40):
        leads = dict(zip(ARMS, rng.normal(scale=0.8, size=3), strict=True))
        rows = {a: list(20.0 + leads[a] + rng.normal(scale=0.3, size=4)) for a in ARMS}
        choice, findings = choose(rows)
        num_left_out += len(choice.shown_behind)
        for worse, better in choice.shown_behind.items():
            assert is_decided(findings, worse, better)
    assert num_left_out > 10


def test_a_headline_that_is_open_only_after_correction_keeps_its_arm_in_the_set() -> None:
    """Ahead by 1.0 of 0.33: p 0.04 by itself, times two with another headline."""
    rows = {"scratch": [10.0, 10.4, 10.8], "pretrained": [11.0, 11.4, 11.8], "frozen": [3.0] * 3}
    alone, _ = choose({arm: rows[arm] for arm in ("scratch", "pretrained")})
    assert alone.best is not None
    assert alone.best.arms == ("pretrained",)
    rows["frozen"] = [10.9, 11.0, 11.3]
    choice, _ = choose(rows)
    assert choice.best is not None
    assert "scratch" in choice.best.arms
