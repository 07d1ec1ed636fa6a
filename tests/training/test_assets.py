from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rethink_ray.data.upstream import ClassificationSet, open_upstream
from rethink_ray.spec.assets import AssetSpec, assets_of
from rethink_ray.spec.errors import DataError
from rethink_ray.training.assets import build_asset
from rethink_ray.training.checkpoint import load_checkpoint
from rethink_ray.training.classify import batch_indices
from rethink_ray.training.seeding import generator_at
from rethink_ray.training.stopping import Interrupts, Stopped
from rethink_ray.training.upstream_pixels import flip_and_shift
from tests.builders import MICRO_DATA, micro_recipe, micro_trial
from tests.golden_words import assert_says
from tests.training.runs import climb, stop_after


def asset(**settings: object) -> AssetSpec:
    return assets_of(micro_trial(micro_recipe(init__source="upstream", **settings)))[0]


def images() -> ClassificationSet:
    return open_upstream(MICRO_DATA, asset().upstream)


def test_a_built_asset_stands_whole_and_is_left_alone_afterwards(tmp_path: Path) -> None:
    first = build_asset(asset(), MICRO_DATA, tmp_path)
    folder = tmp_path / asset().key
    assert sorted(p.name for p in folder.iterdir()) == ["DONE", "backbone.pt", "spec.json"]
    assert first.key == asset().key
    assert first.metrics["chance"] == 1 / 4
    assert 0 <= first.metrics["accuracy"] <= 1
    assert build_asset(asset(), MICRO_DATA, tmp_path) == first


def test_a_stopped_asset_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    build_asset(asset(), MICRO_DATA, tmp_path / "whole")
    for asked in (3, 2):
        with pytest.raises(Stopped):
            build_asset(
                asset(),
                MICRO_DATA,
                tmp_path / "parts",
                interrupts=Interrupts(stop=stop_after(asked)),
            )
    build_asset(asset(), MICRO_DATA, tmp_path / "parts")
    whole, parts = (
        load_checkpoint(tmp_path / name / asset().key / "backbone.pt")["backbone"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_classifier_no_better_than_chance_is_refused(tmp_path: Path) -> None:
    done = build_asset(asset(upstream__lr=1.0e-9), MICRO_DATA, tmp_path)
    assert "below 0.500, 2 times chance" in done.refused


def test_a_diverged_classifier_is_refused(tmp_path: Path) -> None:
    done = build_asset(asset(upstream__lr=1.0e25), MICRO_DATA, tmp_path)
    assert done.refused.startswith("diverged")


def test_shuffled_labels_are_a_control_and_not_refused(tmp_path: Path) -> None:
    done = build_asset(asset(upstream__labels="shuffled"), MICRO_DATA, tmp_path)
    assert done.refused == ""


def test_a_detector_starts_from_its_assets_backbone(tmp_path: Path) -> None:
    recipe = micro_recipe(init__source="upstream", init__frozen="backbone")
    config = micro_trial(recipe)
    with pytest.raises(DataError, match=assets_of(config)[0].key) as caught:
        climb(config, tmp_path, (2.0,))
    key, folder = assets_of(config)[0].key, str(tmp_path)
    text = str(caught.value).replace(key, "KEY").replace(folder, "FOLDER")
    assert_says("training", "asset that was never built", text)
    build_asset(assets_of(config)[0], MICRO_DATA, tmp_path / "assets")
    climb(config, tmp_path, (2.0,))
    given = load_checkpoint(tmp_path / "assets" / assets_of(config)[0].key / "backbone.pt")
    model = load_checkpoint(tmp_path / "models" / "2x.pt")["model"]
    for name, value in given["backbone"].items():
        assert torch.equal(model[f"network.backbone.body.{name}"], value)


def test_every_training_image_is_seen_once_in_each_epoch() -> None:
    found = images()  # 54 train, 6 val
    spec = asset().upstream.model_copy(update={"batch_size": 27})
    epochs = [np.concatenate([batch_indices(found, spec, s) for s in (e, e + 1)]) for e in (0, 2)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(found.train_indices)
    assert list(epochs[0]) != list(epochs[1])


def test_augmentation_depends_on_its_position_alone() -> None:
    pixels = np.arange(4 * 3 * 8 * 8, dtype=np.uint8).reshape(4, 3, 8, 8)
    first = flip_and_shift(pixels, generator_at(0, "augment", 3))
    assert np.array_equal(first, flip_and_shift(pixels, generator_at(0, "augment", 3)))
    assert not np.array_equal(first, flip_and_shift(pixels, generator_at(0, "augment", 4)))


def test_augmentation_mirrors_and_moves_whole_columns() -> None:
    columns = np.broadcast_to(np.arange(8, dtype=np.uint8), (50, 3, 8, 8))
    moved = flip_and_shift(columns, generator_at(0, "augment", 0))
    # moved by -1, 0 or 1 with the edge repeated, mirrored or not
    right, still, left = [0, 0, 1, 2, 3, 4, 5, 6], list(range(8)), [1, 2, 3, 4, 5, 6, 7, 7]
    expected = {tuple(r) for r in (right, still, left)}
    expected |= {r[::-1] for r in expected}
    assert {tuple(int(v) for v in image[0, 0]) for image in moved} == expected


def test_a_classifier_of_real_pictures_is_measured_on_pictures_that_it_has_not_seen(
    tmp_path: Path,
) -> None:
    """Dark and bright pictures, and torchvision's recipe: four of forty are held out."""
    for number in range(20):
        for name, level in (("dark", 20 + number), ("bright", 200 + number)):
            path = tmp_path / "set" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (level, level, level)).save(path)
    data = MICRO_DATA.model_copy(update={"upstream": str(tmp_path / "set")})
    reference = {"optimizer": "sgd", "lr": 0.05, "classes": 2, "images": 40, "steps": 30}
    recipe = micro_recipe(init__source="upstream", upstream=reference)
    config = micro_trial(recipe).model_copy(update={"data": data})
    done = build_asset(assets_of(config)[0], data, tmp_path / "assets")
    assert done.metrics == {"accuracy": 1.0, "chance": 0.5}
    assert not done.refused


def test_a_classifier_is_trained_on_the_input_of_its_detectors(tmp_path: Path) -> None:
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    plain, other = asset(), asset(init__input=half)
    assert plain.key != other.key
    keys = [build_asset(one, MICRO_DATA, tmp_path).key for one in (plain, other)]
    first, second = (
        load_checkpoint(tmp_path / key / "backbone.pt")["backbone"]["stem.conv1.weight"]
        for key in keys
    )
    assert not torch.equal(first, second)
