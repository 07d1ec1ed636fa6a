"""Findings of planted studies say what was planted, and no more."""

import json
import math

import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.sheet import Sheet
from rethink_ray.analysis.show.answer import family_note, reading_note
from rethink_ray.analysis.show.render import aligned, as_json_text, as_markdown, as_terminal, piped
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.state import StudyState
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_facts, build_study, noisy, written
from tests.golden_words import assert_says

FIVE = {"trials": 2, "keep": [2, 2, 2], "replicates": 5}


def _headline(findings: Findings) -> Finding:
    return next(f for f in findings.findings if f.family == "primary")


def _flat(scratch: list[float], pretrained: list[float]) -> dict[tuple[str, float], list[float]]:
    rows = {"scratch": scratch, "pretrained": pretrained}
    return {(arm, length): row for arm, row in rows.items() for length in (2.0, 4.0, 6.0)}


def test_a_clear_lead_is_supported_with_the_welch_interval_and_its_trials() -> None:
    planted = Planted(build_study(), written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0])))
    found = _headline(derive_findings(planted.tables()))
    assert found.verdict is Verdict.SUPPORTED
    assert found.effect is not None
    assert found.effect.value == pytest.approx(10.0)
    assert found.interval == pytest.approx((10 - 2.776 * 0.8165, 10 + 2.776 * 0.8165), abs=0.01)
    assert found.lengths == (6.0,)
    assert len(found.evidence) == 6
    assert found.sentence == (
        "On full, pretrained ends above scratch at 6x: +10.0 AP [+7.7, +12.3]."
    )


def test_a_clear_deficit_is_contradicted() -> None:
    planted = Planted(build_study(), written(_flat([19.0, 20.0, 21.0], [9.0, 10.0, 11.0])))
    assert _headline(derive_findings(planted.tables())).verdict is Verdict.CONTRADICTED


def test_a_difference_shown_to_be_below_the_margin_is_equivalent() -> None:
    planted = Planted(build_study(), written(_flat([10.0, 10.1, 10.2], [10.2, 10.1, 10.3])))
    found = _headline(derive_findings(planted.tables()))
    assert found.verdict is Verdict.EQUIVALENT
    assert "within 0.5 AP of each other" in found.sentence


def test_an_open_question_says_how_many_replicates_would_decide() -> None:
    planted = Planted(build_study(), written(_flat([9.0, 10.0, 11.0], [10.0, 11.0, 12.0])))
    found = _headline(derive_findings(planted.tables()))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.needed == 17
    assert "about 17 replicates per arm would decide" in found.sentence


def test_without_replicates_nothing_is_tested_and_the_study_says_it_is_unfinished() -> None:
    planted = Planted(build_study(), written(_flat([9.0], [20.0])), replicates=0)
    findings = derive_findings(planted.tables())
    found = _headline(findings)
    assert found.verdict is Verdict.NOT_TESTED
    assert "no replicates yet (0 of scratch, 0 of pretrained)" in found.sentence
    assert findings.missing == "The study is unfinished: 6 replicates to go."


def test_two_replicates_give_a_difference_without_an_interval_and_ask_for_three() -> None:
    planted = Planted(build_study(), written(_flat([9.0, 9.1], [20.0, 20.1])), replicates=2)
    found = _headline(derive_findings(planted.tables()))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval is None
    assert found.needed == 3


def test_a_study_without_a_single_record_has_its_sentences() -> None:
    study = build_study()
    findings = derive_findings(build_tables(study, StudyState([]), build_facts(study)))
    assert findings.missing == "Nothing has been recorded yet: no trial has been proposed."
    assert _headline(findings).verdict is Verdict.NOT_TESTED
    for render in (as_terminal, as_markdown, as_json_text):
        assert "not tested" in render(findings)


def test_a_ladder_whose_replicates_all_failed_is_not_said_to_have_none() -> None:
    ended = {("scratch", "replicate", number): "diverged" for number in range(3)}
    rows = written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0]))
    findings = derive_findings(Planted(build_study(), rows, ended=ended).tables())
    (found,) = (f for f in findings.findings if f.kind == "length" and f.arms == ("scratch",))
    assert found.verdict is Verdict.NOT_TESTED
    assert found.sentence.endswith("not tested: the method ended every replicate at both lengths.")


