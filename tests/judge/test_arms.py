"""Arms that differ in several things at once are said to, wherever two of them are compared."""

from typing import Any

import pytest

from rethink_ray.analysis.findings import Findings, derive_findings
from rethink_ray.analysis.norm_batches import find_small_norm_batches
from rethink_ray.judge.arms import (
    differ_in_start_alone,
    find_confounded_pairs,
    find_differences,
)
from rethink_ray.spec.load import find_study, load_study
from tests.analysis.planted import Planted, build_study, written

ARMS: dict[str, Any] = {
    "scratch": {},
    "pretrained": {"set": {"init.source": "upstream"}},
    "strong": {"set": {"init.source": "upstream", "augment.level": "s4"}},
}


def _found(**changes: Any) -> Findings:
    study = build_study(arms=ARMS, **changes)
    rows = {(arm, n): [10.0, 10.5, 11.0] for arm in ARMS for n in (2.0, 4.0, 6.0)}
    return derive_findings(Planted(study, written(rows)).tables())


def test_where_an_arm_starts_is_one_thing_however_many_keys_say_it() -> None:
    arms = ARMS | {"frozen": {"set": {"init": {"source": "upstream", "frozen": "backbone"}}}}
    study = build_study(arms=arms)
    assert set(find_differences(study, "full", "scratch", "frozen")) == {"what they start from"}
    assert differ_in_start_alone(study, "full", "scratch", "frozen")
    assert not differ_in_start_alone(study, "full", "scratch", "strong")
    assert not differ_in_start_alone(study, "full", "scratch", "scratch")


def test_pre_training_is_not_said_to_pay_by_an_arm_that_is_augmented_otherwise() -> None:
    claims = [f.claim for f in _found().findings if f.family == "primary"]
    assert claims == [
        "pre-training pays on full at 6x: pretrained ends above scratch",
        "on full at 6x, strong ends above scratch",
    ]


def test_a_difference_of_two_things_at_once_has_its_caveat_beside_it() -> None:
    findings = _found()
    plain, mixed = (f for f in findings.findings if f.family == "primary")
    assert not any(key.startswith("confounded") for key in plain.caveats)
    assert findings.cautions_of(mixed) == (
        "full: strong and scratch differ in what they start from and augment.level at once, and "
        "so their difference is of all of these together.",
    )
    touched = {f.kind for f in findings.findings if "confounded:full/strong-scratch" in f.caveats}
    assert touched == {"arms", "catch_up"}  # how long one arm needs is its own affair


def test_a_detector_with_fixed_batch_norms_beside_group_norm_has_its_caveats() -> None:
    """Its weights fix its norm, so scratch differs from it in two things; few images in a third."""
    name = "RetinaNet_ResNet50_FPN_Weights.COCO_V1"
    whole = {"init.source": "detector", "init.weights": name, "detector.backbone": "resnet50"}
    resnet = {"detector.backbone": "resnet50", "batch_size": 8}
    arms: dict[str, Any] = {
        "scratch": {"set": resnet | {"detector.norm": "gn"}},
        "frozen": {"set": resnet | whole | {"detector.norm": "frozen_bn"}},
        "moving": {"set": resnet | whole | {"detector.norm": "bn"}},
    }
    study = build_study(arms=arms)
    texts = {caveat.key: caveat.text for caveat in find_confounded_pairs(study)}
    assert (
        "differ in detector.norm and what they start from"
        in (texts["confounded:full/frozen-scratch"])
    )
    (caveat,) = find_small_norm_batches(study)
    assert caveat.key == "small-norm-batch:full/moving"
    assert "takes its statistics from 8 images at a time" in caveat.text


@pytest.mark.parametrize(("upstream", "has_caveat"), [(8, False), (16, True)])
def test_an_upstream_detectors_batch_norms_saw_batches_of_a_known_size(
    upstream: int, has_caveat: bool
) -> None:
    detector = {"init.source": "detector", "init.weights": "upstream_detector"}
    norm = {"detector.norm": "bn", "batch_size": 8, "upstream_detector.batch_size": upstream}
    study = build_study(arms={"moving": {"set": detector | norm}})
    assert bool([*find_small_norm_batches(study)]) == has_caveat


def test_what_an_own_claim_s_sides_differ_in_stands_right_under_it() -> None:
    own = {
        "says": "strong augmentation ends ahead",
        "side": {"arm": "strong"},
        "against": {"arm": "scratch"},
        "where": {"metric": "ap"},
        "match": ["regime"],
        "primary": True,
    }
    findings = _found(claims={"mine": own})
    (claim,) = [f for f in findings.findings if f.kind == "claim"]
    (told,) = findings.cautions_of(claim)
    assert told.endswith("the two sides differ in augment.level as well.")


def test_an_own_claim_counts_no_first_stage_and_no_other_lengths_as_a_second_difference() -> None:
    longer = {"init.source": "direct", "direct.passes": 4, "schedule.lengths": [2, 4, 6, 8]}
    arms = {"scratch": {}, "direct": {"set": longer}}
    own = {"says": "it ends ahead", "side": {"arm": "direct"}, "against": {"arm": "scratch"}}
    study = build_study(arms=arms, claims={"mine": own}, budget={"trials": 1, "replicates": 3})
    rows = {(arm, n): [10.0, 10.5, 11.0] for arm in arms for n in (2.0, 4.0, 6.0, 8.0)}
    findings = derive_findings(Planted(study, written(rows)).tables())
    (claim,) = [f for f in findings.findings if f.kind == "claim"]
    assert claim.effect is not None
    assert not any(key.startswith("claim:") for key in claim.caveats)
    assert not any(key.startswith("confounded") for key in findings.caveats_by_key)


@pytest.mark.parametrize("name", ["shapes_demo", "he_mini", "bccd", "quickstart"])
def test_the_demonstrations_compare_arms_that_differ_in_their_start_alone(name: str) -> None:
    study = load_study(find_study(name))[0]
    first, *others = (arm for arm in study.arms if arm != "scratch_again")
    for regime in study.regimes:
        assert all(differ_in_start_alone(study, regime, first, other) for other in others)
