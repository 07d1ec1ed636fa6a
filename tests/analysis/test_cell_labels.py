"""Cells in the columns of published tables: what claims must not mix has another label."""

from typing import Any

import pytest

from rethink_ray.analysis.claims_sheet import reported_there
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.read.cell_labels import cell_labels, passes_labels
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.load import find_study, load_study
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.study import Study
from tests.analysis.planted import Planted, build_facts, build_study, noisy

STUDENTS = {
    "scratch_s1": {"set": {"augment.level": "s1"}},
    "scratch_s4": {"set": {"augment.level": "s4"}},
    "pretrained_s1": {"set": {"augment.level": "s1", "init.source": "upstream"}},
    "pretrained_s4": {"set": {"augment.level": "s4", "init.source": "upstream"}},
    "student_s4": {
        "teacher": "scratch_s4",
        "set": {"augment.level": "s4", "labels.kind": "self_training"},
    },
    "continued_s4": {
        "teacher": "scratch_s4",
        "set": {"augment.level": "s4", "labels.kind": "continued"},
    },
}


def _label(study: Study, arm: str, column: str) -> str:
    regime = next(iter(study.regimes))
    labels = cell_labels(study, Cell(regime, arm), build_facts(study))
    return " or ".join(sorted(labels[column]))


DETECTOR = {"init.source": "detector", "init.weights": "upstream_detector"}


@pytest.mark.parametrize(
    ("settings", "column", "label"),
    [
        ({}, "augment", "flip"),
        ({"augment.flip": 0.0}, "augment", "none"),
        ({"augment.level": "s4"}, "augment", "s4"),
        ({"augment.scale": [0.8, 1.2]}, "augment", "s1"),  # what the bundle s1 is made of
        ({"augment.level": "s1", "augment.color": 0.4}, "augment", "s1+color_0.4"),
        ({"augment.short_side_px": [64, 96]}, "augment", "flip+side_64_96"),
        (
            {"augment.policy": "randaugment", "augment.magnitude": 5.0},
            "augment",
            "flip+randaugment_1_5",
        ),
        ({"detector.neck": "nas_fpn"}, "detector", "retinanet+nasfpn"),
        ({"detector.neck": "fpn"}, "detector", "retinanet"),
        ({"detector.family": "our.nets:build"}, "detector", "our.nets:build"),
        ({"detector.family": "our.nets:build"}, "backbone", "its own"),
        ({"detector.family": "our.nets:build"}, "norm", "its own"),
        ({"init.source": "upstream", "init.frozen": "backbone"}, "frozen", "backbone"),
        (
            {"init.source": "upstream", "init.frozen": "backbone", "detector.adapters": 0.25},
            "frozen",
            "backbone+adapters",
        ),
        ({"init.source": "direct", "init.frozen": "heads"}, "frozen", "heads"),
        (
            {"init.source": "direct", "init.frozen": "neck", "init.unfreeze": {"after": 0.5}},
            "frozen",
            "neck+unfrozen",
        ),
        ({"optimizer.backbone_rate": 0.1}, "optimizer.backbone_rate", "0.1"),
        ({"init.source": "upstream"}, "init", "upstream"),
        ({"init.source": "upstream", "upstream.labels": "shuffled"}, "init", "upstream_shuffled"),
        ({"upstream.labels": "shuffled"}, "init", "random"),
        (DETECTOR, "init", "detector"),
        (DETECTOR | {"upstream_detector.labels": "shuffled"}, "init", "detector_shuffled"),
        ({"joint.weight": 1.0}, "method", "supervised+joint"),
        ({"optimizer.ema": {"half_life": 0.2}}, "method", "supervised+ema"),
        ({"labels": {"kind": "imported", "file": "d.json"}}, "method", "imported"),
        ({"init.source": "direct"}, "method", "P1x"),
        ({"init.source": "direct", "direct.passes": 144.0}, "method", "P3x"),
    ],
)
def test_a_setting_has_the_label_that_published_tables_give_it(
    settings: dict[str, Any], column: str, label: str
) -> None:
    study = build_study(arms={"it": {"set": settings}})
    assert _label(study, "it", column) == label


