"""Studies that stop when they have decided: what findings, answer, report and compare say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.analysis.compare import compare_sources, read_source
from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.power import plan_power, power_lines
from rethink_ray.analysis.show.compare_words import comparisons_terminal
from rethink_ray.analysis.show.render import as_json_text, as_markdown, as_terminal
from rethink_ray.analysis.show.report import as_html
from rethink_ray.commands.status import status_lines
from rethink_ray.judge.power import Simulation
from rethink_ray.judge.rules import rule_of
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.looks import DueLook
from rethink_ray.protocol.remaining import progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import LookTaken
from rethink_ray.search.looks import judge_look
from tests.analysis.planted import Planted, build_facts, written
from tests.judge.sequential import ARMS, build_sequential_study

SPREAD = (-0.5, 0.0, 0.5, -0.5, 0.5, -0.4, 0.4, -0.5, 0.5)
WIDE = (-1.2, 0.0, 1.2, -1.2, 1.2, -1.2, 1.2, -1.2, 1.2)
HEADLINE = "full/pretrained-vs-scratch@6x"


def rows(**means: tuple[float, tuple[float, ...]]) -> dict[tuple[str, float], list[float]]:
    """Scores of nine replicates of each arm, the same at all lengths."""
    return {
        (arm, length): [mean + step for step in spread]
        for arm, (mean, spread) in means.items()
        for length in (2.0, 4.0, 6.0)
    }


def stopped(num_looks: int, **means: tuple[float, tuple[float, ...]]) -> Planted:
    """A study with nine replicates of each arm, of which the first looks were taken."""
    study = build_sequential_study(arms={name: ARMS[name] for name in means})
    planted = Planted(study, written(rows(**means)))
    looks: list[LookTaken] = []
    for number in range(num_looks):
        view = StudyView(study, StudyState([*planted.events(), *looks]), planted.facts)
        looks.append(judge_look(view, DueLook(number=number, replicates=3 + 2 * number)))
    planted.looks = looks
    return planted


@pytest.fixture(scope="module")
def ended() -> Planted:
    """Pre-training leads by ten points; a frozen backbone changes nothing that one could see."""
    means = {"scratch": (20.0, WIDE), "pretrained": (30.0, SPREAD), "frozen": (20.3, WIDE)}
    return stopped(4, **means)


@pytest.fixture(scope="module")
def decided(ended: Planted) -> Findings:
    return derive_findings(ended.tables())


def status_of(planted: Planted, root: Path) -> str:
    directory = StudyDirectory.open(planted.directory(root))
    progress = progress_of(directory.study, directory.load_state())
    return "\n".join(status_lines(directory, progress))


def finding(findings: Findings, key: str) -> Any:
    return next(f for f in findings.findings if f.key == key)


def test_the_recorded_look_says_what_the_findings_say(ended: Planted, decided: Findings) -> None:
    looks = ended.looks
    lead, level = looks[-1].comparisons
    headline, other = (f for f in decided.findings if f.family == "primary")
    assert (lead.verdict, headline.verdict) == ("supported", Verdict.SUPPORTED)
    assert lead.p_value == headline.p_adjusted
    assert headline.stop is not None
    assert lead.stopped_at == headline.stop.number
    assert (level.verdict, other.verdict) == ("futile", Verdict.INCONCLUSIVE)
    assert looks[-1].running == ()


def test_findings_answer_and_report_say_where_comparisons_stopped(decided: Findings) -> None:
    headline = finding(decided, HEADLINE)
    at = headline.stop.number
    assert f"stopped at {at} of 9 replicates: decided" in headline.sentence
    paragraph = decided.answer.of("full").paragraph
    ends = f"pretrained with scratch at 6x stopped at {at} of 9 replicates: decided."
    assert f"The comparison of {ends}" in paragraph
    assert "9 could not decide it" in paragraph
    recommended = decided.answer.of("full").recommended
    assert recommended is not None
    assert recommended.before_last_look == ("and for a stop before the last look" in paragraph)
    for printed in (as_terminal(decided), as_markdown(decided), as_html(decided, {}, "x")):
        assert "9 could not decide it" in printed
        assert "corrected estimate" in printed
    assert decided.answer.next is None


def test_json_tells_the_three_statements_apart_and_other_findings_have_no_stop(
    decided: Findings,
) -> None:
    tree = json.loads(as_json_text(decided))
    assert tree["family"]["correction"] == "sequential"
    by_key = {one["key"]: one for one in tree["findings"]}
    stop = by_key[HEADLINE]["stop"]
    assert {"family_interval", "unbiased", "later", "number", "most", "verdict", "more"} == set(
        stop
    )
    assert stop["later"]["replicates"] == [9, 9]
    assert [key for key, one in by_key.items() if "stop" in one] == [
        f.key for f in decided.findings if f.family == "primary"
    ]
    assert by_key[HEADLINE]["p"] <= by_key[HEADLINE]["p_adjusted"] < 0.05


def test_a_caveat_says_what_no_look_plans(decided: Findings) -> None:
    (caveat,) = (c for c in decided.caveats if c.key == "unplanned")
    assert "other lengths" in caveat.text
    assert "twins" in caveat.text


def test_a_look_that_this_version_decides_otherwise_is_a_caveat() -> None:
    planted = stopped(1, scratch=(20.0, SPREAD), pretrained=(30.0, SPREAD))
    assert not [c for c in derive_findings(planted.tables()).caveats if c.key == "changed-looks"]
    (look,) = planted.looks
    states = tuple(replace(one, verdict="open", stopped_at=None) for one in look.comparisons)
    planted.looks = [replace(look, comparisons=states)]
    (caveat,) = (c for c in derive_findings(planted.tables()).caveats if c.key == "changed-looks")
    assert "on full, pretrained ends above scratch" in caveat.text


def test_a_study_between_two_looks_says_how_many_more_would_decide() -> None:
    findings = derive_findings(
        stopped(1, scratch=(20.0, SPREAD), pretrained=(21.2, SPREAD)).tables()
    )
    headline = finding(findings, HEADLINE)
    assert headline.verdict is Verdict.INCONCLUSIVE
    more = headline.stop.more
    assert f"after 3 of 9 replicates, {more} more would decide with 80 %" in headline.sentence
    assert f"{more} more would decide with 80 %" in findings.answer.of("full").paragraph


def test_status_findings_and_answer_say_alike_how_each_comparison_stopped(
    ended: Planted, decided: Findings, tmp_path: Path
) -> None:
    lead, level = (f for f in decided.findings if f.family == "primary")
    assert lead.stop is not None
    assert level.stop is not None
    sentences = (
        f"stopped at {lead.stop.number} of 9 replicates: decided",
        f"stopped at {level.stop.number} of 9 replicates: 9 could not decide it",
    )
    status, paragraph = status_of(ended, tmp_path / "s"), decided.answer.of("full").paragraph
    for finding_of, sentence in zip((lead, level), sentences, strict=True):
        assert sentence in finding_of.sentence
        assert sentence in paragraph
        assert sentence in status
    between = stopped(1, scratch=(20.0, SPREAD), pretrained=(21.2, SPREAD))
    (more,) = (one.more for one in between.looks[0].comparisons)
    said = f"after 3 of 9 replicates, {more} more would decide with 80 %"
    assert said in status_of(between, tmp_path / "t")


def test_compare_names_the_study_whose_intervals_allow_for_no_look(tmp_path: Any) -> None:
    roots = []
    for name in ("one", "other"):
        planted = stopped(1, scratch=(20.0, SPREAD), pretrained=(30.0, SPREAD))
        roots.append(str(planted.directory(tmp_path / name).resolve()))
    compared = compare_sources([read_source(root) for root in roots])
    assert "replicates were added until comparisons were decided" in comparisons_terminal(compared)


def test_power_of_a_study_with_looks_is_that_of_its_last_look_and_a_little_less() -> None:
    arms = {name: ARMS[name] for name in ("scratch", "pretrained")}
    study = build_sequential_study(arms=arms)
    powers = plan_power(study, build_facts(study), 1.0)
    assert 0.03 < powers[0].level < 0.05
    at_once = Simulation(noise=1.0, seed=0).find_smallest(2, 9, rule_of("above", 0.5))
    assert at_once < powers[0].smallest < 1.2 * at_once
    assert "looks at 3, 5, 7 and 9 replicates" in "\n".join(power_lines(powers, 1.0, study))
