"""One-sided and empty studies have a whole report; a section that fails costs only itself."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.containment import Containment, MissingSection, missing_summary
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.sections.registry import NEW_IMAGES, SECTIONS
from rethink_ray.analysis.show.figures import draw_figures
from rethink_ray.analysis.show.price_figures import draw_prices
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.analysis.show.report import as_html, build_report
from rethink_ray.cli import app
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.protocol.tables import build_tables
from rethink_ray.records.detections import SCHEMA, detections_path
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, RoundProposed, RungDone, TrialEnded
from rethink_ray.records.views import SEAL, write_views
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, Score, build_study, noisy
from tests.golden_words import assert_says

SCORE = noisy(lambda cell, length: 10.0 + length, 0.5, 3)
ALONE: dict[str, Any] = {"arms": {"scratch": {}}}
ONE_RUNG: dict[str, Any] = {
    "schedule": {"unit": 60, "lengths": [2]},
    "budget": {"trials": 1, "keep": [1], "replicates": 1},
}
TWO_REGIMES: dict[str, Any] = {"regimes": {"full": {"images": "all"}, "few": {"images": 40}}}
PRICED: dict[str, Any] = {
    "peak_memory_bytes": 700,
    "peak_memory_of": "gpu",
    "step_flops": 1e9,
    "trained_share": 1.0,
}


def _one_sided(arm: str, regime: str = "full") -> Callable[[Event], bool]:
    """Keeps what one arm of one regime recorded."""
    known: set[str] = set()

    def keeps(event: Event) -> bool:
        if isinstance(event, RoundProposed):
            mine = (event.arm, event.regime) == (arm, regime)
            known.update(m.trial_id for m in event.members if mine)
            return mine
        return not isinstance(event, RungDone | TrialEnded) or event.trial_id in known

    return keeps


def _without_scores(cell: Cell, length: float, purpose: str, number: int) -> float:
    return math.nan


def _nan_for_one_arm(cell: Cell, length: float, purpose: str, number: int) -> float:
    return math.nan if cell.arm == "scratch" else SCORE(cell, length, purpose, number)


def _nan_for_replicates(cell: Cell, length: float, purpose: str, number: int) -> float:
    return math.nan if purpose == "replicate" else SCORE(cell, length, purpose, number)


def _diverged(*purposes: str) -> dict[tuple[str, str, int], str]:
    arms = ("scratch", "pretrained")
    return {(arm, purpose, n): "diverged" for arm in arms for purpose in purposes for n in range(3)}


def _of(
    score: Score = SCORE, keeps: Callable[[Event], bool] = lambda event: True, **more: Any
) -> Planted:
    """A planted study; what ``keeps`` refuses was never recorded."""
    fields = {k: more.pop(k) for k in ("ended", "replicates", "price") if k in more}
    planted = Planted(build_study(**more), score, **fields)
    recorded = [event for event in planted.events() if keeps(event)]
    planted.events = lambda: recorded  # type: ignore[method-assign]
    return planted


def _uneven() -> Planted:
    """Rungs of one replicate take 50 s for the updates that others take 10 s for."""
    planted = _of(price=lambda cell: PRICED)
    slow = next(e for e in planted.events() if isinstance(e, RoundProposed) and e.members[0].of)
    events = [
        replace(event, seconds_train=50.0)
        if isinstance(event, RungDone) and event.trial_id == slow.members[0].trial_id
        else event
        for event in planted.events()
    ]
    planted.events = lambda: events  # type: ignore[method-assign]
    return planted


STUDIES: dict[str, Callable[[], Planted]] = {
    "nothing recorded": lambda: _of(keeps=lambda event: False),
    "proposed, nothing finished": lambda: _of(keeps=lambda e: isinstance(e, RoundProposed)),
    "a single row": lambda: _of(**ALONE, **ONE_RUNG),
    "one replicate an arm": lambda: _of(**ONE_RUNG),
    "one arm in the study": lambda: _of(**ALONE),
    "one arm recorded": lambda: _of(keeps=_one_sided("pretrained")),
    "one regime of two": lambda: _of(keeps=_one_sided("scratch"), **TWO_REGIMES),
    "no replicates": lambda: _of(replicates=0),
    "scores that are no numbers": lambda: _of(_without_scores),
    "one arm without a number": lambda: _of(_nan_for_one_arm),
    "replicates without a number": lambda: _of(_nan_for_replicates),
    "every trial diverged": lambda: _of(ended=_diverged("search")),
    "every replicate diverged": lambda: _of(ended=_diverged("replicate")),
    "one arm diverged": lambda: _of(ended={("scratch", "search", n): "diverged" for n in (0, 1)}),
    "one price for all": lambda: _of(price=lambda cell: PRICED),
    "uneven pace": _uneven,
}


def _forms(findings: Findings, kept: Containment) -> Iterator[tuple[str, str]]:
    """Every form of the findings, each section contained by ``kept``."""
    figures = draw_figures(findings, kept) | draw_prices(findings, kept)
    yield "html", as_html(findings, figures, "studies/planted", (), kept)
    yield "markdown", as_markdown(findings, kept)
    yield "terminal", as_terminal(findings, kept)
    yield "json", as_json_text(findings, kept)


@pytest.mark.parametrize("study", STUDIES)
def test_every_section_and_figure_survives(study: str) -> None:
    planted = STUDIES[study]()
    tables = build_tables(planted.study, StudyState(planted.events()), planted.facts)

    findings = derive_findings(tables)
    kept = Containment(findings.missing_sections)
    forms = dict(_forms(findings, kept))

    assert [f"{m.name}: {m.story}" for m in kept.missing] == []
    assert all(planted.study.study in text for text in forms.values())


def test_replicates_of_uneven_pace_have_their_figure_without_a_front_line(tmp_path: Path) -> None:
    page = build_report(StudyDirectory.open(_uneven().directory(tmp_path / "s")), "s").page
    assert (page.parent / "figures" / "full-hours.svg").is_file()
    caveats = derive_findings(_uneven().tables()).caveats_by_key
    assert caveats["uneven-pace"].text in page.read_text()
    (note,) = re.findall(r'<p class="note">(Each point is .*?)</p>', page.read_text())
    assert_says("analysis", "price figures without a front by time", note)
    assert not (page.parent / "failure.txt").exists()


BROKEN: dict[str, str] = {section.key: section.title for section in SECTIONS}
"""Optional section -> what its readers call it."""


@pytest.mark.parametrize("half", [0, 1], ids=["first, third, ...", "second, fourth, ..."])
def test_sections_that_fail_leave_sentences_in_their_places_in_every_form(half: int) -> None:
    """Every other section holds an object that no renderer knows; its neighbours are whole."""
    whole = derive_findings(_of(price=lambda cell: PRICED).tables())
    kept = Containment()
    parts = list(BROKEN)[half::2]
    broken = replace(whole, sections={**whole.sections, **dict.fromkeys(parts, (object(),))})
    forms = dict(_forms(broken, kept))

    tree = json.loads(forms["json"])
    for part in parts:
        name = BROKEN[part]
        assert name in {m.name for m in kept.missing}
        assert "AttributeError" in kept.sentence_of(name)
        for form in ("html", "markdown", "terminal"):
            assert kept.sentence_of(name) in unescape(forms[form])
        assert tree[part] is None
        assert name in {section["section"] for section in tree["missing_sections"]}
    whole_tree = json.loads(as_json_text(whole))
    for part in list(BROKEN)[1 - half :: 2]:
        assert tree[part] == whole_tree[part]
    assert tree["regimes"] == whole_tree["regimes"]
    for form in ("html", "markdown", "terminal"):
        assert "best configurations" in forms[form].lower()
        assert "search trials" in forms[form].lower()


def test_findings_that_fail_leave_a_sentence_in_every_form() -> None:
    whole, kept = derive_findings(_of().tables()), Containment()
    forms = dict(_forms(replace(whole, findings=(object(),)), kept))  # type: ignore[arg-type]
    for form in ("html", "markdown", "terminal"):
        assert kept.sentence_of("Findings") in unescape(forms[form])
    tree = json.loads(forms["json"])
    assert tree["findings"] is None
    assert "Findings" in {section["section"] for section in tree["missing_sections"]}


def test_own_claims_are_never_corrected_without_the_headlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without headlines the family would be too small, and p values of own claims too."""

    def fail(*args: Any) -> Iterator[ScoreSample]:
        raise ValueError("no samples")

    claim = {"says": "it pays", "side": {"arm": "pretrained"}, "against": {"arm": "scratch"}}
    tables = _of(claims={"pays": {**claim, "primary": True}}).tables()
    monkeypatch.setattr("rethink_ray.judge.read.study_scores.objective_samples", fail)
    findings = derive_findings(tables)
    assert findings.findings == ()
    assert [m.name for m in findings.missing_sections] == [
        "Findings",
        "Caveats",
        "What to train with",
    ]