def test_the_full_scale_studies_have_the_labels_that_their_papers_claims_select_by() -> None:
    zoph = load_study(find_study("zoph_2020"))[0]
    assert _label(zoph, "self_training_s1", "method") == "self_training"
    assert _label(zoph, "continued_s4", "method") == "continued"
    assert [_label(zoph, f"scratch_s{n}", "augment") for n in (1, 2, 3, 4)] == [
        *("s1", "s2", "s3", "s4")
    ]
    freezing = load_study(find_study("vasconcelos_2022"))[0]
    assert [_label(freezing, arm, "detector") for arm in ("fpn", "nas_fpn", "cascade")] == [
        *("faster_rcnn+fpn", "faster_rcnn+nasfpn", "faster_rcnn+nasfpn+cascade")
    ]


def test_a_level_that_the_search_tunes_is_all_it_could_be() -> None:
    search = {"augment.level": {"choice": ["s1", "s4"]}}
    assert _label(build_study(search=search), "scratch", "augment") == "s1 or s4"
    more = {**search, "augment.flip": {"uniform": [0.0, 0.9]}}
    assert _label(build_study(search=more), "scratch", "augment") == "tuned"


def test_passes_count_the_first_stage_and_of_a_student_s_batch_the_human_half() -> None:
    arms = {
        "scratch": {},
        "direct": {"set": {"init.source": "direct"}},
        "student": {"teacher": "scratch", "set": {"labels.kind": "self_training"}},
    }
    study = build_study(arms=arms)

    def passes(arm: str) -> set[str]:
        cell = Cell("full", arm)
        labels = passes_labels(base_recipe(study, cell), space_of(study, cell), 6.0, 90)
        return set(labels["passes"])

    # 6x of 60 updates of 8 images: 2,880 of 90 images; 48 passes before that
    assert (passes("scratch"), passes("direct"), passes("student")) == ({"32"}, {"80"}, {"16"})


def _papers(arms: dict[str, Any], score: Any) -> dict[str, ClaimOutcome]:
    budget = {"trials": 2, "keep": [2, 2, 2], "replicates": 5}
    study = build_study(arms=arms, budget=budget)
    found = derive_findings(Planted(study, noisy(score, 0.1, 4)).tables())
    return {o.name: o for o in found.claims.papers}


def test_a_student_is_no_run_from_scratch_and_s1_never_meets_s4() -> None:
    level = {"scratch_s1": 10.0, "pretrained_s1": 13.0, "scratch_s4": 12.0, "pretrained_s4": 11.0}
    level |= {"student_s4": 14.0, "continued_s4": 13.5}
    papers = _papers(STUDENTS, lambda cell, length: level[cell.arm])
    met = [f.arms for f in papers["he_2018/slow-start"].findings]
    assert met == [("scratch_s1", "pretrained_s1"), ("scratch_s4", "pretrained_s4")]
    (falls,) = papers["zoph_2020/augmentation"].findings
    assert (falls.verdict, round(falls.effect.value if falls.effect else 0.0)) == (
        Verdict.SUPPORTED,
        4,  # +3 under s1, -1 under s4
    )
    assert "full: -3.9 AP [" in falls.sentence  # what was measured, not what was claimed
    assert "from s1 to s4 (s1 +2.9, s4 -1.0)" in falls.sentence
    assert "-1.3, 1 of 1 in line" in reported_there()["zoph_2020/augmentation"]
    (hurts,) = papers["zoph_2020/strong-augmentation"].findings
    assert hurts.verdict is Verdict.SUPPORTED
    (helps,) = papers["zoph_2020/self-training"].findings
    assert (helps.arms, helps.verdict) == (("scratch_s4", "student_s4"), Verdict.SUPPORTED)


def test_resolution_in_one_stage_is_followed_while_the_other_stage_stays() -> None:
    direct = {"init.source": "direct", "direct.norm": "gn"}
    low = {"detector.min_side_px": 54, "detector.max_side_px": 54, "direct.resolution": 1.0}
    arms = {
        "direct": {"set": direct},
        "high_first": {"set": {**direct, "direct.resolution": 1.0}},
        "low_second": {"set": {**direct, **low}},
    }
    level = {"direct": 20.0, "high_first": 20.0, "low_second": 15.0}
    papers = _papers(arms, lambda cell, length: level[cell.arm])
    (first,) = papers["li_2021/first-stage-resolution"].findings
    assert first.verdict is Verdict.SUPPORTED  # 54 and 96 px before 96 px: equal
    (second,) = papers["li_2021/second-stage-resolution"].findings
    assert second.verdict is Verdict.SUPPORTED  # 54 px before 54 and before 96 px
