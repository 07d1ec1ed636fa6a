"""The answer of planted studies: what to train with, how sure, what is open, what export writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.recommended import answer_terminal, next_lines
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal, claims_text
from rethink_ray.api import read_study
from rethink_ray.cli import app
from rethink_ray.commands.endings import closing_lines
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.spec.load import load_config
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_facts, build_study, written
from tests.golden_words import assert_says

ARMS: dict[str, Any] = {
    "scratch": {},
    "finetuned": {"set": {"init.source": "upstream"}},
    "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
}
LENGTHS = (2.0, 4.0, 6.0)
THREE = {
    "scratch": [9.0, 10.0, 11.0],
    "finetuned": [19.0, 20.0, 21.0],
    "frozen": [18.0, 19.5, 20.0],
}
"""Replicates at 6x; one point less at 4x, two less at 2x."""


def rising(rows: dict[str, list[float]]) -> dict[tuple[str, float], list[float]]:
    return {
        (arm, length): [value - (6.0 - length) / 2.0 for value in values]
        for arm, values in rows.items()
        for length in LENGTHS
    }


def planted(
    rows: dict[str, list[float]], changes: dict[str, Any] | None = None, **kw: Any
) -> Planted:
    study = build_study(**{"arms": {arm: ARMS[arm] for arm in rows}, **(changes or {})})
    return Planted(study, written(rising(rows)), **kw)


def found_of(planted_study: Planted) -> Findings:
    return derive_findings(planted_study.tables())


def test_a_regime_has_one_paragraph_that_names_arm_length_values_score_and_what_is_open() -> None:
    findings = found_of(planted(THREE))
    (answer,) = findings.answer.regimes
    best = answer.recommended
    assert best is not None
    assert (best.arm, best.length, best.rate, answer.tied) == ("finetuned", 6.0, 0.02, ("frozen",))
    assert (best.updates, best.passes) == (360, 360 * 8 / 400)
    assert best.mean is not None
    assert best.mean.value == pytest.approx(20.0)
    se = 3.0**-0.5
    # t with 2 degrees of freedom: 2.5 % above; a third of it below, for the choice among 3 arms
    assert best.expected == pytest.approx((20.0 - 7.649 * se, 20.0 + 4.303 * se), abs=0.001)
    assert_says("analysis", "answer of three arms", answer.paragraph)


def test_the_table_of_arms_says_which_may_be_the_best_and_how_far_behind_each_may_be() -> None:
    (answer,) = found_of(planted(THREE)).answer.regimes
    assert [(a.arm, a.may_be_best) for a in answer.arms] == [
        ("finetuned", True),
        ("frozen", True),
        ("scratch", False),
    ]
    assert answer.arms[2].shown_behind == "finetuned"
    assert answer.arms[2].behind is not None
    assert answer.arms[2].behind > 10.0


def test_export_writes_the_arm_of_the_answer_and_never_the_luckiest_trial(tmp_path: Path) -> None:
    """A search trial of frozen scored 30; its replicates are one point behind."""
    score = written(rising(THREE))

    def lucky(cell: Cell, length: float, purpose: str, number: int) -> float:
        is_lucky = (cell.arm, purpose, number, length) == ("frozen", "search", 1, 6.0)
        return 30.0 if is_lucky else score(cell, length, purpose, number)

    made = Planted(build_study(arms=ARMS), lucky)
    directory = StudyDirectory.open(made.directory(tmp_path / "s"))
    out = export_best(directory, tmp_path / "best")
    best = tmp_path / "best" / "full-best.yaml"
    (answer,) = derive_findings(made.tables()).answer.regimes
    assert answer.recommended is not None
    assert out.made_of[best].cell.arm == answer.recommended.arm == "finetuned"
    assert out.made_of[best].member.trial_id == answer.recommended.trial_id
    assert load_config(best).arm == "finetuned"
    assert load_config(tmp_path / "best" / "full-frozen-6x.yaml").expected == {"val/ap": 30.0}
    head, *_ = best.read_text().splitlines()
    assert head == "# The recommended arm of full: finetuned. May be as good: frozen."


def test_without_replicates_no_arm_is_recommended_and_no_file_of_the_best_is_left(
    tmp_path: Path,
) -> None:
    made = planted(THREE, {"budget": {"trials": 2, "keep": [2, 2, 2], "replicates": 0}})
    findings = found_of(made)
    (answer,) = findings.answer.regimes
    assert answer.recommended is None
    assert_says("analysis", "answer without replicates", answer.paragraph)
    step = findings.answer.next
    assert step is not None
    assert step.option == "--replicates 3"
    stale = tmp_path / "best" / "full-best.yaml"
    stale.parent.mkdir()
    stale.write_text("of an earlier answer")
    out = export_best(StudyDirectory.open(made.directory(tmp_path / "s")), tmp_path / "best")
    assert out.not_recommended == {"full": answer.paragraph}
    assert not stale.exists()


def test_one_arm_is_recommended_with_the_plain_interval_as_nothing_was_chosen() -> None:
    (answer,) = found_of(planted({"scratch": [9.0, 10.0, 11.0]})).answer.regimes
    assert answer.recommended is not None
    assert answer.recommended.mean is not None
    assert answer.recommended.expected == pytest.approx(answer.recommended.mean.interval())
    assert_says("analysis", "answer of one arm", answer.paragraph)


def test_one_arm_without_replicates_is_recommended_without_an_expected_score() -> None:
    made = planted(
        {"scratch": [9.0]}, {"budget": {"trials": 2, "keep": [2, 2, 2], "replicates": 0}}
    )
    (answer,) = found_of(made).answer.regimes
    assert answer.recommended is not None
    assert (answer.recommended.mean, answer.recommended.expected) == (None, None)
    assert_says("analysis", "answer of one arm without replicates", answer.paragraph)


def test_a_diverged_replicate_counts_as_zero_in_the_answer_too() -> None:
    rows = {"scratch": [9.0, 9.1, 8.9], "finetuned": [10.0, 10.1, 9.9]}
    made = planted(rows, ended={("finetuned", "replicate", 1): "diverged"})
    (answer,) = found_of(made).answer.regimes
    (finetuned,) = [arm for arm in answer.arms if arm.arm == "finetuned"]
    assert finetuned.mean is not None
    assert finetuned.mean.value == pytest.approx((10.0 + 9.9) / 3)
    assert answer.recommended is not None
    assert answer.recommended.arm == "scratch"


def test_an_arm_whose_every_trial_is_infeasible_is_named_with_the_reason() -> None:
    ended = {("frozen", "search", number): "infeasible" for number in range(2)}
    (answer,) = found_of(planted(THREE, ended=ended)).answer.regimes
    assert answer.recommended is not None
    assert answer.recommended.num_arms == 2
    assert answer.paragraph.endswith(
        "Not compared: frozen, because no trial of frozen has finished 6x (2 trials: 2 infeasible)."
    )


def test_if_the_method_ended_every_replicate_nothing_is_recommended() -> None:
    ended = {(a, "replicate", i): "diverged" for a in ("scratch", "finetuned") for i in range(3)}
    rows = {arm: THREE[arm] for arm in ("scratch", "finetuned")}
    (answer,) = found_of(planted(rows, ended=ended)).answer.regimes
    assert answer.recommended is None
    assert "ended every replicate" in answer.paragraph


def test_a_study_without_a_record_says_that_no_trial_has_a_score() -> None:
    study = build_study(arms=ARMS)
    findings = derive_findings(build_tables(study, StudyState([]), build_facts(study)))
    assert findings.answer.regimes[0].paragraph == (
        "full (400 images): nothing can be recommended yet, because no search trial has a score."
    )
    assert list(next_lines(findings, "studies/s")) == ["next: rethink-ray resume studies/s"]


def test_two_replicates_name_the_highest_mean_and_ask_for_three() -> None:
    budget = {"trials": 2, "keep": [2, 2, 2], "replicates": 2}
    rows = {"scratch": [9.0, 9.1], "finetuned": [20.0, 20.1]}
    findings = found_of(planted(rows, {"budget": budget}))
    (answer,) = findings.answer.regimes
    assert answer.recommended is not None
    assert (answer.recommended.arm, answer.recommended.expected) == ("finetuned", None)
    assert_says("analysis", "answer of two replicates", answer.paragraph)
    assert findings.answer.next is not None
    assert findings.answer.next.option == "--replicates 3"


def test_the_next_step_is_the_open_comparison_that_takes_least_with_its_hours() -> None:
    """Each replicate takes 3 rungs of 11 s; 2 arms need 14 more each, one of three seconds 0."""
    rows = {"scratch": [9.0, 10.0, 11.0], "finetuned": [10.0, 11.0, 12.0]}
    findings = found_of(planted(rows))
    step = findings.answer.next
    assert step is not None
    assert step.option == "--replicates 17"
    assert step.hours == pytest.approx(2 * 14 * 33.0 / 3600.0)
    assert step.decides == "whether finetuned ends above scratch on full"
    assert_says("analysis", "next after a run", "\n".join(next_lines(findings, "studies/s")))


def test_replicates_on_other_draws_of_the_images_are_called_so() -> None:
    changes = {
        "regimes": {"small": {"images": 60}},
        "replicate": {"vary": ["seed", "subset"]},
    }
    (answer,) = found_of(planted(THREE, changes)).answer.regimes
    assert "fresh replicates, each on another draw of the images" in answer.paragraph


def test_the_answer_is_first_in_every_form_and_the_papers_claims_are_on_request() -> None:
    findings = found_of(planted(THREE))
    paragraph = findings.answer.regimes[0].paragraph
    terminal = as_terminal(findings, is_short=True)
    assert terminal.index(paragraph) < terminal.index("FINDINGS")
    assert paragraph in as_markdown(findings, is_short=True)
    assert "He 2018" not in terminal
    assert "He 2018" not in as_markdown(findings, is_short=True)
    assert "He 2018" in claims_text(findings)
    assert "He 2018" in as_markdown(findings)
    tree = json.loads(as_json_text(findings))["answer"]
    assert tree["regimes"][0]["paragraph"] == paragraph
    assert tree["regimes"][0]["recommended"]["params"] == {"optimizer.lr": 0.02}
    assert tree["regimes"][0]["tied"] == ["frozen"]
    assert str(findings.answer) == paragraph


def test_the_command_the_api_and_the_end_of_a_run_give_the_same_answer(tmp_path: Path) -> None:
    root = planted(THREE).directory(tmp_path / "s")
    answer = read_study(root).answer
    paragraph = answer.of("full").paragraph
    shown = CliRunner().invoke(app, ["answer", str(root)])
    assert shown.exit_code == 0, shown.output
    assert paragraph in " ".join(shown.output.split())
    as_json = CliRunner().invoke(app, ["answer", str(root), "--json"])
    assert json.loads(as_json.output)["regimes"][0]["paragraph"] == paragraph
    assert f"answer: {paragraph}" in list(closing_lines(StudyDirectory.open(root)))
    claims = CliRunner().invoke(app, ["findings", str(root), "--claims", "papers"])
    assert claims.output.startswith("THE PAPERS' CLAIMS, HERE")
    refused = CliRunner().invoke(app, ["findings", str(root), "--claims", "mine"])
    assert "must be papers" in str(refused.exception)


def test_the_screen_of_the_answer(tmp_path: Path) -> None:
    findings = found_of(planted(THREE))
    assert_says("analysis", "screen of the answer", answer_terminal(findings, "studies/planted"))


def test_an_expected_score_stays_within_the_points_a_score_can_have() -> None:
    low = {"scratch": [1.0, 4.0, 7.0], "finetuned": [2.0, 5.0, 11.0]}
    (answer,) = found_of(planted(low)).answer.regimes
    assert answer.recommended is not None
    assert answer.recommended.expected is not None
    assert answer.recommended.expected[0] == 0.0
