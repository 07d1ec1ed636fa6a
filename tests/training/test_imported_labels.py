"""A run on another tool's detections: their file is part of its id, and of its asset."""

import json
from pathlib import Path
from typing import Any

import pytest

from rethink_ray.data.facts import digest_of_file
from rethink_ray.data.splits import open_split
from rethink_ray.spec.assets import ImportedLabelsAsset, assets_of
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.assets import build_asset
from rethink_ray.training.label_files import part_path
from rethink_ray.training.run import train_config
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.training.runs import climb, climb_with_stops, digest, numbers

DATA = MICRO_DATA.model_copy(
    update={"shapes": MICRO_DATA.shapes.model_copy(update={"unlabelled": 4})}
)


def write_detections(path: Path, scores: tuple[float, ...] = (0.9, 0.4)) -> Path:
    """One box on each of the first pictures of the pool, with these scores."""
    pool = open_split(DATA, "unlabelled")
    names = [Path(name).name for name in pool.pictures().paths]
    box = {"category_id": 1, "bbox": [8, 8, 24, 24]}
    records = [{"image_id": n, "score": s} | box for n, s in zip(names, scores, strict=False)]
    path.write_text(json.dumps(records))
    return path


def importing(path: Path, **settings: Any) -> TrialConfig:
    """A run on these labels, resolved as a study resolves it."""
    labels = {"labels__kind": "imported", "labels__file": str(path), "labels__threshold": 0.3}
    recipe = micro_recipe(**{"batch_size": 4, **labels, **settings})
    config = micro_trial(recipe, data=DATA)
    return config.model_copy(update={"labels_digest": digest_of_file(str(path), "labels.file")})


def built(config: TrialConfig, assets: Path) -> dict[str, float]:
    [asset] = assets_of(config)
    done = build_asset(asset, config.data, assets)
    return {**done.metrics, "is_refused": float(bool(done.refused))}


def test_the_file_is_counted_like_a_teachers_labels(tmp_path: Path) -> None:
    path = write_detections(tmp_path / "d.json", (0.9, 0.5, 0.2))
    metrics = built(importing(path), tmp_path / "assets")
    counts = {name: metrics[name] for name in ("images", "images_kept", "images_empty", "boxes")}
    assert counts == {"images": 4, "images_kept": 2, "images_empty": 2, "boxes": 2}
    assert metrics["mean_score"] == pytest.approx(0.7)
    assert metrics["left_out/below_threshold"] == 1
    assert not metrics["is_refused"]


def test_a_threshold_above_every_score_refuses_the_labels(tmp_path: Path) -> None:
    config = importing(write_detections(tmp_path / "d.json"), labels__threshold=0.95)
    [asset] = assets_of(config)
    refused = build_asset(asset, config.data, tmp_path / "assets").refused
    assert refused.endswith("has nothing above labels.threshold 0.95 on 4 images; lower it")


def test_ids_depend_on_the_content_of_the_file_and_not_on_its_path(tmp_path: Path) -> None:
    first = importing(write_detections(tmp_path / "a.json"))
    moved = importing(write_detections(tmp_path / "b.json"))
    other = importing(write_detections(tmp_path / "c.json", (0.9, 0.8)))
    assert first.trial_id == moved.trial_id != other.trial_id
    assert assets_of(first)[0].key == assets_of(moved)[0].key != assets_of(other)[0].key
    assert importing(tmp_path / "a.json", labels__start="init").trial_id == first.trial_id


def test_the_training_images_outside_a_regime_can_be_the_pool(tmp_path: Path) -> None:
    path = write_detections(tmp_path / "d.json")
    config = importing(path, labels__pool="rest")
    redrawn = config.model_copy(update={"draw": 1, "regime_digest": "another"})
    assert assets_of(config)[0].key != assets_of(redrawn)[0].key
    unlabelled = importing(path)
    same = unlabelled.model_copy(update={"draw": 1, "regime_digest": "another"})
    assert assets_of(unlabelled) == assets_of(same)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = importing(write_detections(tmp_path / "d.json"), optimizer__ema={"half_life": 0.5})
    assets = tmp_path / "assets"
    built(config, assets)
    whole = climb(config, tmp_path / "whole", (2.0,), assets=assets)
    parts, stops = climb_with_stops(config, tmp_path / "parts", (2.0,), every=4, assets=assets)
    assert stops > 1
    assert numbers(parts) == numbers(whole)
    assert digest(tmp_path / "parts", 2.0) == digest(tmp_path / "whole", 2.0)
    effective = json.loads((tmp_path / "whole" / "effective.json").read_text())["effective"]
    settings = {name: effective[f"labels.{name}"] for name in ("kind", "threshold", "pool")}
    assert settings == {"kind": "imported", "threshold": 0.3, "pool": "unlabelled"}
    assert effective["labels.share"] == 0.5


def test_a_run_alone_imports_its_labels_first_and_damaged_ones_again(tmp_path: Path) -> None:
    config = importing(write_detections(tmp_path / "d.json"))
    rungs = train_config(config, tmp_path / "run", lengths=(2.0,))
    [asset] = assets_of(config)
    assert isinstance(asset, ImportedLabelsAsset)
    part = part_path(tmp_path / "run" / "assets" / asset.key, 0)
    part.write_bytes(part.read_bytes()[:-20])
    again = climb(config, tmp_path / "again", (2.0,), assets=tmp_path / "run" / "assets")
    assert again[0].metrics["val/ap"] == rungs[0].metrics["val/ap"]


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    config = importing(write_detections(tmp_path / "d.json"))
    write_detections(tmp_path / "d.json", (0.9, 0.8))
    with pytest.raises(DataError, match="must be the file that the study was started with"):
        built(config, tmp_path / "assets")
