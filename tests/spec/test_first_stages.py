"""Direct pre-training as data: what the first stage is, and what the two stages must agree in."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rethink_ray.spec.assets import ANY_ASSET, DetectorAsset, assets_of
from rethink_ray.spec.check import check_facts, check_study
from rethink_ray.spec.direct import direct_recipe, direct_steps
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipes import build_recipe
from rethink_ray.spec.resolve import Cell, CellResolver, TrialConfig, base_recipe
from rethink_ray.spec.settings import with_settings
from rethink_ray.spec.study import Study
from tests.builders import made_up_facts
from tests.spec.refusals import refused

FACTS = made_up_facts({"coco": 118_287})
SECOND_STAGE = {"detector.norm": "frozen_bn", "init.frozen": "layer1"}
LI: dict[str, Any] = {
    "study": "li",
    "data": {"dataset": "coco", "root": "/coco"},
    "regimes": {"coco": {"images": "all"}},
    "recipe": "faster_rcnn_r50",
    "schedule": {"unit": 90_000, "lengths": [1, 2]},
    "arms": {
        "pretrained_2x": {
            "set": SECOND_STAGE
            | {"init.source": "torchvision", "init.weights": "ResNet50_Weights.IMAGENET1K_V1"}
        },
        "direct_p1x": {"set": SECOND_STAGE | {"init.source": "direct"}},
        "direct_p3x": {"set": SECOND_STAGE | {"init.source": "direct", "direct.passes": 144}},
        "direct_full_size": {
            "set": SECOND_STAGE | {"init.source": "direct", "direct.resolution": 1.0}
        },
        "fine_tuned_small": {
            "set": SECOND_STAGE
            | {
                "init.source": "direct",
                "direct.resolution": 1.0,
                "detector.min_side_px": 448,
                "detector.max_side_px": 746,
            }
        },
        "direct_2fc": {"set": SECOND_STAGE | {"init.source": "direct", "detector.head_convs": 0}},
        "scratch_longer": {"set": {"schedule.lengths": [2, 6]}},
    },
    "seed": 0,
}
"""The paper's arms and its missing controls: passes, head, and resolution in either stage."""


def study(**changes: Any) -> Study:
    found = Study.model_validate_json(json.dumps(LI | changes))
    check_study(found, "li.yaml")
    return found


def trial(arm: str, seed: int = 0, asset_seed: int = 5, **sampled: float) -> TrialConfig:
    values = {name.replace("__", "."): value for name, value in sampled.items()}
    return CellResolver(study(), Cell("coco", arm), FACTS).resolve(values, seed, asset_seed)


def first_stage(arm: str, **sampled: float) -> TrialConfig:
    [asset] = assets_of(trial(arm, **sampled))
    assert isinstance(asset, DetectorAsset)
    return asset.trained


def test_p1x_is_48_passes_in_as_many_updates_as_the_papers_1x() -> None:
    run = first_stage("direct_p1x")
    # 118,287 images x 48 / 64
    assert run.recipe.schedule.steps(1.0) == 88_716
    assert first_stage("direct_p3x").recipe.schedule.steps(1.0) == 266_146
    assert (run.recipe.detector.min_side_px, run.recipe.detector.max_side_px) == (448, 448)
    assert run.recipe.detector.norm == "bn"
    assert run.recipe.detector.head_norm == "none"  # as in the second stage
    assert run.recipe.init.source == "random"
    assert run.recipe.init.frozen == "none"
    assert run.recipe.optimizer.lr == 0.08
    assert run.recipe.schedule.decay.kind == "constant"
    assert run.recipe.augment.scale == (0.8, 1.2)
    assert run.recipe.augment.canvas == "square"


def test_the_papers_missing_controls_are_plain_settings() -> None:
    keys = {arm: tuple(a.key for a in assets_of(trial(arm))) for arm in study().arms}
    assert keys["pretrained_2x"] == keys["scratch_longer"] == ()
    # dropping the resolution of the second stage alone leaves the first one as it was
    assert keys["fine_tuned_small"] == keys["direct_p1x"]
    others = ("direct_p1x", "direct_p3x", "direct_full_size", "direct_2fc")
    assert len({keys[arm] for arm in others}) == 4
    assert first_stage("direct_full_size").recipe.detector.min_side_px == 800
    assert first_stage("fine_tuned_small").recipe.detector.min_side_px == 448
    assert first_stage("direct_2fc").recipe.detector.head_convs == 0


def test_search_trials_share_a_first_stage_and_replicates_do_not() -> None:
    [one] = assets_of(trial("direct_p1x", seed=1, optimizer__lr=0.01))
    [other] = assets_of(trial("direct_p1x", seed=2, optimizer__lr=0.03))
    [again] = assets_of(trial("direct_p1x", seed=2, optimizer__lr=0.03, asset_seed=6))
    assert one.key == other.key
    assert other.key != again.key
    assert ANY_ASSET.validate_json(again.model_dump_json()) == again


