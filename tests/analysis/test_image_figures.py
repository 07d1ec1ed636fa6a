"""The figure of scores by labelled images: which studies have one, and its points."""

import re
from dataclasses import replace

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.show.image_figures import draw_by_images
from tests.analysis.planted import Planted, build_study, noisy

ARMS = {"scratch": {}, "pretrained": {"set": {"init.source": "upstream"}}}


def test_two_sizes_of_regimes_give_one_figure_with_every_arm_and_size() -> None:
    study = build_study(arms=ARMS, regimes={"all": {"images": "all"}, "few": {"images": 40}})
    findings = derive_findings(Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    figures = draw_by_images(findings)
    assert [*figures] == ["the-study-images"]
    words = re.findall(r"<text[^>]*>([^<]+)</text>", figures["the-study-images"])
    assert {"40", "400", "scratch", "pretrained"} <= set(words)


def test_one_size_gives_no_figure() -> None:
    study = build_study(arms=ARMS, regimes={"all": {"images": "all"}})
    findings = derive_findings(Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    assert draw_by_images(findings) == {}


def test_an_arm_without_scores_in_a_regime_is_drawn_where_it_has_some() -> None:
    study = build_study(arms=ARMS, regimes={"all": {"images": "all"}, "few": {"images": 40}})
    findings = derive_findings(Planted(study, noisy(lambda c, n: 10 + n, 0.5, 3)).tables())
    few = findings.answer.of("few")
    scratch_alone = replace(few, arms=tuple(a for a in few.arms if a.arm == "scratch"))
    answer = replace(findings.answer, regimes=(findings.answer.of("all"), scratch_alone))
    assert _num_points(findings) - _num_points(replace(findings, answer=answer)) == 1


def _num_points(findings: Findings) -> int:
    """Points with an interval: each has one vertical bar."""
    svg = draw_by_images(findings)["the-study-images"]
    bars = re.findall(r'<g id="LineCollection_\d+">(.*?)</g>', svg, re.DOTALL)
    return sum(bar.count("<path") for bar in bars)