def test_a_table_without_rows_is_told_by_its_note_alone() -> None:
    sheet = Sheet(title="Nothing", note="None of it is here.", columns=("what", "where"), rows=())
    assert aligned(sheet) == "NOTHING\nNone of it is here."
    assert piped(sheet) == "## Nothing\n\nNone of it is here."


def test_a_study_of_one_arm_has_nothing_to_compare_and_still_finds_its_best_length() -> None:
    rising = {("scratch", 2.0): [1.0], ("scratch", 4.0): [5.0], ("scratch", 6.0): [5.3]}
    planted = Planted(build_study(arms={"scratch": {}}), written(rising))
    findings = derive_findings(planted.tables())
    cell = findings.regimes[0].cells[0]
    assert (cell.best_length, cell.shortest_within) == (6.0, 4.0)
    assert findings.answers == ("full (400 images): one arm only, nothing to compare it with.",)


def test_a_diverged_replicate_counts_as_zero_and_is_named() -> None:
    planted = Planted(
        build_study(),
        written(_flat([9.0, 9.0, 9.0], [12.0, 12.0, 12.0])),
        ended={("pretrained", "replicate", 1): "diverged"},
    )
    findings = derive_findings(planted.tables())
    found = _headline(findings)
    assert found.effect is not None
    assert found.effect.value == pytest.approx(8.0 - 9.0)
    assert any(key.startswith("failed-replicates:full/pretrained") for key in found.caveats)


def test_when_the_method_ended_every_replicate_of_both_arms_nothing_is_tested() -> None:
    ended = {(a, "replicate", i): "diverged" for a in ("scratch", "pretrained") for i in range(3)}
    planted = Planted(build_study(), written(_flat([9.0], [12.0])), ended=ended)
    found = _headline(derive_findings(planted.tables()))
    assert found.verdict is Verdict.NOT_TESTED
    assert "ended every replicate of both" in found.sentence


def test_when_every_search_trial_of_an_arm_diverged_the_finding_says_so() -> None:
    ended = {("pretrained", "search", i): "diverged" for i in range(2)}
    planted = Planted(build_study(), written(_flat([9.0], [12.0])), ended=ended)
    findings = derive_findings(planted.tables())
    assert "no trial of pretrained has finished 6x (2 trials: 2 diverged)" in (
        _headline(findings).sentence
    )
    assert findings.missing == ""


def test_twins_are_not_told_apart_and_are_no_headline() -> None:
    study = build_study(arms={"scratch": {}, "again": {}}, budget=FIVE)
    findings = derive_findings(Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    (check,) = [f for f in findings.findings if f.kind == "same"]
    assert check.verdict is Verdict.SUPPORTED
    assert check.arms == ("scratch", "again")
    assert findings.num_primary == 0


def test_numbers_are_explained_where_a_reader_first_meets_them() -> None:
    twins = build_study(arms={"scratch": {}, "again": {}}, budget=FIVE)
    checked = derive_findings(Planted(twins, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    assert "6x" in reading_note(checked)
    assert reading_note(checked) in as_terminal(checked)
    assert reading_note(checked) in as_markdown(checked)
    assert_says("analysis", "how to read a study with twins", reading_note(checked))
    assert "A/A" not in reading_note(
        derive_findings(
            Planted(build_study(), written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0]))).tables()
        )
    )


def test_twins_that_are_told_apart_condemn_the_instrument() -> None:
    study = build_study(arms={"scratch": {}, "again": {}}, budget=FIVE)
    truth = {"scratch": 10.0, "again": 15.0}
    findings = derive_findings(Planted(study, noisy(lambda c, n: truth[c.arm], 0.5, 3)).tables())
    (check,) = [f for f in findings.findings if f.kind == "same"]
    assert check.verdict is Verdict.CONTRADICTED
    assert "distrust every other comparison" in check.sentence


