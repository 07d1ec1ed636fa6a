"""Every claim of the papers: planted so it is supported, turned round so it is contradicted.

A case says what each arm scores at 2x, 4x and 6x (or at all lengths). Five replicates, noise of
0.05 AP, so a difference of 3 is far beyond doubt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from rethink_ray.analysis.claims_sheet import claims_sheet
from rethink_ray.analysis.findings import derive_findings
from rethink_ray.judge.claims import ClaimOutcome
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import paper_claims
from rethink_ray.spec.resolve import Cell
from tests.analysis.planted import Planted, build_study, noisy

Amount = float | Sequence[float]
"""At every length, or length by length."""
Says = Mapping[str, Amount | Mapping[str, Amount]]
"""Arm, or regime/arm -> its AP; or metric -> amount."""
FIVE = {"trials": 1, "keep": [1, 1, 1], "replicates": 5}
PRICES = frozenset({"step_gflops", "trained_share", "peak_gb", "step_ms"})
"""Amounts of a trial; the others stand in its metrics."""

UPSTREAM = {"init.source": "upstream"}
FROZEN = {**UPSTREAM, "init.frozen": "backbone"}
LARGER = {"init": "larger_upstream"}
DIRECT = {"init.source": "direct", "direct.norm": "gn"}
NAS = {"detector.neck": "nas_fpn", "detector.neck_repeats": 1}
CASCADE = {**NAS, "detector.family": "cascade_rcnn"}
S1, S4 = {"augment.level": "s1"}, {"augment.level": "s4"}


def _arms(**settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"arms": {name: {"set": dict(changes)} for name, changes in settings.items()}}


def _student(teacher: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {"teacher": teacher, "set": {"labels.kind": kind, **settings}}


PLAIN = _arms(scratch={}, pretrained=UPSTREAM)
THREE = _arms(scratch={}, tuned=UPSTREAM, frozen=FROZEN)
SIZES = {
    "arms": {
        "tuned": {"set": UPSTREAM},
        "tuned_larger": {"set": {**UPSTREAM, "upstream.images": 9000}, "stands_for": LARGER},
        "frozen": {"set": FROZEN},
        "frozen_larger": {"set": {**FROZEN, "upstream.images": 9000}, "stands_for": LARGER},
    }
}
LEVELS = _arms(
    scratch_s1=S1, scratch_s4=S4, pretrained_s1={**UPSTREAM, **S1}, pretrained_s4={**UPSTREAM, **S4}
)
STUDENTS = {
    "arms": {
        "scratch": {},
        "pretrained": {"set": UPSTREAM},
        "student": _student("scratch", "self_training"),
        "pretrained_student": _student("pretrained", "self_training", **UPSTREAM),
        "continued": _student("scratch", "continued"),
    }
}
TWO_STAGES = {"recipe": "tiny_faster_rcnn"}
FPN = {**TWO_STAGES, **_arms(tuned=UPSTREAM, frozen=FROZEN)}
CASCADES = {
    **TWO_STAGES,
    **_arms(scratch=CASCADE, tuned={**CASCADE, **UPSTREAM}, frozen={**CASCADE, **FROZEN}),
}
CAPACITY = {
    **TWO_STAGES,
    **_arms(
        fpn=UPSTREAM,
        fpn_frozen=FROZEN,
        nas={**NAS, **UPSTREAM},
        nas_frozen={**NAS, **FROZEN},
        cascade={**CASCADE, **UPSTREAM},
        cascade_frozen={**CASCADE, **FROZEN},
    ),
}
SOME = {"regimes": {"some": {"images": 20000}}}
EQUAL_PASSES = {
    "arms": {
        # 6x of 60 updates of 8 images are 7.2 passes over 400; 3.6 more before them
        "direct": {"set": {**DIRECT, "direct.passes": 3.6, "direct.warmup": 5}},
        "classifier": {"set": {**UPSTREAM, "schedule.lengths": [5, 7, 9]}},
    }
}
DETECTOR = {"init.source": "detector", "init.weights": "upstream_detector"}
SCENES = {
    "dataset": "shapes",
    "select_on": "val",
    "report_on": "test",
    "upstream_detection": {"dataset": "shapes", "shapes": {"figures": "glyphs", "train": 2000}},
}
STARTS = {
    "data": SCENES,
    **_arms(
        scratch={},
        classifier=UPSTREAM,
        detector=DETECTOR,
        last_layers={**DETECTOR, "init.frozen": "heads"},
    ),
}
MODERATE = {**STARTS, "settings": {"detector.backbone": "resnet18"}}
VOC = {
    "data": {"dataset": "voc", "root": "nowhere", "select_on": "val", "report_on": "test"},
    "regimes": {"full": {"images": 15000}},
}


@dataclass(frozen=True)
class Case:
    """A study, and what its arms score where the claim holds and where its opposite does."""

    study: Mapping[str, Any]
    true: Says
    false: Says
    asset_seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _two(study: Mapping[str, Any], better: str, worse: str, metric: str = "ap") -> Case:
    """One arm ahead, then the other, by 3 points; costs by a quarter."""
    high, low = (23.0, 20.0) if "ap" in metric else (15.0, 20.0)
    return Case(
        study=study,
        true={better: {metric: high}, worse: {metric: low}},
        false={better: {metric: low}, worse: {metric: high}},
    )


CASES: dict[str, Case] = {
    "he_2018/catch-up": Case(
        PLAIN,
        {"scratch": [10, 14, 20], "pretrained": [16, 18, 20]},
        {"scratch": [10, 14, 16], "pretrained": [16, 18, 20]},
    ),
    "he_2018/catch-up-best": Case(
        PLAIN,
        {"scratch": [10, 14, 20], "pretrained": [16, 20, 18]},
        {"scratch": [10, 14, 18], "pretrained": [16, 20, 18]},
    ),
    "he_2018/slow-start": Case(
        PLAIN,
        {"scratch": [10, 14, 20], "pretrained": [16, 18, 20]},
        {"scratch": [16, 18, 20], "pretrained": [10, 14, 20]},
    ),
    "he_2018/breakdown": _two(PLAIN, "pretrained", "scratch"),
    "he_2018/breakdown-voc": _two({**PLAIN, **VOC}, "pretrained", "scratch", "voc_ap50"),
    "he_2018/parity": Case(
        {**PLAIN, **SOME}, {"scratch": 20, "pretrained": 20}, {"scratch": 17, "pretrained": 20}
    ),
    "he_2018/localisation": Case(
        PLAIN,
        {"scratch": {"ap75": 23, "ap50": 30}, "pretrained": {"ap75": 20, "ap50": 30}},
        {"scratch": {"ap75": 20, "ap50": 33}, "pretrained": {"ap75": 20, "ap50": 30}},
    ),
    "he_2018/norm": _two(_arms(gn={}, bn={"detector.norm": "bn"}), "gn", "bn"),
    "he_2018/norm-kinds": Case(
        _arms(gn={}, sync={"detector.norm": "sync_bn"}),
        {"gn": 20, "sync": 20},
        {"gn": 23, "sync": 20},
    ),
    "he_2018/low-rate-overfits": _two(
        _arms(short={}, long={"schedule.decay.before_end": [1.0, 0.13]}), "short", "long"
    ),
    "li_2019/above-classifier": _two(STARTS, "detector", "classifier"),
    "li_2019/localisation": Case(
        STARTS,
        {"detector": {"ap75": 23, "ap50": 30}, "classifier": {"ap75": 20, "ap50": 30}},
        {"detector": {"ap75": 20, "ap50": 33}, "classifier": {"ap75": 20, "ap50": 30}},
    ),
    "wang_2020/last-layers": _two(STARTS, "last_layers", "detector"),
    "zoph_2020/augmentation": Case(
        LEVELS,
        {"scratch_s1": 10, "pretrained_s1": 13, "scratch_s4": 12, "pretrained_s4": 11},
        {"scratch_s1": 10, "pretrained_s1": 9, "scratch_s4": 12, "pretrained_s4": 15},
    ),
    "zoph_2020/strong-augmentation": Case(
        LEVELS,
        {"scratch_s1": 10, "pretrained_s1": 13, "scratch_s4": 12, "pretrained_s4": 11},
        {"scratch_s1": 10, "pretrained_s1": 13, "scratch_s4": 12, "pretrained_s4": 13},
    ),
    "zoph_2020/labels": Case(
        {**PLAIN, "regimes": {"full": {"images": "all"}, "small": {"images": 60}}},
        {"full/scratch": 20, "full/pretrained": 21, "small/scratch": 9, "small/pretrained": 15},
        {"full/scratch": 20, "full/pretrained": 26, "small/scratch": 9, "small/pretrained": 10},
    ),
    "zoph_2020/self-training": _two(STUDENTS, "student", "scratch"),
    "zoph_2020/self-training-adds": _two(STUDENTS, "pretrained_student", "pretrained"),
    "zoph_2020/beyond-more-updates": _two(STUDENTS, "student", "continued"),
    "zoph_2020/joint-training": _two(
        _arms(scratch={}, joint={"joint.weight": 1.0}), "joint", "scratch"
    ),
    "zoph_2020/self-supervised": _two(
        {
            "arms": {
                "scratch": {"set": S4},
                "simclr": {
                    "set": {**UPSTREAM, **S4},
                    "stands_for": {"init": "self_supervised"},
                },
            }
        },
        "scratch",
        "simclr",
    ),
    "li_2021/direct": _two(_arms(classifier=UPSTREAM, direct=DIRECT), "direct", "classifier"),
    "li_2021/direct-equal-passes": _two(EQUAL_PASSES, "direct", "classifier"),
    "li_2021/longer-first-stage": _two(
        _arms(p1x=DIRECT, p3x={**DIRECT, "direct.passes": 144.0}), "p3x", "p1x"
    ),
    "li_2021/first-stage-resolution": Case(
        _arms(low=DIRECT, high={**DIRECT, "direct.resolution": 1.0}),
        {"low": 20, "high": 20},
        {"low": 20, "high": 23},
    ),
    "li_2021/second-stage-resolution": _two(
        _arms(
            high=DIRECT,
            low={
                **DIRECT,
                "detector.min_side_px": 54,
                "detector.max_side_px": 54,
                "direct.resolution": 1.0,
            },
        ),
        "high",
        "low",
    ),
    "li_2021/cost": Case(
        _arms(classifier=UPSTREAM, direct=DIRECT),
        {"classifier": 20, "direct": 20},
        {"classifier": 20, "direct": 20},
        {"true": {"classifier": 1100, "direct": 100}, "false": {"classifier": 50, "direct": 100}},
    ),
    "vasconcelos_2022/freezing-hurts-fpn": _two(FPN, "tuned", "frozen"),
    "vasconcelos_2022/freezing-helps-cascade": _two(CASCADES, "frozen", "tuned"),
    "vasconcelos_2022/capacity": Case(
        CAPACITY,
        {
            **{"fpn": 20, "nas": 22, "cascade": 24},
            **{"fpn_frozen": 14, "nas_frozen": 22, "cascade_frozen": 26},
        },
        {
            **{"fpn": 20, "nas": 22, "cascade": 24},
            **{"fpn_frozen": 21, "nas_frozen": 20, "cascade_frozen": 18},
        },
    ),
    "vasconcelos_2022/freezing-beats-scratch": _two(CASCADES, "frozen", "scratch"),
    "vasconcelos_2022/upstream-size-frozen": _two(SIZES, "frozen_larger", "frozen"),
    "vasconcelos_2022/upstream-size-tuned": Case(
        SIZES, {"tuned": 20, "tuned_larger": 20}, {"tuned": 20, "tuned_larger": 23}
    ),
    "vasconcelos_2022/long-training-erases": Case(
        SIZES,
        {"tuned": [10, 15, 20], "tuned_larger": [13, 17, 20]},
        {"tuned": [10, 15, 20], "tuned_larger": [10, 17, 23]},
    ),
    "vasconcelos_2022/frozen-keeps": Case(
        SIZES,
        {"frozen": [10, 15, 20], "frozen_larger": [13, 18, 23]},
        {"frozen": [10, 15, 20], "frozen_larger": [13, 17, 20]},
    ),
    "vasconcelos_2022/long-training-erases-the-lead": Case(
        THREE,
        {"scratch": [10, 15, 20], "tuned": [16, 18, 20]},
        {"scratch": [10, 15, 20], "tuned": [12, 19, 26]},
    ),
    "vasconcelos_2022/frozen-keeps-the-lead": Case(
        THREE,
        {"scratch": [10, 15, 20], "frozen": [13, 18, 23]},
        {"scratch": [10, 15, 20], "frozen": [13, 16, 17]},
    ),
    "vasconcelos_2022/drift": Case(
        THREE,
        {"tuned": {"backbone_drift": [0.1, 0.2, 0.3]}},
        {"tuned": {"backbone_drift": [0.3, 0.2, 0.1]}},
    ),
    "vasconcelos_2022/object-size": Case(
        THREE,
        {"frozen": {"ap_l": 33, "ap_s": 10}, "tuned": {"ap_l": 30, "ap_s": 10}},
        {"frozen": {"ap_l": 30, "ap_s": 13}, "tuned": {"ap_l": 30, "ap_s": 10}},
    ),
    "vasconcelos_2022/class-frequency": Case(
        THREE,
        {"frozen": {"ap_rare": 13, "ap_frequent": 30}, "tuned": {"ap_rare": 9, "ap_frequent": 30}},
        {"frozen": {"ap_rare": 9, "ap_frequent": 33}, "tuned": {"ap_rare": 9, "ap_frequent": 30}},
    ),
    "vasconcelos_2022/adapters": _two(
        _arms(frozen=FROZEN, adapters={**FROZEN, "detector.adapters": 0.25}), "adapters", "frozen"
    ),
    "vasconcelos_2022/cost-operations": _two(THREE, "frozen", "tuned", "step_gflops"),
    "vasconcelos_2022/cost-parameters": _two(THREE, "frozen", "tuned", "trained_share"),
    "vasconcelos_2022/cost-memory": _two(THREE, "frozen", "tuned", "peak_gb"),
    "vasconcelos_2022/cost": _two(THREE, "frozen", "tuned", "step_ms"),
    "lee_2022/fine-tuning": Case(
        STARTS, {"detector": 20, "last_layers": 20}, {"detector": 20, "last_layers": 23}
    ),
    "muralidharan_2025/moderate-size": Case(
        MODERATE,
        {"detector": 23, "classifier": 20, "scratch": 20},
        {"detector": 17, "classifier": 20, "scratch": 20},
    ),
    "muralidharan_2025/low-capacity": Case(
        STARTS, {"scratch": 20, "detector": 20}, {"scratch": 17, "detector": 20}
    ),
}


def _amount(says: Says, cell: Cell, length: float, metric: str, otherwise: float) -> float:
    said = says.get(cell.name, says.get(cell.arm, otherwise))
    if isinstance(said, Mapping):
        said = said.get(metric, otherwise)
    elif metric != "ap":
        said = otherwise
    lengths = (2.0, 4.0, 6.0)
    return float(said[lengths.index(length)] if isinstance(said, Sequence) else said)


def _held(name: str, case: Case, says: Says, took: Mapping[str, float]) -> ClaimOutcome:
    """What a study in which arms score so says on one claim."""
    beside = {metric for said in says.values() if isinstance(said, Mapping) for metric in said}

    def metrics(cell: Cell, length: float, number: int) -> dict[str, float]:
        wanted = beside - PRICES - {"ap"}
        room = {m: "train" if m == "backbone_drift" else "test" for m in wanted}
        wobble = 0.001 * (number % 3)
        return {
            f"{room[m]}/{m}": _amount(says, cell, length, m, 0.0) + wobble for m in sorted(wanted)
        }

    def price(cell: Cell) -> dict[str, Any]:
        return {
            "step_flops": 1e9 * _amount(says, cell, 6.0, "step_gflops", 20.0),
            "trained_share": _amount(says, cell, 6.0, "trained_share", 20.0) / 100.0,
            "peak_memory_bytes": int(1e9 * _amount(says, cell, 6.0, "peak_gb", 20.0)),
            "peak_memory_of": "gpu",
            "seconds_train": 0.06 * _amount(says, cell, 6.0, "step_ms", 20.0),
        }

    def truth(cell: Cell, length: float) -> float:
        return _amount(says, cell, length, "ap", 20.0)

    study = build_study(**{"budget": FIVE, **case.study})
    planted = Planted(
        study, noisy(truth, 0.05, 7), metrics=metrics, price=price, asset_seconds=took
    )
    papers = derive_findings(planted.tables()).claims.papers
    return next(outcome for outcome in papers if outcome.name == name)


def test_every_claim_has_a_case() -> None:
    assert list(CASES) == sorted(CASES, key=list(paper_claims()).index)
    assert CASES.keys() == paper_claims().keys()


@pytest.mark.parametrize("name", CASES)
def test_a_claim_is_supported_where_it_was_planted_and_contradicted_where_its_opposite_was(
    name: str,
) -> None:
    case = CASES[name]
    for side, wanted in (("true", Verdict.SUPPORTED), ("false", Verdict.CONTRADICTED)):
        says = case.true if side == "true" else case.false
        found = _held(name, case, says, case.asset_seconds.get(side, {}))
        assert found.findings, found.untested
        assert {f.verdict for f in found.findings} == {wanted}, [f.sentence for f in found.findings]
        assert all(f.evidence for f in found.findings)


def test_the_sheet_names_the_paper_of_every_claim_on_whole_detectors() -> None:
    study = build_study(**{"budget": FIVE, **STARTS})
    planted = Planted(study, noisy(lambda cell, length: 20.0, 0.05, 7))
    sheet = claims_sheet(derive_findings(planted.tables()).claims, study)
    reported = {str(row[0]).partition(":")[0]: row[-1] for row in sheet.rows}
    for paper in ("Li 2019", "Wang 2020", "Lee 2022", "Muralidharan 2025"):
        assert reported[paper] == "no table of it ships"


def test_with_one_arm_from_random_weights_no_claim_is_tested_and_each_says_why() -> None:
    study = build_study(arms={"scratch": {}}, budget=FIVE)
    planted = Planted(study, noisy(lambda cell, length: 20.0, 0.05, 7))
    papers = derive_findings(planted.tables()).claims.papers
    assert [o.name for o in papers if o.findings] == []
    assert all(o.untested for o in papers)


def test_a_cost_is_told_as_a_multiple_with_its_interval() -> None:
    case = CASES["vasconcelos_2022/cost-operations"]
    (found,) = _held("vasconcelos_2022/cost-operations", case, case.true, {}).findings
    assert "0.75 times (15 against 20 GFLOP an update)" in found.sentence
    assert found.ratio == (pytest.approx(0.75), (pytest.approx(0.75), pytest.approx(0.75)))


def test_the_memory_of_a_whole_process_tests_no_claim() -> None:
    planted = Planted(
        build_study(**{"budget": FIVE, **THREE}),
        noisy(lambda cell, length: 20.0, 0.05, 7),
        price=lambda cell: {"peak_memory_bytes": 10**9, "peak_memory_of": "process"},
    )
    papers = derive_findings(planted.tables()).claims.papers
    memory = next(o for o in papers if o.name == "vasconcelos_2022/cost-memory")
    assert memory.untested == "no row with metric peak_gb"
