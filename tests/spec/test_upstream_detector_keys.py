"""An upstream detector as data: what its key hashes, who shares it, and what is refused."""

import json
from typing import Any

import pytest

from rethink_ray.protocol.extension import fingerprint_of
from rethink_ray.search.plan import plan_study
from rethink_ray.spec.assets import DetectorAsset, assets_of
from rethink_ray.spec.check import check_facts, check_recipe, check_study
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.regime import DataSpec, HoldoutSpec, SplitSpec
from rethink_ray.spec.resolve import Cell, CellResolver, TrialConfig, with_recipe
from rethink_ray.spec.study import ResourceSpec, Study
from rethink_ray.spec.upstream_detector import upstream_detector_recipe
from tests.builders import made_up_facts, micro_recipe
from tests.upstream_scenes import UPSTREAM_START

GLYPHS = {"dataset": "shapes", "shapes": {"figures": "glyphs"}}
DETECTOR = {"init.source": "detector", "init.weights": "upstream_detector"}
SCENES = made_up_facts({"all": 2000}, categories=("arrow", "heart"), fingerprint="glyphs")
FACTS = made_up_facts({"full": 400, "small": 60}, upstream_detection=SCENES)


def study(**arms: dict[str, Any]) -> Study:
    """Two regimes; ``arms``: what each sets, with ``init`` for a start from the detector."""
    tree = {
        "study": "starts",
        "data": {"dataset": "shapes", "upstream_detection": GLYPHS},
        "regimes": {"full": {"images": 400}, "small": {"images": 60}},
        "recipe": "tiny_retinanet",
        "settings": {"upstream_detector": {"steps": 600, "batch_size": 8, "warmup": 20}},
        "arms": {name: {"set": settings} for name, settings in arms.items()},
        "search": {"optimizer.lr": {"log_uniform": [0.01, 0.1]}},
    }
    return Study.model_validate_json(json.dumps(tree))


def config(facts: DataFacts = FACTS, regime: str = "full", **settings: Any) -> TrialConfig:
    recipe = micro_recipe(**(UPSTREAM_START | settings))
    plain = CellResolver(study(detector=DETECTOR), Cell(regime, "detector"), facts).resolve({}, 1)
    return with_recipe(plain, recipe, facts)


def key(**settings: Any) -> str:
    [asset] = assets_of(config(**settings))
    assert isinstance(asset, DetectorAsset)
    return asset.key


