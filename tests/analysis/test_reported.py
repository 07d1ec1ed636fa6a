"""What the four papers' own tables say on their claims, as reported."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rethink_ray.analysis.findings import derive_findings
from rethink_ray.analysis.read.published_leads import published_leads
from rethink_ray.analysis.read.published_tables import load_published
from rethink_ray.analysis.show.figures import draw_figures
from rethink_ray.analysis.show.reported import (
    SINGLE_RUNS,
    caveats_of,
    derive_reported,
    reported_json,
    reported_markdown,
    reported_terminal,
)
from rethink_ray.cli import app
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.verdicts import Finding, Verdict
from tests.analysis.planted import Planted, build_study, noisy
from tests.analysis.tables_by_hand import write_table


def _of(table: str, claim: str) -> ClaimOutcome:
    reported = derive_reported(load_published(table))
    return next(o for o in (*reported.tested, *reported.untested) if o.name == claim)


def _value(finding: Finding) -> float:
    assert finding.effect is not None
    return round(finding.effect.value, 6)


def test_on_he_2018_scratch_catches_up_between_5x_and_6x_on_r50_and_4x_and_5x_on_r101() -> None:
    r50, r101 = _of("published:he_2018", "he_2018/catch-up").findings
    assert (r50.bracket, r101.bracket) == ((5.0, 6.0), (4.0, 5.0))
    assert (_value(r50), _value(r101)) == (0.2, 0.5)
    assert r50.sentence == (
        "resnet50, coco_full: caught up between 5x and 6x; +0.2 AP at 6x; in line with the claim."
    )


def test_on_he_2018_scratch_breaks_down_at_3500_and_1000_images_and_not_from_10000_on() -> None:
    broken = _of("published:he_2018", "he_2018/breakdown").findings
    assert [(f.regime, _value(f), f.agrees) for f in broken] == [
        ("coco_3.5k", 6.7, True),
        ("coco_1k", 6.4, True),
        ("coco_1k", 4.5, True),
    ]
    level = _of("published:he_2018", "he_2018/parity").findings
    assert [(f.regime, _value(f), f.agrees) for f in level] == [
        ("coco_35k", 0.0, True),
        ("coco_10k", -0.1, True),
    ]
    (voc,) = _of("published:he_2018", "he_2018/breakdown-voc").findings
    assert (_value(voc), voc.agrees) == (5.1, True)


def test_on_he_2018_scratch_gains_more_in_ap75_than_in_ap50() -> None:
    (found,) = _of("published:he_2018", "he_2018/localisation").findings
    assert (_value(found), found.agrees) == (0.9, True)
    assert "+1.0 AP75, +0.1 AP50" in found.sentence


def test_on_vasconcelos_2022_freezing_hurts_fpn_helps_cascade_and_gains_with_capacity() -> None:
    table = "published:vasconcelos_2022"
    hurts = _of(table, "vasconcelos_2022/freezing-hurts-fpn").findings
    assert [_value(f) for f in hurts] == [6.5, 5.6]
    helps = _of(table, "vasconcelos_2022/freezing-helps-cascade").findings
    assert [_value(f) for f in helps] == [0.7, 1.7, 0.7, 1.7]
    grows = _of(table, "vasconcelos_2022/capacity").findings
    assert [_value(f) for f in grows] == [7.2, 7.3]
    assert all(f.agrees for f in (*hurts, *helps, *grows))


def test_on_vasconcelos_2022_upstream_size_matters_only_when_frozen() -> None:
    table = "published:vasconcelos_2022"
    frozen = _of(table, "vasconcelos_2022/upstream-size-frozen").findings
    tuned = _of(table, "vasconcelos_2022/upstream-size-tuned").findings
    assert [_value(f) for f in frozen] == [1.0, 1.0, 1.1, 1.0]
    assert [_value(f) for f in tuned] == [0.1, 0.1, 0.1, 0.0]
    assert all(f.agrees for f in (*frozen, *tuned))


def test_on_zoph_2020_the_gain_of_pre_training_falls_with_augmentation() -> None:
    (found,) = _of("published:zoph_2020", "zoph_2020/augmentation").findings
    assert found.agrees
    assert "-1.3 AP from s1 to s4 (s1 +0.3, s2 -0.8, s3 -0.7, s4 -1.0)" in found.sentence
    helped = _of("published:zoph_2020", "zoph_2020/self-training").findings
    assert [_value(f) for f in helped] == [1.7, 1.5, 1.5, 1.3]


def test_on_li_2021_direct_is_ahead_and_the_heads_are_named_as_a_caveat() -> None:
    direct = _of("published:li_2021", "li_2021/direct")
    assert [_value(f) for f in direct.findings] == [0.6, 1.9, 1.2, 1.8, 1.2]
    assert all(f.agrees for f in direct.findings)
    noted = "a row is noted: baselines probably have a 2fc head, direct rows 4conv1fc"
    assert noted in caveats_of(direct)
    heads = [any("2fc" in c for c in f.caveats) for f in direct.findings]
    assert heads == [False, True, False, True, False]  # Faster and Mask R-CNN with R50 alone


@pytest.mark.parametrize("stem", ["he_2018", "vasconcelos_2022", "zoph_2020", "li_2021"])
def test_a_reported_number_has_neither_interval_nor_p_value_and_says_so(stem: str) -> None:
    reported = derive_reported(load_published(f"published:{stem}"))
    for outcome in reported.tested:
        for found in outcome.findings:
            assert found.verdict is Verdict.AS_REPORTED
            assert (found.interval, found.p_adjusted, found.needed) == (None, None, None)
            assert not re.search(r"\[[+-]", found.sentence)
    for render in (reported_terminal, reported_markdown):
        assert SINGLE_RUNS in render(reported)
    tree = json.loads(reported_json(reported))
    assert (tree["schema_version"], tree["table"]) == (2, f"published:{stem}")


def test_every_claim_that_a_table_cannot_test_says_why() -> None:
    reported = derive_reported(load_published("published:zoph_2020"))
    why = {o.name: o.untested for o in reported.untested}
    assert why["he_2018/catch-up"] == "fewer than two schedule lengths on both sides"
    assert why["zoph_2020/self-training-adds"].endswith("method self_training")
    assert why["he_2018/breakdown"] == "no regime of 1 to 3500 images"
    assert all(why.values())


def test_a_reader_s_own_table_is_held_against_the_same_claims(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "mine.csv",
        {"init": "random", "schedule": "2x", "value": 20.0},
        {"init": "random", "schedule": "4x", "value": 25.0},
        {"init": "imagenet", "schedule": "2x", "value": 24.0},
        {"init": "imagenet", "schedule": "4x", "value": 24.9},
        {"init": "imagenet", "schedule": "4x", "value": 50.0, "backbone": "resnet101"},
    )
    told = CliRunner().invoke(app, ["findings", "--from", str(path)])
    assert told.exit_code == 0, told.output
    assert (
        "full: caught up between 2x and 4x; +0.1 AP at 4x; in line with the claim." in told.output
    )
    assert "full, 2x: +4.0 AP (24.0 against 20.0); in line with the claim." in told.output
    assert "50.0" not in told.output  # nothing matches its backbone
    assert "too close to call" in told.output  # the best lengths: 24.9 against 25.0


def test_rows_of_two_sources_are_never_compared(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "t.csv", {"init": "random"}, {"init": "imagenet", "source": "theirs"}
    )
    assert not derive_reported(load_published(str(path))).tested


def test_he_2018_s_leads_are_there_for_a_study_on_coco_within_its_lengths_only() -> None:
    """Fine-tuned minus scratch at 6x: -0.2 AP of R50, -0.5 of R101."""
    coco = build_study(data={"dataset": "coco", "root": "nowhere"})
    r50, r101 = published_leads(coco, (2.0, 4.0, 6.0))
    assert r50[0] == "He 2018, resnet50, single runs"
    assert dict(r50[1])[6.0] == pytest.approx(-0.2)
    assert dict(r101[1])[6.0] == pytest.approx(-0.5)
    assert [length for length, _ in published_leads(coco, (2.0, 3.0))[0][1]] == [2.0, 3.0]
    assert published_leads(build_study(), (2.0, 6.0)) == ()


def test_a_study_on_coco_has_them_in_its_figure_of_differences() -> None:
    data = {"dataset": "coco", "root": "nowhere", "select_on": "val", "report_on": "test"}
    planted = Planted(build_study(data=data), noisy(lambda c, n: 10.0 + n, 0.5, 3))
    drawn = draw_figures(derive_findings(planted.tables()))
    assert "He 2018, resnet50, single runs" in drawn["full-differences"]
    assert "He 2018" not in drawn["full-curves"]
