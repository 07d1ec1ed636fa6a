"""A detector of another data set is an asset: built once, scored, and started from."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rethink_ray.data.check import check_pools
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.splits import open_split
from rethink_ray.spec.assets import DetectorAsset, assets_of
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec, RegimeSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import ArmSpec, Study
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint, save_checkpoint
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.live import Live
from rethink_ray.training.run import train_config
from rethink_ray.training.source_checks import require_sources, require_unseen_upstream
from rethink_ray.training.starting import load_start, weights_file
from rethink_ray.training.stopping import Interrupts, Stopped
from rethink_ray.training.worker_context import WorkerContext
from tests.builders import MICRO_DATA
from tests.training.runs import climb, climb_with_stops, digest, digests, numbers, stop_after
from tests.upstream_scenes import GLYPH_SCENES, UPSTREAM_DATA, upstream_trial

LENGTHS = (2.0, 3.0)
LOGITS = "network.head.classification_head.cls_logits."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assets' folder, in which the upstream detector of most tests stands."""
    assets = tmp_path_factory.mktemp("assets")
    build_asset(asset_of(upstream_trial()), UPSTREAM_DATA, assets)
    return assets


def asset_of(config: TrialConfig) -> DetectorAsset:
    [asset] = assets_of(config)
    assert isinstance(asset, DetectorAsset)
    return asset


def state_of(config: TrialConfig, assets: Path) -> dict[str, Tensor]:
    asset = asset_of(config)
    model: dict[str, Tensor] = load_checkpoint(weights_file(asset, assets / asset.key))["model"]
    return model


def test_an_upstream_detector_is_built_once_and_its_ap_is_recorded(built: Path) -> None:
    asset = asset_of(upstream_trial())
    done = build_asset(asset, UPSTREAM_DATA, built)
    assert done.kind == "upstream_detector"
    assert asset.key.startswith("upstream_detector-")
    assert done.metrics["updates"] == asset.steps == 6
    assert 0 <= done.metrics["val/ap"] <= 100
    assert not done.refused
    names = sorted(path.name for path in (built / asset.key).iterdir())
    assert names == ["DONE", "effective.json", "models", "rungs.json", "spec.json"]


def test_an_upstream_detector_finds_the_figures_of_its_own_scenes(built: Path) -> None:
    weights = state_of(upstream_trial(), built)
    assert len(weights[f"{LOGITS}bias"]) % 12 == 0
    assert open_split(GLYPH_SCENES, "train").categories[:2] == ("arrow", "heart")


def test_an_upstream_detector_names_its_keypoints(tmp_path: Path) -> None:
    """Seventeen keypoints are COCO's only where a file does not name them."""
    config = upstream_trial()
    asset = asset_of(config)
    file = weights_file(asset, tmp_path / asset.key)
    names = [f"point {n}" for n in range(17)]
    save_checkpoint(file, {"model": {}, "categories": ["arrow"], "keypoints": names})
    (tmp_path / asset.key / "DONE").touch()
    learned = load_start(config, tmp_path, WorkerContext.local(config)).learned
    assert learned is not None
    assert learned.keypoints == names
    assert learned.categories == ["arrow"]


def test_a_run_begins_with_all_of_it_but_the_rows_of_classes(built: Path) -> None:
    config = upstream_trial()
    ctx = WorkerContext.local(config)
    live = Live(config.recipe, config.num_categories, 1, ctx, load_start(config, built, ctx))
    given, state = state_of(config, built), live.detector.state_dict()
    for name in state:
        assert name.startswith(LOGITS) or torch.equal(state[name], given[name]), name
    assert live.kept is not None
    assert live.kept.categories == {}  # no glyph is a shape
    drawn = Live(config.recipe, config.num_categories, 1, ctx, load_start(config, built, ctx))
    assert torch.equal(drawn.detector.state_dict()[f"{LOGITS}weight"], state[f"{LOGITS}weight"])
    other = Live(config.recipe, config.num_categories, 2, ctx, load_start(config, built, ctx))
    assert not torch.equal(other.detector.state_dict()[f"{LOGITS}weight"], state[f"{LOGITS}weight"])


def test_a_frozen_backbone_is_the_upstream_detectors(tmp_path: Path, built: Path) -> None:
    config = upstream_trial(init__frozen="backbone")
    climb(config, tmp_path, (2.0,), assets=built)
    after = load_checkpoint(tmp_path / "models" / "2x.pt")["model"]
    given = state_of(config, built)
    same_rows = [name for name in given if not name.startswith(LOGITS)]
    moved = {name for name in same_rows if not torch.equal(after[name], given[name])}
    assert moved
    assert not any(name.startswith("network.backbone.body.") for name in moved)


def test_batch_norms_stand_still_at_what_the_upstream_detector_has_seen(tmp_path: Path) -> None:
    config = upstream_trial(detector__norm="frozen_bn")
    build_asset(asset_of(config), UPSTREAM_DATA, tmp_path)
    ctx = WorkerContext.local(config)
    live = Live(config.recipe, config.num_categories, 1, ctx, load_start(config, tmp_path, ctx))
    given, state = state_of(config, tmp_path), live.detector.state_dict()
    statistics = [name for name in state if name.endswith("running_var")]
    assert statistics
    assert all(torch.equal(state[name], given[name]) for name in statistics)
    assert not any((given[name] == 1).all() for name in statistics)


