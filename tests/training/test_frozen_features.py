"""The cache of frozen maps changes no bit of a run."""

from pathlib import Path

import pytest

from rethink_ray.detection.feature_cache import FEATURES_VARIABLE, open_feature_cache
from rethink_ray.spec.recipe import AugmentSpec
from rethink_ray.training.stopping import Stopped
from tests.builders import micro_recipe, micro_trial
from tests.training.runs import climb, digests, numbers, stop_after

LENGTHS = (2.0, 3.0)
RETINANET = micro_recipe(init__frozen="backbone")
RECIPES = {
    "retinanet": RETINANET,
    "faster_rcnn bf16, neck": micro_recipe(
        "tiny_faster_rcnn", init__frozen="neck", precision="bf16"
    ),
    "fcos frozen_bn, jittered": micro_recipe(
        "tiny_fcos",
        detector__norm="frozen_bn",
        init__frozen="backbone",
        augment__scale=[0.8, 1.2],
    ),
    "thawed": micro_recipe(init__frozen="backbone", init__unfreeze={"after": 1.0}),
}
SLOW = ("fcos frozen_bn, jittered", "thawed")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECIPES]
)
def test_a_ladder_has_the_same_bits_with_the_cache_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = micro_trial(RECIPES[name])
    monkeypatch.setenv(FEATURES_VARIABLE, "0")
    computed = climb(config, tmp_path / "computed", LENGTHS)
    monkeypatch.setenv(FEATURES_VARIABLE, f"{64 + list(RECIPES).index(name)}")
    cached = climb(config, tmp_path / "cached", LENGTHS)
    assert len(open_feature_cache()) > 0
    assert numbers(cached) == numbers(computed)
    assert digests(tmp_path / "cached", LENGTHS) == digests(tmp_path / "computed", LENGTHS)


def test_stops_loader_workers_and_other_trials_of_the_cache_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = micro_trial(RETINANET)
    faster = micro_recipe(init__frozen="backbone", optimizer__lr=0.02)
    monkeypatch.setenv(FEATURES_VARIABLE, "0")
    computed = climb(config, tmp_path / "computed", LENGTHS)
    other = climb(micro_trial(faster), tmp_path / "other computed", (2.0,))

    monkeypatch.setenv(FEATURES_VARIABLE, "81")
    with pytest.raises(Stopped):
        climb(config, tmp_path / "cached", LENGTHS, stop=stop_after(4))
    num_half = len(open_feature_cache())
    monkeypatch.setenv(FEATURES_VARIABLE, "82")  # an empty one, as in another process
    with pytest.raises(Stopped):
        climb(config, tmp_path / "cached", LENGTHS, stop=stop_after(4))
    monkeypatch.setenv(FEATURES_VARIABLE, "81")
    cached = climb(config, tmp_path / "cached", LENGTHS)
    climb(micro_trial(RETINANET, loader_workers=2), tmp_path / "two", (2.0,))
    num_whole = len(open_feature_cache())
    shared = climb(micro_trial(faster), tmp_path / "other cached", (2.0,))

    assert 0 < num_half < num_whole
    assert len(open_feature_cache()) == num_whole  # the same pictures, flips and weights
    assert numbers(cached) == numbers(computed)
    assert numbers(shared) == numbers(other)
    assert digests(tmp_path / "cached", LENGTHS) == digests(tmp_path / "computed", LENGTHS)
    assert digests(tmp_path / "other cached", (2.0,)) == digests(
        tmp_path / "other computed", (2.0,)
    )
    assert digests(tmp_path / "two", (2.0,)) == digests(tmp_path / "computed", (2.0,))


@pytest.mark.parametrize(
    ("settings", "is_repeated"),
    [
        ({}, True),
        ({"flip": 0.0, "short_side_px": (64, 64)}, True),
        ({"short_side_px": (64, 80)}, False),
        ({"level": "s1"}, False),
        ({"scale": (0.8, 1.2)}, False),
        ({"canvas": "square"}, False),
        ({"copy_paste": 0.5}, False),
        ({"policy": "randaugment"}, False),
        ({"color": 0.1}, False),
    ],
)
def test_training_shows_the_same_pixels_again_under_flips_alone(
    settings: dict[str, object], is_repeated: bool
) -> None:
    assert AugmentSpec.model_validate(settings).repeats_pixels == is_repeated