def test_twins_of_all_regimes_are_one_check_of_the_instrument() -> None:
    regimes = {"full": {"images": "all"}, "small": {"images": 60}}
    study = build_study(arms={"scratch": {}, "again": {}}, budget=FIVE, regimes=regimes)
    findings = derive_findings(Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    checks = [f for f in findings.findings if f.kind == "same"]
    assert [check.regime for check in checks] == ["full", "small"]
    assert all("corrected for 6 comparisons" in check.sentence for check in checks)


def test_replicates_added_later_are_a_second_look_and_every_level_is_halved() -> None:
    score = noisy(lambda cell, _: 20.0 + (cell.arm == "pretrained"), 0.3, seed=3)
    at_once = Planted(build_study(budget={"trials": 2, "keep": [2, 2, 2], "replicates": 6}), score)
    later = Planted(build_study(), score, added=3)
    once, twice = derive_findings(at_once.tables()), derive_findings(later.tables())
    assert (once.looks, twice.looks) == (1, 2)
    assert family_note(twice) in as_terminal(twice)
    assert "97.5 %" in family_note(twice)
    assert "97.5 %" not in family_note(once)
    assert_says("analysis", "family of a study with two looks", family_note(twice))
    effect = _headline(twice).effect
    assert effect is not None
    assert effect.nums == (6, 6)
    assert json.loads(as_json_text(twice))["looks"] == 2


def test_the_reference_is_the_first_arm_that_starts_from_random_weights() -> None:
    arms = {"pretrained": {"set": {"init.source": "upstream"}}, "scratch": {}}
    planted = Planted(build_study(arms=arms), written(_flat([9.0], [12.0])))
    assert _headline(derive_findings(planted.tables())).arms == ("scratch", "pretrained")


def test_headlines_of_all_regimes_are_corrected_together() -> None:
    study = build_study(
        regimes={"full": {"images": "all"}, "small": {"images": 60}},
        budget=FIVE,
    )

    def truth(cell: Cell, length: float) -> float:
        gain = 3.0 if cell.regime == "small" else 0.9
        return 10.0 + (gain if cell.arm == "pretrained" else 0.0)

    findings = derive_findings(Planted(study, noisy(truth, 0.5, 5)).tables())
    primary = [f for f in findings.findings if f.family == "primary"]
    assert [f.regime for f in primary] == ["full", "small"]
    raw = sorted(f.effect.p_value or 0.0 for f in primary if f.effect)
    corrected = sorted(f.p_adjusted or 0.0 for f in primary)
    assert corrected == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])


def test_an_unfinished_search_promises_at_least_one_incumbents_replicates_per_cell() -> None:
    """Scratch has finished its search; of pretrained nothing is proposed yet."""
    planted = Planted(build_study(), written(_flat([9.0], [20.0])), replicates=0)
    events = [e for e in planted.events() if getattr(e, "arm", "scratch") == "scratch"]
    findings = derive_findings(build_tables(planted.study, StudyState(events), planted.facts))
    assert findings.missing == (
        "The study is unfinished: 2 search trials and at least 6 replicates to go."
    )


def test_enough_prints_the_end_it_rests_on_beside_the_margin() -> None:
    """From 4x to 6x every seed gains exactly 0.1, 0.2, 0.3: 0.2 + 2.92 x 0.0577 = 0.37."""
    rows = {
        ("scratch", 2.0): [3.0, 4.0, 5.0],
        ("scratch", 4.0): [10.0, 11.0, 12.0],
        ("scratch", 6.0): [10.1, 11.2, 12.3],
    }
    findings = derive_findings(Planted(build_study(arms={"scratch": {}}), written(rows)).tables())
    (found,) = [f for f in findings.findings if f.kind == "length"]
    assert found.verdict is Verdict.SUPPORTED
    assert found.sentence == (
        "On full, 4x is enough for scratch: 6x minus 4x is +0.2 AP and at most +0.4 (one-sided "
        "95 %), below the margin of 0.5, paired by seed."
    )


