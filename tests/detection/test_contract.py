"""What every detector keeps, whatever its family, norm, neck and start."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from rethink_ray.detection.classifier import build_classifier
from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.drift import BackboneStart, record_origin
from rethink_ray.detection.learned_detectors import (
    LearnedDetector,
    OutputNames,
    start_from_learned,
)
from rethink_ray.detection.staged_backbone import Tokens
from rethink_ray.detection.whole import load_whole_detector
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.direct import direct_recipe
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import DetectorSpec, Family, InitSpec, Neck, Norm, Recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.training.effective import read_detector, require_recipe_values
from rethink_ray.training.effective_backbone import read_backbone, starts_at_zero
from rethink_ray.training.effective_norms import read_norms
from rethink_ray.training.effective_optimizer import frozen_of
from rethink_ray.training.optimizer import build_optimizer, set_rate
from tests.detection.tiny_detectors import mixed_pictures, snapshot, tiny, total, update

FAMILIES, NORMS = get_args(Family), get_args(Norm)
NECKS = tuple(neck for neck in get_args(Neck) if neck != "simple")
"""``simple`` is the neck of plain ViTs alone: ``VIT_COMBINATIONS``."""
UPSTREAM: dict[str, object] = {"init.source": "upstream"}
NOTHING: Mapping[str, object] = {}
STARTS: dict[str, dict[str, object]] = {
    "random": {},
    "shortcuts": {"init.zero_init_residual": True},
    "file": {"init.source": "file", "init.weights": "classifier.pt", "init.input": "imagenet"},
    "upstream": UPSTREAM,
    "layer1": UPSTREAM | {"init.frozen": "layer1"},
    "backbone": UPSTREAM | {"init.frozen": "backbone"},
    "adapters": UPSTREAM | {"init.frozen": "backbone", "detector.adapters": 0.25},
    "direct": {"init.source": "direct"},
    "neck": {"init.source": "direct", "init.frozen": "neck"},
    "heads": {"init.source": "direct", "init.frozen": "heads"},
    "unfrozen": UPSTREAM
    | {"init.frozen": "backbone", "init.unfreeze": {"after": 0.5}}
    | {"optimizer.backbone_rate": 0.5, "optimizer.layer_decay": 0.25},
    "detector": {
        "init.source": "detector",
        "init.weights": "detector.pt",
        "init.input": "imagenet",
        "init.frozen": "layer1",
    },
}
"""Where the weights come from, which of them never move, and which move slowly."""
LAST_LAYERS = (
    *(".cls_logits.", ".bbox_reg.", ".bbox_ctrness.", ".cls_score.", ".bbox_pred."),
    *(".mask_fcn_logits.", ".kps_score_lowres."),
)
RATES = {"layer4": 1 / 8, "layer3": 1 / 32, "layer2": 1 / 128, "layer1": 1 / 512, "stem": 1 / 2048}
"""Half of a quarter, of a quarter of that, and so on down to the pixels."""
REFUSED = {
    "must be trainable on random weights": "Use gn, bn or sync_bn",
    "must have a norm that learns under detector.neck": "Use gn, bn or sync_bn",
}
"""What must hold, and the remedy: all reasons why a combination means nothing."""
Combination = tuple[Family, Norm, Neck, str]
EVERY: list[Combination] = list(itertools.product(FAMILIES, NORMS, NECKS, STARTS))


def recipe_of(combination: Combination, above: Mapping[str, object] = NOTHING) -> Recipe:
    family, norm, neck, start = combination
    counts: dict[str, object] = {"neck": neck, "max_side_px": 96}
    if neck == "simple":
        counts |= {"backbone": "timm:test_vit"}
    elif neck != "fpn":
        counts |= {"neck_repeats": 1}
    spec = tiny(family, norm, **counts)
    trained_with = "gn" if norm == "gn" else "bn"
    settings = STARTS[start] | {"direct.norm": trained_with}
    if start in ("file", "detector"):
        settings |= {"init.weights_norm": trained_with}
    return with_settings(Recipe(detector=spec), settings | dict(above), "contract")


def refusal(combination: Combination, above: Mapping[str, object] = NOTHING) -> str:
    """The error, or nothing for a combination that means something."""
    try:
        check_recipe(recipe_of(combination, above), "contract")
    except SpecError as error:
        return str(error)
    return ""


VIT_STARTS = (
    *("random", "file", "upstream", "layer1", "backbone", "adapters", "direct"),
    *("neck", "heads", "detector"),
)
VIT_COMBINATIONS: list[Combination] = [
    (FAMILIES[number % len(FAMILIES)], ("gn", "bn", "sync_bn")[number % 3], "simple", start)
    for number, start in enumerate(VIT_STARTS)
]
"""A plain ViT of timm under every family; starts and norms take turns."""
ALL = [combination for combination in EVERY if not refusal(combination)]


PARTS_ARE_ELSEWHERE: tuple[Family, ...] = ("faster_rcnn", "cascade_rcnn", "mask_rcnn")
"""All that they are built of is in ``cascade_mask_rcnn``, which meets every start."""


def in_turn(combinations: list[Combination]) -> list[Combination]:
    """Few of them: every family meets every norm and neck, and every start where its parts are in
    no other family."""
    chosen: list[Combination] = []
    for number, family in enumerate(FAMILIES):
        of_family = [c for c in combinations if c[0] == family]
        for field in (1, 2) if family in PARTS_ARE_ELSEWHERE else (3, 1, 2):
            for value in dict.fromkeys(c[field] for c in of_family):
                fitting = [c for c in of_family if c[field] == value]
                if not any(c in chosen for c in fitting):
                    chosen.append(fitting[(5 * number + 3 * len(chosen)) % len(fitting)])
    return chosen


def built(recipe: Recipe, folder: Path, seed: int = 0) -> Detector:
    """As a run builds it, from a classifier or a detector of another seed."""
    spec, init = recipe.detector, recipe.init
    plain = spec.model_copy(update={"adapters": 0.0})
    match init.source:
        case "upstream":
            state = build_classifier(plain, 4, seed=9).backbone_state()
            detector = build_detector(spec, init, 3, seed=seed, weights=state)
            if init.unfreeze is not None:
                detector.freeze("none")  # as a run does at its switch
            return detector
        case "file":
            path = folder / str(init.weights)
            torch.save(build_classifier(plain, 4, seed=9).state_dict(), path)
            there = init.model_copy(update={"weights": str(path)})
            return build_detector(spec, there, 3, seed=seed)
        case "direct":
            first = build_detector(direct_recipe(recipe, 8).detector, InitSpec(), 3, seed=9)
            detector = build_detector(spec, InitSpec(frozen=init.frozen), 3, seed=seed)
            load_whole_detector(detector, first.state_dict(), "init.source: direct")
            return detector
        case "detector":
            return started(recipe, seed)
        case _:
            return build_detector(spec, init, 3, seed=seed)


def started(recipe: Recipe, seed: int) -> Detector:
    """From a detector of four categories, with one in common."""
    theirs, ours = ("cat", "dog", "bird", "fish"), ("dog", "whale", "ant")
    learned = snapshot(build_detector(recipe.detector, InitSpec(), len(theirs), seed=9))
    detector = build_detector(recipe.detector, recipe.init, len(ours), seed=seed)
    drawn = snapshot(detector)
    kept = start_from_learned(
        detector,
        LearnedDetector(state=learned, categories=theirs),
        OutputNames(categories=ours),
        recipe.init.keep_classes,
        "contract",
    )
    assert dict(kept.categories) == {"dog": "dog"}
    for name, value in detector.state_dict().items():
        if name not in kept.rows:
            assert torch.equal(value, learned[name]), name
        elif name.endswith(".weight"):  # biases are all drawn the same
            assert not torch.equal(value, drawn[name]), name
    return detector


def require_contract(
    combination: Combination, folder: Path, above: Mapping[str, object] = NOTHING
) -> None:
    recipe = recipe_of(combination, above)
    detector = built(recipe, folder)
    before, origin = snapshot(detector), record_origin(detector.backbone)

    update(detector, 3 if recipe.detector.adapters else 2, mixed=True)

    require_frozen(recipe, detector)
    require_no_graph_in_frozen_parts(detector)
    require_rates(recipe, detector)
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name]) == stays(recipe, name), name
    again = built(recipe, folder, seed=1)
    again.load_state_dict(detector.state_dict())
    detections = detector.detect(mixed_pictures())
    require_equal(detections, again.detect(mixed_pictures()))
    require_same_in_company(detector, detections)
    require_effective(recipe, detector, origin)


def require_same_in_company(detector: Detector, together: list[dict[str, Tensor]]) -> None:
    """What is found in an image does not depend on the images beside it, nor on their order."""
    images = mixed_pictures()
    require_equal([detector.detect([image])[0] for image in images], together)
    require_equal(detector.detect(images[::-1])[::-1], together)


def require_equal(detections: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> None:
    for one, other in zip(detections, others, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def stays(recipe: Recipe, name: str) -> bool:
    """Whether a number, a statistic included, is one that never moves; told by its name alone."""
    stage = name.removeprefix("network.backbone.body.").split(".")[0]
    if ".pixel_norm." in name or is_frozen_above(recipe, name):
        return True
    if stage == name.split(".")[0]:
        return stays_above(recipe.init.frozen, name)
    if stage == "adapters":
        return False
    upto = "none" if recipe.init.unfreeze is not None else recipe.init.frozen
    frozen = {"layer1": ("stem", "layer1"), "none": ()}.get(upto, (stage,))
    return stage in frozen or (recipe.detector.norm == "frozen_bn" and is_backbone_norm(name))


def stays_above(upto: str, name: str) -> bool:
    """As ``stays``, for neck and heads."""
    if name.startswith("network.backbone.fpn."):
        return upto in ("neck", "heads")
    is_last = any(last in name for last in LAST_LAYERS) and not name.startswith("network.rpn.")
    return upto == "heads" and not is_last


def is_frozen_above(recipe: Recipe, name: str) -> bool:
    """Whether a number belongs to a frozen norm of the pyramid or of a head on regions."""
    heads, neck = recipe.detector.head_norm, recipe.detector.neck_norm
    in_neck = (heads if neck is None else neck) == "frozen_bn"
    in_heads = heads == "frozen_bn"
    return (in_neck and re.search(r"_blocks\.\d+\.1\.", name) is not None) or (
        in_heads and re.search(r"(box_head|masks\.head)\.\d+\.1\.", name) is not None
    )


def is_backbone_norm(name: str) -> bool:
    parts = (".bn1.", ".bn2.", ".downsample.1.")
    return any(part in name for part in parts)


def require_frozen(recipe: Recipe, detector: Detector) -> None:
    """What never moves is in no group of the optimizer, and everything that moves is in one."""
    decayed, norms = detector.decayed_and_norm_parameters()
    grouped = {id(parameter) for parameter in decayed + norms}
    for name, parameter in detector.named_parameters():
        assert (id(parameter) in grouped) == (not stays(recipe, name)), name


def require_no_graph_in_frozen_parts(detector: Detector) -> None:
    """No gradient is recorded in a frozen part unless something before it trains (adapters)."""
    if not detector.frozen_parts:
        return
    recorded: dict[str, bool] = {}

    def record(name: str, output: Any) -> None:
        output = output.values if isinstance(output, Tokens) else output
        tensors = output.values() if isinstance(output, dict) else output
        tensors = [output] if isinstance(output, Tensor) else tensors
        flat = [t for one in tensors for t in ([one] if isinstance(one, Tensor) else one)]
        recorded[name] = any(tensor.requires_grad for tensor in flat)

    hooks = [
        detector.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: record(name, output)
        )
        for name in detector.frozen_parts
    ]
    assert total(detector, mixed=True).requires_grad
    for hook in hooks:
        hook.remove()
    has_adapters = detector.backbone.adapters is not None
    assert has_adapters or recorded == dict.fromkeys(detector.frozen_parts, False)


def require_rates(recipe: Recipe, detector: Detector) -> None:
    """The rate of each parameter, told by its name alone, and each in the group of its decay."""
    spec = recipe.optimizer.model_copy(update={"weight_decay": 0.5, "norm_weight_decay": 0.25})
    groups = detector.decayed_and_norm_parameters()
    optimizer = build_optimizer(*groups, spec, detector.depths())
    set_rate(optimizer, 2.0)
    norms = {id(parameter) for parameter in groups[1]}
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            stage = names[id(parameter)].removeprefix("network.backbone.body.").split(".")[0]
            is_gentle = recipe.optimizer.layer_decay != 1.0
            assert group["lr"] == 2.0 * (RATES.get(stage, 1.0) if is_gentle else 1.0)
            assert group["weight_decay"] == (0.25 if id(parameter) in norms else 0.5)


def require_effective(recipe: Recipe, detector: Detector, origin: BackboneStart) -> None:
    found = read_detector(detector) | read_backbone(detector.backbone, recipe.detector.adapters)
    found |= read_norms(detector, recipe.detector)
    expected = "none" if recipe.init.unfreeze is not None else recipe.init.frozen
    assert frozen_of(detector, expected) == expected
    found["init.zero_init_residual"] = starts_at_zero(detector.backbone, origin)
    require_recipe_values(recipe, found)
    assert {"detector.family", "detector.norm", "detector.neck", "detector.adapters"} <= set(found)


@pytest.mark.parametrize("combination", in_turn(ALL), ids="-".join)
def test_a_detector_keeps_the_contract(combination: Combination, tmp_path: Path) -> None:
    """Builds, learns with a finite loss, moves exactly what is not frozen, statistics included,
    comes back from a state dict bit for bit, and is what was asked for."""
    require_contract(combination, tmp_path)


FROM_CLASSIFIER: dict[str, object] = {"detector.norm_epsilon": 0.0, "detector.head_norm": "gn"}
LOADED: dict[str, object] = {"detector.head_norm": "frozen_bn"}
ABOVE: list[tuple[Combination, dict[str, object]]] = [
    (
        ("retinanet", "bn", "fpn", "upstream"),
        {"detector.neck_norm": "none", "detector.head_norm": "gn"},
    ),
    (("retinanet", "frozen_bn", "fpn", "upstream"), FROM_CLASSIFIER),
    (
        ("retinanet", "frozen_bn", "fpn", "direct"),
        {"detector.neck_norm": "frozen_bn", "detector.norm_epsilon": 0.001},
    ),
    (("fcos", "bn", "fpn", "random"), {"detector.head_norm": "none", "detector.neck_norm": "same"}),
    (("faster_rcnn", "frozen_bn", "fpn", "upstream"), FROM_CLASSIFIER),
    (("faster_rcnn", "bn", "nas_fpn", "random"), {"detector.head_norm": "gn"}),
    (("cascade_rcnn", "sync_bn", "fpn", "random"), {"detector.rpn_convs": 2}),
    (("mask_rcnn", "frozen_bn", "fpn", "direct"), LOADED | {"detector.rpn_convs": 2}),
    (("cascade_mask_rcnn", "frozen_bn", "fpn", "direct"), LOADED | {"detector.neck_norm": "none"}),
]
"""Norms of pyramid and heads, and proposal heads, that no other combination has."""


@pytest.mark.parametrize(("combination", "above"), ABOVE, ids=str)
def test_norms_above_the_backbone_keep_the_contract(
    combination: Combination, above: dict[str, object], tmp_path: Path
) -> None:
    assert not refusal(combination, above)
    require_contract(combination, tmp_path, above)


@pytest.mark.parametrize("combination", VIT_COMBINATIONS, ids="-".join)
def test_a_plain_vit_keeps_the_contract(combination: Combination, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="an extra: pip install 'rethink-ray[timm]'")
    require_contract(combination, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_combination_keeps_the_contract(family: Family, tmp_path: Path) -> None:
    own = [c for c in ALL if c[0] == family]
    assert len(own) == 118
    for combination in own:
        require_contract(combination, tmp_path)


def test_frozen_batch_norm_alone_is_refused_and_only_where_nothing_could_be_learnt() -> None:
    """On random weights, and under necks that stand on norms of their own: 182 of 1,008."""
    refused = [c for c in EVERY if c not in ALL]

    assert len(refused) == 182
    for combination in refused:
        _, norm, neck, start = combination
        assert norm == "frozen_bn"
        assert neck != "fpn" or start in ("random", "shortcuts")
        told = refusal(combination)
        assert told.startswith("contract: detector.norm: must ")
        assert any(must in told and remedy in told for must, remedy in REFUSED.items()), told


@pytest.mark.parametrize(
    ("settings", "path", "value"),
    [
        ({"family": "cascade_rcnn"}, "cascade_ious", (0.4, 0.6)),
        ({"family": "cascade_rcnn"}, "cascade_class_agnostic", False),
        ({"family": "cascade_mask_rcnn"}, "box_batch", 6),
        ({"family": "mask_rcnn"}, "mask_head_convs", 0),
        ({"family": "mask_rcnn"}, "mask_head_channels", 8),
        ({"family": "mask_rcnn"}, "foreground_iou", 0.6),
        ({"family": "keypoint_rcnn"}, "keypoint_head_convs", 3),
        ({"family": "keypoint_rcnn"}, "keypoint_head_channels", 8),
        ({"family": "keypoint_rcnn"}, "num_keypoints", 5),
        ({"family": "keypoint_rcnn"}, "detections", 7),
        ({"neck": "nas_fpn"}, "neck_merge", "sum"),
    ],
)
def test_a_setting_of_the_heads_is_read_back_from_the_network(
    settings: dict[str, str], path: str, value: object
) -> None:
    spec: DetectorSpec = tiny(**settings, **{path: value})

    found = read_detector(build_detector(spec, InitSpec(), 3, seed=0))

    assert found[f"detector.{path}"] == value
    require_recipe_values(Recipe(detector=spec), found)