def test_what_rests_on_a_missing_section_is_missing_as_well_and_says_so() -> None:
    kept = Containment()
    assert kept.attempt("prices", lambda: 1 // 0, 7) == 7
    assert kept.attempt("ratios", lambda: 5, None, needs=("prices",)) is None
    assert kept.attempt("drift", lambda: 5, None, needs=("curves",)) == 5
    assert_says("analysis", "a section that failed", kept.sentence_of("prices"))
    assert_says("analysis", "several sections that failed", missing_summary(kept.missing))
    assert [(m.name, m.reason) for m in kept.missing] == [
        ("prices", "ZeroDivisionError (integer division or modulo by zero)"),
        ("ratios", "it rests on 'prices', which is missing as well"),
    ]


def _with_a_foreign_file(root: Path) -> Path:
    """A study whose replicates' detections have the right columns, and cats in all of them."""
    planted = _of()
    where = planted.directory(root / "s")
    for event in planted.events():
        if isinstance(event, RoundProposed) and event.purpose == "replicate":
            for member in event.members:
                path = detections_path(where, member.trial_id, 6.0)
                path.parent.mkdir(parents=True)
                pq.write_table(pa.table({name: ["tabby"] for name in SCHEMA.names}), path)
    return where


def test_report_writes_its_page_all_the_same_and_exits_with_1(tmp_path: Path) -> None:
    where = _with_a_foreign_file(tmp_path)
    told = CliRunner().invoke(app, ["report", str(where)])

    assert told.exit_code == 1, told.output
    out = where / "report"
    assert str(out / "report.html") in told.output
    assert "Traceback" in (out / "failure.txt").read_text()
    (missing,) = json.loads((out / "findings.json").read_text())["missing_sections"]
    assert missing["section"] == NEW_IMAGES.title
    sentence = MissingSection(name=missing["section"], reason=missing["reason"]).sentence
    assert sentence in told.output
    assert sentence in unescape((out / "report.html").read_text())


def test_a_study_whose_report_lacks_a_section_is_done_all_the_same(tmp_path: Path) -> None:
    where = _with_a_foreign_file(tmp_path)
    told = CliRunner().invoke(app, ["resume", str(where)])

    assert told.exit_code == 0, told.output
    assert "done after" in told.output
    assert f"report: {NEW_IMAGES.title}: " in told.output


def test_a_mended_report_has_no_failure_left(tmp_path: Path) -> None:
    where = _with_a_foreign_file(tmp_path)
    CliRunner().invoke(app, ["report", str(where)])
    for path in where.glob("trials/**/*.parquet"):
        path.unlink()

    told = CliRunner().invoke(app, ["report", str(where)])

    assert told.exit_code == 0, told.output
    assert not (where / "report" / "failure.txt").exists()
    assert NEW_IMAGES.title not in (where / "report" / "report.html").read_text()


def test_a_study_of_which_nothing_can_be_derived_has_a_page_that_says_so(tmp_path: Path) -> None:
    """The seconds of its trials are cats, from which no cost can be summed up."""
    directory = StudyDirectory.open(_of().directory(tmp_path / "s"))
    write_views(directory, directory.load_state(), build_tables)
    path = directory.root / "trials.parquet"
    trials = pq.read_table(path)
    cats = pa.array(["tabby"] * trials.num_rows)
    place = trials.column_names.index("seconds")
    pq.write_table(trials.set_column(place, "seconds", cats), path)
    seal = directory.root / SEAL
    sealed = json.loads(seal.read_text())
    sealed["sha256"]["trials"] = hashlib.sha256(path.read_bytes()).hexdigest()
    seal.write_text(json.dumps(sealed))

    told = CliRunner().invoke(app, ["report", str(directory.root)])

    assert told.exit_code == 1, told.output
    page = directory.report_page.read_text()
    assert "All findings: " in page
    assert "TypeError (" in page
    assert "Does pre-training pay?" in page
    assert not (directory.report_page.parent / "findings.json").exists()


def test_a_report_split_without_an_object_has_no_images_to_draw_anew(tmp_path: Path) -> None:
    where = _with_a_foreign_file(tmp_path)
    for path in where.glob("trials/**/*.parquet"):
        pq.write_table(SCHEMA.empty_table(), path)

    told = CliRunner().invoke(app, ["report", str(where)])

    assert told.exit_code == 0, told.output
    shown = CliRunner().invoke(app, ["findings", str(where), "--new-images"])
    assert NEW_IMAGES.title.upper() in shown.output
    assert_says("analysis", "a report split without an object", shown.output)