def test_a_contradicted_claim_is_printed_before_what_was_found() -> None:
    """Ten points behind at every length: read alone, "contradicted: has not" says the opposite."""
    planted = Planted(build_study(), written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0])))
    findings = derive_findings(planted.tables())
    claim = "on full, scratch catches up with pretrained by 6x"
    assert (
        f"[contradicted] claim: {claim}.\n    On full, scratch has not caught up with pretrained "
        "by 6x: it is still behind there."
    ) in as_terminal(findings)
    assert f"| full | {claim} | contradicted | On full, scratch has not" in as_markdown(findings)


def test_catch_up_is_bracketed_where_it_was_planted() -> None:
    leads = {2.0: 4.0, 4.0: 2.0, 6.0: 0.0}
    study = build_study(budget=FIVE)

    def truth(cell: Cell, length: float) -> float:
        return 20.0 - (leads[length] if cell.arm == "scratch" else 0.0)

    findings = derive_findings(Planted(study, noisy(truth, 0.15, 2)).tables())
    (found,) = [f for f in findings.findings if f.kind == "catch_up"]
    assert found.bracket == (4.0, 6.0)
    assert found.sentence == (
        "On full, scratch catches up with pretrained between 4x and 6x: behind up to 4x, "
        "less than 0.5 AP behind from 6x on."
    )


def test_a_catch_up_does_not_read_as_if_its_open_headline_were_decided() -> None:
    """Behind by 1.0 of 0.36: p 0.05 by itself, times two with another headline."""
    arms = {
        "scratch": {},
        "pretrained": {"set": {"init.source": "upstream"}},
        "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
    }
    rows = {(a, n): [10.0, 10.4, 10.8] for a in arms for n in (2.0, 4.0, 6.0)}
    rows |= {("pretrained", n): [11.0, 11.4, 11.8] for n in (2.0, 4.0, 6.0)}
    findings = derive_findings(Planted(build_study(arms=arms), written(rows)).tables())
    headline = next(f for f in findings.findings if f.arms == ("scratch", "pretrained"))
    assert headline.interval is not None
    assert headline.interval[0] > 0.0
    assert headline.verdict is Verdict.INCONCLUSIVE
    found = next(f for f in findings.findings if f.kind == "catch_up")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.bracket == (4.0, None)
    assert found.needed == headline.needed == 5
    assert_says("judge", "a catch-up whose headline is open only after correction", found.sentence)


def test_an_open_catch_up_says_nothing_of_shorter_lengths() -> None:
    """Ahead by 8 at 4x, by 6 give or take 9 at 6x: not open "at all rungs"."""
    rows = _flat([10.0, 10.5, 11.0], [10.0, 10.5, 11.0])
    rows |= {("scratch", 4.0): [18.0, 18.5, 19.0], ("scratch", 6.0): [14.0, 20.0, 26.0]}
    rows |= {("pretrained", 6.0): [9.0, 13.0, 20.0]}
    findings = derive_findings(Planted(build_study(), written(rows)).tables())
    (found,) = [f for f in findings.findings if f.kind == "catch_up"]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "by 6x is undecided: open at 6x; about" in found.sentence


def test_an_end_that_one_decimal_would_print_as_the_margin_has_two() -> None:
    """Gains of 0.2, 0.3 and 0.4: at most 0.3 + 2.92 x 0.1 / sqrt(3) = 0.469."""
    rows = {
        ("scratch", 2.0): [5.0, 10.0, 15.0],
        ("scratch", 4.0): [5.2, 10.3, 15.36],
        ("scratch", 6.0): [5.2, 10.3, 15.4],
    }
    study = build_study(arms={"scratch": {}})
    findings = derive_findings(Planted(study, written(rows)).tables())
    (found,) = [f for f in findings.findings if f.kind == "length"]
    assert found.effect is not None
    assert (found.verdict, found.lengths) == (Verdict.SUPPORTED, (2.0, 6.0))
    assert "at most +0.47 (one-sided 95 %), below the margin of 0.5" in found.sentence