@pytest.mark.parametrize(
    "setting",
    [
        {"upstream_detector__steps": 9},
        {"upstream_detector__lr": 0.01},
        {"upstream_detector__labels": "shuffled"},
        {"upstream_detector__seed": 1},
        {"upstream_detector__min_side_px": 32},
        {"detector__width": 32},
        {"detector__norm": "bn"},
        {"detector__min_side_px": 96},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_its_key_hashes_what_it_is_trained_with(setting: dict[str, Any]) -> None:
    assert key(**setting) != key()
    assert config(**setting).trial_id != config().trial_id


@pytest.mark.parametrize(
    "setting",
    [
        {"optimizer__lr": 0.001},
        {"schedule__unit": 8},
        {"batch_size": 4},
        {"init__frozen": "backbone"},
        {"init__keep_classes": "none"},
        {"augment__flip": 0.0},
        {"detector__score_threshold": 0.5},
        {"regime": "small"},
    ],
    ids=str,
)
def test_its_key_leaves_out_what_only_the_run_reads(setting: dict[str, Any]) -> None:
    assert key(**setting) == key()


@pytest.mark.parametrize(
    "change", [{"fingerprint": "other boxes"}, {"regime_digests": {"all": "2"}}]
)
def test_other_upstream_images_make_another_detector_and_another_trial(change: Any) -> None:
    scenes = made_up_facts({"all": 2000}, **({"categories": ("arrow", "heart")} | change))
    facts = made_up_facts({"full": 400, "small": 60}, upstream_detection=scenes)
    assert key(facts=facts) != key()
    assert config(facts).trial_id != config().trial_id


def test_a_run_from_scratch_ignores_all_of_it() -> None:
    scratch = {"init__source": "random", "init__weights": None}
    plain = config(**scratch)
    assert plain.upstream_images is None
    assert assets_of(plain) == ()
    other = config(made_up_facts({"full": 400, "small": 60}), **scratch, upstream_detector__lr=0.5)
    assert other.trial_id == plain.trial_id


def test_it_is_trained_as_detectron_trains_in_its_own_sizes() -> None:
    recipe = upstream_detector_recipe(
        micro_recipe(
            **(UPSTREAM_START | {"upstream_detector__steps": 90_000}), detector__norm="frozen_bn"
        )
    )
    assert recipe.schedule.points(1.0) == (30_000, 10_000)  # 60,000 and 80,000 of 90,000
    assert recipe.init.source == "random"
    assert (recipe.detector.norm, recipe.detector.head_norm) == ("bn", "none")
    assert recipe.detector.score_threshold == 0.05


@pytest.mark.parametrize(
    ("above", "upstream"),
    [
        ({"head_norm": "gn", "neck_norm": "none"}, ("gn", "none")),
        ({"head_norm": "frozen_bn"}, ("same", None)),
        ({"neck_norm": "frozen_bn"}, ("none", "same")),
        ({"neck_norm": "same"}, ("none", "none")),
    ],
)
def test_it_has_norms_where_a_run_with_frozen_ones_has_some(
    above: dict[str, str], upstream: tuple[str, str | None]
) -> None:
    """Otherwise its weights would not fill the run's detector."""
    settings = {f"detector__{key}": value for key, value in above.items()}
    frozen = micro_recipe(
        **UPSTREAM_START, detector__family="faster_rcnn", detector__norm="frozen_bn", **settings
    )
    detector = upstream_detector_recipe(frozen).detector
    assert detector.norm == "bn"
    assert (detector.head_norm, detector.neck_norm) == upstream


def asset_kinds(*arms: dict[str, Any]) -> dict[str, tuple[int, int]]:
    named = {f"arm{number}": settings for number, settings in enumerate(arms)}
    return dict(plan_study(study(**named), FACTS).asset_kinds)


def test_all_cells_share_one_upstream_detector() -> None:
    frozen = DETECTOR | {"init.frozen": "backbone"}
    assert asset_kinds({}, DETECTOR, frozen) == {"upstream_detector": (1, 600)}


def test_each_norm_and_the_control_have_an_upstream_detector_of_their_own() -> None:
    shuffled = DETECTOR | {"upstream_detector.labels": "shuffled"}
    kinds = asset_kinds(DETECTOR, DETECTOR | {"detector.norm": "bn"}, shuffled)
    assert kinds == {"upstream_detector": (3, 1800)}


def test_images_and_annotations_alone_are_a_data_set_with_a_tenth_held_out() -> None:
    tree = {"dataset": "shapes", "upstream_detection": {"images": "a", "annotations": "b.json"}}
    upstream = DataSpec.model_validate_json(json.dumps(tree)).upstream_detection
    assert upstream is not None
    assert upstream.dataset == {"train": SplitSpec(images="a", annotations="b.json")}
    assert upstream.select_on == HoldoutSpec(holdout="10%")
    assert upstream.report_on == "holdout"


def test_coco_by_root_learns_from_train_and_is_scored_on_val() -> None:
    tree = {"dataset": "shapes", "upstream_detection": {"dataset": "coco", "root": "coco"}}
    data = DataSpec.model_validate_json(json.dumps(tree))
    upstream = data.upstream_detection
    assert upstream is not None
    assert (upstream.select_on, upstream.report_on) == ("val", "val")
    assert DataSpec.model_validate_json(data.model_dump_json()) == data


def test_the_folder_of_upstream_images_may_change_but_not_the_data_set() -> None:
    def fingerprint(**changes: Any) -> str:
        tree = json.loads(study(detector=DETECTOR).model_dump_json(exclude_unset=True))
        tree["data"]["upstream_detection"] |= changes
        return fingerprint_of(Study.model_validate_json(json.dumps(tree)))

    assert fingerprint(root="elsewhere") == fingerprint()
    assert fingerprint(subset_seed=1) != fingerprint()


def test_an_upstream_data_set_with_another_inside_is_refused() -> None:
    tree = {"dataset": "shapes", "upstream_detection": {**GLYPHS, "upstream_detection": GLYPHS}}
    with pytest.raises(ValueError, match="must be one data set"):
        DataSpec.model_validate_json(json.dumps(tree))


def test_a_warm_up_that_outlasts_the_peak_rate_is_refused() -> None:
    with pytest.raises(SpecError, match="two thirds of the 30 updates"):
        micro_recipe(upstream_detector__steps=30, upstream_detector__warmup=20)


def test_its_batch_divides_among_workers_and_its_adapters_are_none() -> None:
    with pytest.raises(SpecError, match=r"upstream_detector\.batch_size: must divide among 3"):
        check_recipe(
            micro_recipe(**UPSTREAM_START, batch_size=3), "recipe", ResourceSpec(workers=3)
        )
    with_adapters = DETECTOR | {"init.frozen": "backbone", "detector.adapters": 0.5}
    with pytest.raises(SpecError, match=r"detector\.adapters: must be 0"):
        check_study(study(detector=with_adapters), "study")


def test_a_mask_detector_needs_masks_in_the_upstream_images_too() -> None:
    masks = study(detector=DETECTOR).model_copy(update={"recipe": "tiny_mask_rcnn"})
    boxes = made_up_facts({"all": 2000}, has_masks=False)
    check_facts(masks, FACTS, "study")
    facts = made_up_facts({"full": 400, "small": 60}, upstream_detection=boxes)
    with pytest.raises(SpecError, match=r"data\.upstream_detection: detector\.family: must be"):
        check_facts(masks, facts, "study")