def test_shuffled_classes_keep_boxes_and_the_number_of_each_class() -> None:
    plain = asset_of(upstream_trial()).trained
    control = asset_of(upstream_trial(upstream_detector__labels="shuffled")).trained
    true, shuffled = open_trial_data(plain), open_trial_data(control)
    pairs = [(true.index.entry(i), shuffled.index.entry(i)) for i in true.image_ids]
    assert all((one.boxes_xyxy == other.boxes_xyxy).all() for one, other in pairs)
    counts = [
        Counter(int(n) for entry in side for n in entry.labels) for side in zip(*pairs, strict=True)
    ]
    assert counts[0] == counts[1]
    assert any((one.labels != other.labels).any() for one, other in pairs)


def test_shuffled_classes_train_another_detector(tmp_path: Path, built: Path) -> None:
    control = upstream_trial(upstream_detector__labels="shuffled")
    done = build_asset(asset_of(control), UPSTREAM_DATA, tmp_path)
    assert not done.refused
    true, shuffled = state_of(upstream_trial(), built), state_of(control, tmp_path)
    assert any(not torch.equal(true[name], shuffled[name]) for name in true)


def test_a_stopped_upstream_detector_goes_on_to_the_same_bits(tmp_path: Path, built: Path) -> None:
    asset = asset_of(upstream_trial())
    interrupts = Interrupts(stop=stop_after(3))
    with pytest.raises(Stopped, match="update 3"):
        build_asset(asset, UPSTREAM_DATA, tmp_path, interrupts=interrupts)
    build_asset(asset, UPSTREAM_DATA, tmp_path)
    whole, parts = state_of(upstream_trial(), built), state_of(upstream_trial(), tmp_path)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_damaged_upstream_detector_is_built_again_before_the_run_starts(
    tmp_path: Path, built: Path
) -> None:
    config = upstream_trial()
    whole = numbers(climb(config, tmp_path / "whole", (2.0,), assets=built))
    asset = asset_of(config)
    build_asset(asset, UPSTREAM_DATA, tmp_path / "assets")
    path = weights_file(asset, tmp_path / "assets" / asset.key)
    path.write_bytes(path.read_bytes()[:-1])
    run = climb(config, tmp_path / "damaged", (2.0,), assets=tmp_path / "assets")
    assert numbers(run) == whole
    assert digest(tmp_path / "damaged", 2.0) == digest(tmp_path / "whole", 2.0)


def test_stops_and_other_lengths_change_nothing(tmp_path: Path, built: Path) -> None:
    config = upstream_trial()
    whole = climb(config, tmp_path / "whole", LENGTHS, assets=built)
    parts, stops = climb_with_stops(config, tmp_path / "parts", LENGTHS, every=4, assets=built)
    assert stops >= 2
    assert numbers(parts) == numbers(whole)
    assert digests(tmp_path / "parts", LENGTHS) == digests(tmp_path / "whole", LENGTHS)
    alone = climb(config, tmp_path / "alone", (3.0,), assets=built)
    assert digest(tmp_path / "alone", 3.0) == digest(tmp_path / "whole", 3.0)
    assert repr(alone[0].metrics) == repr(whole[1].metrics)  # text makes NaN equal to itself


def test_a_run_of_one_configuration_builds_its_own_upstream_detector(
    tmp_path: Path, built: Path
) -> None:
    config = upstream_trial()
    exported = TrialConfig.model_validate_json(config.model_dump_json())
    rungs = train_config(exported, tmp_path / "run", lengths=(2.0,), splits=("val",))
    assert numbers(rungs) == numbers(climb(config, tmp_path / "other", (2.0,), assets=built))


def test_an_upstream_picture_that_the_study_is_scored_on_is_refused(tmp_path: Path) -> None:
    upstream = MICRO_DATA.model_copy(update={"report_on": "val"})
    data = MICRO_DATA.model_copy(update={"upstream_detection": upstream, "report_on": "train"})
    asset = asset_of(upstream_trial(data=data))
    with pytest.raises(DataError, match="must learn from no picture of split train"):
        build_asset(asset, data, tmp_path)


def test_doctor_and_run_refuse_such_a_picture_before_anything_starts() -> None:
    upstream = MICRO_DATA.model_copy(update={"report_on": "val"})
    require_unseen_upstream(study_on(with_upstream(upstream)), "study.yaml")  # train is not scored
    scored = MICRO_DATA.model_copy(update={"report_on": "train"})
    study = study_on(scored.model_copy(update={"upstream_detection": upstream}))
    with pytest.raises(
        DataError, match=r"study\.yaml: data\.upstream_detection: must learn from no"
    ):
        require_unseen_upstream(study, "study.yaml")


def test_an_upstream_detector_without_images_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match=r"full/detector: data\.upstream_detection: must name the"):
        require_sources(study_on(MICRO_DATA), "study.yaml")


def test_upstream_images_that_are_not_there_are_refused_by_their_path(tmp_path: Path) -> None:
    missing = DataSpec(dataset="coco", root=str(tmp_path / "coco"), select_on="val")
    with pytest.raises(DataError, match=r"data\.root .*coco"):
        gather_facts(with_upstream(missing), {"full": RegimeSpec(images="all")})


def test_data_check_looks_at_the_images_of_an_upstream_detector() -> None:
    assert check_pools(UPSTREAM_DATA) == {"upstream_detection": []}


def with_upstream(upstream: DataSpec) -> DataSpec:
    return MICRO_DATA.model_copy(update={"upstream_detection": upstream})


def study_on(data: DataSpec) -> Study:
    start = {"init.source": "detector", "init.weights": "upstream_detector"}
    return Study(
        study="starts",
        data=data,
        regimes={"full": RegimeSpec(images="all")},
        recipe="tiny_retinanet",
        arms={"detector": ArmSpec(set=start)},
    )