def test_what_only_detecting_reads_is_the_same_first_stage() -> None:
    [one] = assets_of(trial("direct_p1x"))
    [other] = assets_of(trial("direct_p1x", detector__nms_iou=0.6))
    [mirrored] = assets_of(trial("direct_p1x", evaluation__flip=True))
    assert one.key == other.key == mirrored.key


def test_an_id_covers_the_asset_seed_and_the_first_stage_only_where_there_is_one() -> None:
    assert trial("direct_p1x").trial_id != trial("direct_p1x", asset_seed=6).trial_id
    assert trial("scratch_longer").trial_id == trial("scratch_longer", asset_seed=6).trial_id
    assert trial("scratch_longer").asset_seed is None
    assert trial("direct_p1x").trial_id != trial("direct_p1x", direct__optimizer__lr=0.04).trial_id
    plain = trial("scratch_longer").trial_id
    assert trial("scratch_longer", direct__optimizer__lr=0.04).trial_id == plain


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({}, ["detector.norm", "direct.norm bn", "'gn'", "direct.norm: gn"]),
        ({"detector.norm": "bn", "direct.norm": "gn"}, ["direct.norm: bn", "detector.norm: gn"]),
        ({"direct.norm": "gn", "direct.norm_batch": 8}, None),
        (SECOND_STAGE | {"direct.norm_batch": 8}, ["direct.batch_size / workers = 64", "bn"]),
        (SECOND_STAGE | {"direct.norm_batch": 64}, None),
        ({"direct.norm": "gn", "init.frozen": "layer2"}, None),
    ],
)
def test_two_stages_that_do_not_fit_are_refused_with_the_remedy(
    settings: dict[str, object], facts: list[str] | None
) -> None:
    arms = {"direct": {"set": {"init.source": "direct", **settings}}}
    if facts is None:
        study(arms=arms)
        return
    with refused(f"first stage {settings}", facts):
        study(arms=arms)


def test_eight_workers_normalise_eight_images_each_as_in_the_paper() -> None:
    arms = {"direct": {"set": SECOND_STAGE | {"init.source": "direct", "direct.norm_batch": 8}}}
    found = study(arms=arms, resources={"workers": 8})
    recipe = base_recipe(found, Cell("coco", "direct"))
    assert recipe.direct.batch_size / found.resources.workers == recipe.direct.norm_batch == 8


def test_a_first_stage_shorter_than_its_warm_up_is_refused() -> None:
    check_facts(study(), FACTS, "li.yaml")
    few = replace(FACTS, regime_sizes={"coco": 500})  # 500 images x 48 / 64 = 375 updates
    with refused("a first stage that is all warm-up", ["375 updates", "500"]):
        check_facts(study(), few, "li.yaml")


def test_a_first_stage_is_checked_as_soon_as_the_data_are_known() -> None:
    few = replace(FACTS, regime_sizes={"coco": 500})
    check_facts(study(), FACTS, "li.yaml")
    with pytest.raises(SpecError, match="^li.yaml: coco/direct_p1x: direct.warmup:"):
        check_facts(study(), few, "li.yaml")
    arms = {
        "direct": {
            "set": SECOND_STAGE | {"init.source": "direct"},
            "search": {"direct.passes": {"choice": [48, 144]}},
        }
    }
    with pytest.raises(SpecError, match="375 updates"):  # 48 is too few, 144 would do
        check_facts(study(arms=arms), few, "li.yaml")


def test_a_cascade_that_joins_late_is_whole_in_the_first_stage() -> None:
    late = {"detector.family": "cascade_rcnn", "detector.cascade_from": 540_000}
    recipe = with_settings(build_recipe("faster_rcnn_r50"), late, "test")
    assert recipe.detector.cascade_from == 540_000
    assert direct_recipe(recipe, 118_287).detector.cascade_from == 0


def sides_of_first_stage(**settings: object) -> tuple[int, int]:
    at = {f"direct.{name}".replace("__", "."): value for name, value in settings.items()}
    recipe = with_settings(build_recipe("retinanet_r50"), at, "test")
    assert direct_steps(recipe, 100) == 75
    smaller = direct_recipe(recipe, 100).detector
    return smaller.min_side_px, smaller.max_side_px


def test_pixels_take_the_place_of_the_factor() -> None:
    assert sides_of_first_stage() == (448, 448)  # 0.56 x 800, on a square
    assert sides_of_first_stage(min_side_px=320) == (320, 320)
    assert sides_of_first_stage(min_side_px=320, max_side_px=512) == (320, 512)
    assert sides_of_first_stage(resolution=0.28) == (224, 224)


def test_a_first_stage_without_squares_keeps_the_recipes_shape() -> None:
    assert sides_of_first_stage(augment__canvas="image") == (448, 746)  # 0.56 x 1333
    assert sides_of_first_stage(augment__canvas="image", min_side_px=320) == (320, 746)
