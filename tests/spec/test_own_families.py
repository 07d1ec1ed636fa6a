"""Detectors of other code in a study: their names, what they read, and the code in their ids."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rethink_ray.spec.backbone_code import code_of, own_backbones_of
from rethink_ray.spec.check import check_recipe
from rethink_ray.spec.detector import DetectorSpec
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.own_families import SHIPPED_FAMILIES
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.rules.own_families import REFUSED_AXES
from rethink_ray.spec.settings import known_paths, used_value_at, value_at, with_settings
from rethink_ray.spec.study import ResourceSpec
from tests.search.search_builders import small_study
from tests.spec.refusals import refused
from tests.spec.run_samples import sample

OWN = "our_own_nets:build"
SSD = "torchvision:ssd300_vgg16"
SSDLITE = "torchvision:ssdlite320_mobilenet_v3_large"
DETR = "transformers:rtdetr_v2_r18vd"
DETR_R50 = "transformers:rtdetr_v2_r50vd"
SIDES = {SSD: 300, SSDLITE: 320, DETR: 640, DETR_R50: 640, OWN: 64}


def recipe_of(family: str, **settings: Any) -> Recipe:
    dotted = {path.replace("__", "."): value for path, value in settings.items()}
    sides = {"min_side_px": SIDES[family], "max_side_px": SIDES[family]}
    return with_settings(Recipe(), {"detector": {"family": family, **sides}, **dotted}, "test")


@pytest.mark.parametrize(
    "name", ["torchvision:ssd512", "transformers:detr", "ssd", ":build", "a b:c"]
)
def test_an_unknown_family_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="must be a family"):
        DetectorSpec(family=name)


def test_the_nearest_family_is_proposed() -> None:
    with refused("a family that is not known", ["did you mean 'torchvision:ssd300_vgg16'?"]):
        with_settings(Recipe(), {"detector.family": "torchvision:ssd300"}, "test")


@pytest.mark.parametrize("family", [OWN, *SHIPPED_FAMILIES])
def test_a_family_can_be_named_and_keeps_its_published_overlap(family: str) -> None:
    expected = {SSD: 0.45, SSDLITE: 0.55}.get(family, 0.5)
    assert DetectorSpec(family=family).as_published().nms_iou == expected


@pytest.mark.parametrize("recipe", ["ssdlite320", "ssd300_vgg16", "rtdetr_v2_r18"])
def test_the_recipes_that_ship_break_no_rule(recipe: str) -> None:
    check_recipe(build_recipe(recipe), "test")


UNUSUAL: dict[str, Any] = {
    "init.source": "upstream",
    "init.keep_classes": "none",
    "init.frozen": "layer2",
    "optimizer.layer_decay": 0.7,
    "init.input": "imagenet",
    "init.weights_norm": "gn",
    "init.zero_init_residual": True,
    "augment.short_side_px": [64, 96],
    "evaluation.scales": [0.5, 1.0],
    "evaluation.flip": True,
    "joint.weight": 0.5,
}


def test_every_refused_axis_is_a_path_and_refused_with_a_remedy() -> None:
    assert {axis.path for axis in REFUSED_AXES} == UNUSUAL.keys() <= known_paths().keys()
    for axis in REFUSED_AXES:
        assert value_at(Recipe(), axis.path) in axis.allowed
        broken = with_settings(recipe_of(OWN), {axis.path: UNUSUAL[axis.path]}, "test")
        with refused(f"{axis.path} of a detector of other code", [OWN, axis.path, axis.remedy]):
            check_recipe(broken, "test")


def test_other_inputs_than_its_own_square_are_refused() -> None:
    for family in (SSD, DETR):
        broken = recipe_of(family, detector__max_side_px=1000)
        with refused(f"sides of {family}", ["detector.min_side_px", "detector.max_side_px"]):
            check_recipe(broken, "test")
    check_recipe(recipe_of(DETR, detector={"min_side_px": 96, "max_side_px": 96}), "test")


@pytest.mark.parametrize(
    ("family", "resources"),
    [
        (SSDLITE, ResourceSpec(workers=2)),
        (SSDLITE, ResourceSpec(images_per_step=8)),
        (DETR, ResourceSpec(workers=2)),
    ],
)
def test_a_batch_that_must_be_whole_is_not_shared(family: str, resources: ResourceSpec) -> None:
    parts = f"{resources.workers} workers, {resources.images_per_step} at once"
    with refused(f"{family} with {parts}", ["whole batch", family]):
        check_recipe(recipe_of(family), "test", resources)


def test_a_batch_of_ssd_is_shared_by_any_number() -> None:
    for resources in (ResourceSpec(workers=2), ResourceSpec(images_per_step=1)):
        check_recipe(recipe_of(SSD), "test", resources)


def test_norms_that_never_learn_need_weights() -> None:
    broken = recipe_of(DETR_R50)
    with refused("RT-DETR on ResNet-50 from random weights", ["must load weights"]):
        check_recipe(broken, "test")
    check_recipe(recipe_of(DETR_R50, init__source="file", init__weights="x.safetensors"), "test")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("detector.neck", "bifpn"),
        ("detector.norm", "bn"),
        ("detector.anchor_base_px", 24),
        ("detector.padding_group", 4),
        ("detector.focal_gamma", 1.5),
        ("detector.backbone", "resnet18"),
        ("detector.norm_batch", 2),
        ("detector.neck_norm", "gn"),
        ("detector.head_norm", "none"),
        ("detector.norm_epsilon", 1e-3),
        ("detector.rpn_convs", 2),
    ],
)
def test_a_key_that_it_does_not_read_is_refused_where_it_is_set_or_searched(
    path: str, value: Any
) -> None:
    arm = {"detector.family": OWN}
    with pytest.raises(SpecError, match=rf"arms.own.set.{path}: .*nothing reads it"):
        small_study(arms={"own": {"set": {**arm, path: value}}}, search={})
    search = {path: {"choice": [used_value_at(build_recipe("tiny_retinanet"), path), value]}}
    if path not in ("detector.norm_batch", "detector.backbone"):
        with pytest.raises(SpecError, match="must be searched only with"):
            small_study(arms={"own": {"set": arm}}, search=search)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("init.source", "detector"),
        ("init.frozen", "neck"),
        ("init.frozen", "heads"),
    ],
)
def test_starts_and_depths_of_our_networks_are_refused(path: str, value: str) -> None:
    broken = recipe_of(OWN, init__weights="upstream_detector", **{path.replace(".", "__"): value})
    with pytest.raises(SpecError, match=f"{path}: must be .* with {OWN}"):
        check_recipe(broken, "test")


def test_averages_rates_and_later_unfreezing_apply_to_it() -> None:
    settings = {
        "init": {"source": "file", "weights": "x.pt", "frozen": "backbone"},
        "init.unfreeze": {"after": 0.25},
        "optimizer.backbone_rate": 0.1,
        "optimizer.ema": {"half_life": 0.1},
    }
    check_recipe(with_settings(recipe_of(OWN), settings, "test"), "test")


def test_keys_that_it_may_read_can_be_set_and_searched() -> None:
    arm = {"detector.family": OWN, "detector.detections": 50}
    search = {"detector.nms_iou": {"uniform": [0.3, 0.7]}}
    assert small_study(arms={"own": {"set": arm}}, search=search)


def test_arms_of_our_families_keep_their_settings_beside_it() -> None:
    arms = {"ours": {"set": {"detector.neck": "bifpn"}}, "own": {"set": {"detector.family": OWN}}}
    assert small_study(arms=arms, search={}, settings={"detector.norm": "gn"})


def test_its_code_is_part_of_the_id_and_named_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "our_own_nets.py").write_text("import transformers\n")
    code = code_of(OWN, "test")
    assert code.endswith(f" transformers {version('transformers')}")
    ids = {sample(recipe_of(OWN), family_code=text).trial_id for text in (code, "other")}
    assert len(ids) == 2
    ours = {sample(Recipe(), family_code=text).trial_id for text in (code, "other")}
    assert len(ours) == 1
    study = small_study(arms={"own": {"set": {"detector.family": OWN}}}, search={})
    [key] = own_backbones_of(study, "s.yaml").values()
    assert key.startswith("s.yaml: ")
    assert key.endswith(": detector.family")
    sys.modules.pop("our_own_nets", None)


def test_families_that_ship_are_known_by_their_library() -> None:
    assert code_of(SSD, "test") == ""
    assert code_of(DETR, "test") == f"transformers {version('transformers')}"
