"""Ladders that ended where they converged: what arms are judged by, and what is said about it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rethink_ray.analysis.export import export_best
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.answer import family_note
from rethink_ray.analysis.show.render import as_markdown, as_terminal
from rethink_ray.analysis.show.report import write_report
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.protocol.convergence import Convergence
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study, written
from tests.golden_words import assert_says

SCHEDULE: dict[str, Any] = {"unit": 60, "lengths": [2, 4, 6, 8], "converged": 0.5}
BUDGET: dict[str, Any] = {"trials": 2, "keep": [2, 2, 2, 2], "replicates": 3}
CHASE = {
    "says": "pre-training ends above scratch",
    "side": {"arm": "pretrained"},
    "against": {"arm": "scratch"},
    "where": {"metric": "ap"},
    "match": ["regime"],
}
SCORES: Mapping[tuple[str, float], Sequence[float]] = {
    # scratch gains two points from length to length, pretrained a tenth of one and has converged
    **{("scratch", n): [8 + n - 1, 8 + n, 8 + n + 1] for n in (2, 4, 6, 8)},
    ("pretrained", 2): [13.0, 14.0, 15.0],
    ("pretrained", 4): [13.1, 14.1, 15.1],
}


def planted(**changes: Any) -> Planted:
    claims = {name: {**CHASE, "rung": name} for name in ("best", "longest", "each")}
    study = build_study(**{"schedule": SCHEDULE, "budget": BUDGET, "claims": claims, **changes})
    short = {("pretrained", p, n): (2.0, 4.0) for p in ("search", "replicate") for n in range(3)}
    return Planted(study, written(SCORES), ladders=short)


def found() -> Findings:
    return derive_findings(planted().tables())


def test_arms_are_judged_each_at_its_own_best_length() -> None:
    """Scratch comes to 16 at 8x, pretrained to 14.1 at 4x."""
    [headline] = [f for f in found().findings if f.family == "primary" and f.kind == "arms"]
    assert headline.key == "full/pretrained-vs-scratch@best"
    assert headline.lengths == (8.0, 4.0)
    assert headline.effect is not None
    assert round(headline.effect.value, 6) == -1.9
    assert "at their best lengths (scratch 8x, pretrained 4x)" in headline.sentence
    [answer] = found().answers
    assert "at best (8x and 4x) (-1.9" in answer


def test_single_lengths_are_compared_where_both_were_run_and_nowhere_else() -> None:
    others = [f for f in found().findings if f.kind == "arms" and f.family != "primary"]
    assert [f.lengths for f in others] == [(4.0,), (2.0,)]
    assert [round(f.effect.value, 6) for f in others if f.effect] == [2.1, 4.0]
    [catch] = [f for f in found().findings if f.kind == "catch_up"]
    assert catch.lengths == (2.0, 4.0)


def test_a_catch_up_says_nothing_of_a_headline_at_other_lengths() -> None:
    """Scratch is behind by 2.1 at 4x, and ahead by 1.4 at 8x against 4x: p 0.027, times two."""
    arms = {
        "scratch": {},
        "pretrained": {"set": {"init.source": "upstream"}},
        "frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}},
    }
    rows = {**SCORES, **{("frozen", n): SCORES["pretrained", n] for n in (2, 4)}}
    rows |= {("scratch", 4): [11.5, 12.0, 12.5], ("scratch", 8): [15.0, 15.5, 16.0]}
    rows |= {("pretrained", 4): [13.6, 14.1, 14.6]}
    short = planted().ladders
    short |= {("frozen", p, n): (2.0, 4.0) for p in ("search", "replicate") for n in range(3)}
    study = planted(arms=arms, claims={}).study
    findings = derive_findings(Planted(study, written(rows), ladders=short).tables())
    headline = next(f for f in findings.findings if f.arms == ("scratch", "pretrained"))
    assert (headline.lengths, headline.verdict) == ((8.0, 4.0), Verdict.INCONCLUSIVE)
    assert headline.interval is not None
    assert headline.interval[1] < 0.0
    catch = next(f for f in findings.findings if f.kind == "catch_up")
    assert catch.verdict is not Verdict.INCONCLUSIVE
    assert "headline" not in catch.sentence


def test_claims_compare_the_lengths_that_both_have_or_the_best() -> None:
    claims = {f.key: f for f in found().findings if f.kind == "claim"}
    values = {k: round(f.effect.value, 6) for k, f in claims.items() if f.effect}
    assert values["claim:best"] == -1.9
    assert values["claim:longest"] == 2.1
    each = [v for k, v in values.items() if k.startswith("claim:each")]
    assert sorted(each) == [2.1, 4.0]


def test_findings_say_where_every_cell_ended_and_that_costs_are_not_equal() -> None:
    findings = found()
    assert findings.missing == ""
    records = findings.records
    assert records[Cell("full", "scratch")].convergence == Convergence(length=8.0, improving=True)
    assert records[Cell("full", "pretrained")].convergence == Convergence(
        length=4.0, improving=False
    )
    texts = {c.key: c.text for c in findings.caveats}
    for key, lengths in {
        "still-improving:full/scratch": ["8x"],
        "converged:full/pretrained": ["4x"],
        "unequal-ends:full": ["8x", "4x"],
    }.items():
        assert all(length in texts[key] for length in lengths)
        assert_says("analysis", f"caveat {key}", texts[key])


def test_a_ladder_that_one_trial_ended_says_so() -> None:
    budget = {**BUDGET, "keep": [2, 1, 1, 1]}
    one = planted(budget=budget)
    scratch = {("scratch", "search", 1): (2.0,), ("pretrained", "search", 1): (2.0,)}
    texts = {
        c.key: c.text
        for c in derive_findings(
            Planted(one.study, one.score, ladders={**one.ladders, **scratch}).tables()
        ).caveats
    }
    text = texts["converged:full/pretrained"]
    assert_says("analysis", "caveat of a ladder that one trial ended", text)


def test_without_the_rule_nothing_is_said_and_the_longest_length_decides() -> None:
    free = planted(schedule={"unit": 60, "lengths": [2, 4, 6, 8]})
    findings = derive_findings(free.tables())
    [headline] = [f for f in findings.findings if f.family == "primary" and f.kind == "arms"]
    assert headline.lengths == (8.0,)
    kinds = {c.key.partition(":")[0] for c in findings.caveats}
    assert not kinds & {"converged", "still-improving", "unequal-ends"}


def test_a_copied_arm_ends_where_its_source_does() -> None:
    study = {"arms": {"pretrained": {}, "copy": {}}, "tuning": {"copy_from": "pretrained"}}
    base = planted(**study, claims={})
    rows = {**SCORES, **{("copy", n): SCORES["pretrained", n] for n in (2, 4)}}
    short = {
        (arm, p, n): (2.0, 4.0)
        for arm in ("pretrained", "copy")
        for p in ("search", "replicate")
        for n in range(3)
    }
    findings = derive_findings(Planted(base.study, written(rows), ladders=short).tables())
    assert {r.lengths for r in findings.records.values()} == {(2.0, 4.0)}
    assert {c.key for c in findings.caveats if "converged" in c.key} == {
        "converged:full/pretrained"
    }


def test_pages_and_exports_take_it(tmp_path: Path) -> None:
    made = planted()
    root = made.directory(tmp_path / "study")
    findings = derive_findings(made.tables())
    page = as_markdown(findings)
    assert "at their best lengths" in page
    assert family_note(findings) in page
    assert_says("analysis", "family of a study whose ladders converge", family_note(findings))
    for words in ("still improving at 8x", "converged at 4x"):
        assert f"| {words} |" in page  # beside the best length of the cell
    assert "at their best lengths" in as_terminal(findings)
    assert "8x/4x *" in write_report(root).read_text()
    exported = export_best(StudyDirectory.open(root), tmp_path / "best")
    assert exported.missing == ()