def test_one_configuration_at_two_rungs_is_paired_by_seed() -> None:
    """Seeds 5 points apart, each gaining exactly 1.0, 1.1 and 0.9 from 4x to 6x."""
    rows = {
        ("scratch", 2.0): [3.0, 8.0, 13.0],
        ("scratch", 4.0): [5.0, 10.0, 15.0],
        ("scratch", 6.0): [6.0, 11.1, 15.9],
    }
    findings = derive_findings(Planted(build_study(arms={"scratch": {}}), written(rows)).tables())
    (found,) = [f for f in findings.findings if f.kind == "length"]
    assert found.effect is not None
    assert found.effect.nums == (3,)
    assert found.effect.value == pytest.approx(1.0)
    assert found.verdict is Verdict.SUPPORTED
    assert "paired by seed" in found.sentence


def test_the_best_length_is_chosen_on_the_select_split_not_on_replicates() -> None:
    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        return 10.0 + (length if purpose == "search" else -length)

    findings = derive_findings(Planted(build_study(), score).tables())
    assert {c.best_length for c in findings.regimes[0].cells} == {6.0}


def test_a_cell_with_nothing_to_tune_is_finished_after_its_one_trial() -> None:
    """``budget.trials`` says eight, but there is only one configuration to try."""
    study = build_study(search={}, budget={"trials": 1, "keep": [1, 1, 1], "replicates": 3})
    planted = Planted(study, written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0])))
    events = planted.events()
    larger = study.model_copy(update={"budget": study.budget.model_copy(update={"trials": 8})})
    findings = derive_findings(build_tables(larger, StudyState(events), planted.facts))
    assert findings.missing == ""


def test_arms_without_a_shared_length_are_not_called_one_arm() -> None:
    arms = {"scratch": {}, "short": {"set": {"schedule.lengths": [3]}}}
    study = build_study(arms=arms)
    findings = derive_findings(build_tables(study, StudyState([]), build_facts(study)))
    assert "no two arms share a schedule length" in findings.answers[0]


def test_a_finished_replicate_without_a_finite_score_is_named_and_not_waited_for() -> None:
    def score(cell: Cell, length: float, purpose: str, number: int) -> float:
        return math.nan if purpose == "replicate" and number == 0 else 10.0 + number

    findings = derive_findings(Planted(build_study(), score).tables())
    point = findings.regimes[0].cells[0].points[0]
    assert (len(point.values), point.unscored, point.waiting) == (2, 1, 0)
    assert findings.missing == ""
    assert any(c.key == "unscored:full/scratch" for c in findings.caveats)
    as_json_text(findings)


def test_catching_up_asks_for_fewer_replicates_than_equivalence_would() -> None:
    """Half a point ahead: never equivalent at a margin of 0.5, soon shown not to be behind."""
    scratch, other = [10.5, 11.5, 9.5], [10.0, 11.0, 9.0]
    findings = derive_findings(Planted(build_study(), written(_flat(scratch, other))).tables())
    (found,) = [f for f in findings.findings if f.kind == "catch_up"]
    headline = _headline(findings)
    assert found.verdict is headline.verdict is Verdict.INCONCLUSIVE
    assert found.needed is not None
    assert headline.needed is not None
    assert found.needed < headline.needed / 2


def test_findings_json_is_ascii_with_a_schema_version_and_caveats_that_resolve() -> None:
    planted = Planted(build_study(), written(_flat([9.0, 10.0, 11.0], [19.0, 20.0, 21.0])))
    text = as_json_text(derive_findings(planted.tables()))
    tree = json.loads(text)
    assert text.isascii()
    assert tree["schema_version"] == 2
    known = {c["key"] for c in tree["caveats"]}
    assert len(known) == len(tree["caveats"])
    assert all(set(f["caveats"]) <= known for f in tree["findings"])
    assert tree["findings"][0]["interval"][0] == pytest.approx(7.73, abs=0.01)


def test_the_same_tables_give_the_same_findings_byte_for_byte() -> None:
    planted = Planted(build_study(), noisy(lambda c, n: 10 + n, 0.5, 3))
    texts = {as_json_text(derive_findings(planted.tables())) for _ in range(2)}
    assert len(texts) == 1
