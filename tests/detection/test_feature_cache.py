"""Cached maps of frozen networks equal computed ones bit for bit, and equal pixels pass once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from rethink_ray.detection.detectors import Detector, build_detector
from rethink_ray.detection.feature_cache import (
    FEATURES_VARIABLE,
    FeatureCache,
    FrozenForward,
    StageMaps,
    open_feature_cache,
)
from rethink_ray.detection.necks import Pyramid
from rethink_ray.spec.errors import SpecError
from rethink_ray.spec.recipe import Family, Frozen, InitSpec, Norm
from tests.detection.tiny_detectors import pictures, tiny
from tests.refusals import refused

ROOM = 10**7
BATCHES = ((0, 1, 2, 3), (3, 0, 1, 2), (0, 1, 2, 3), (1,), (4, 0, 5), (1, 4), (4, 6), (1,))
"""Numbers of the images in each batch; 5 and 6 are first seen beside known ones."""


def frozen_detector(
    family: Family = "retinanet", norm: Norm = "gn", upto: Frozen = "backbone", seed: int = 0
) -> Detector:
    return build_detector(tiny(family, norm), InitSpec(frozen=upto), 3, seed=seed)


def pyramid_of(detector: Detector) -> Pyramid:
    pyramid = detector.network.get_submodule("backbone")
    assert isinstance(pyramid, Pyramid)
    return pyramid


def batch_of(numbers: Sequence[int]) -> Tensor:
    images = pictures(7)
    return torch.stack([images[number] for number in numbers])


@contextmanager
def counted_images(detector: Detector) -> Iterator[list[int]]:
    """The number of images in each pass through the backbone's first stage."""
    passed: list[int] = []
    hook = detector.backbone.get_submodule("stem").register_forward_hook(
        lambda _, inputs, __: passed.append(len(inputs[0]))
    )
    yield passed
    hook.remove()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("family", "norm", "upto"),
    [
        ("retinanet", "gn", "backbone"),
        ("faster_rcnn", "bn", "neck"),
        ("fcos", "frozen_bn", "heads"),
    ],
)
def test_cached_maps_equal_computed_ones_bit_for_bit(
    family: Family, norm: Norm, upto: Frozen, precision: str
) -> None:
    computing, caching = (pyramid_of(frozen_detector(family, norm, upto)) for _ in range(2))
    caching.cache_features(FeatureCache(ROOM), in_training=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for numbers in BATCHES:
            maps, expected = caching(batch_of(numbers)), computing(batch_of(numbers))
            assert list(maps) == list(expected)
            for name, one in expected.items():
                assert torch.equal(maps[name], one)
                assert (maps[name].dtype, maps[name].stride()) == (one.dtype, one.stride())


def test_equal_pixels_pass_a_frozen_backbone_once() -> None:
    detector = frozen_detector()
    pyramid = pyramid_of(detector)
    pyramid.cache_features(FeatureCache(ROOM), in_training=True)
    with counted_images(detector) as passed:
        pyramid(batch_of((0, 1, 2, 3)))
        assert passed == [4, 2, 2]  # the batch, then all of it in pairs
        pyramid(batch_of((3, 2, 1, 0)))
        pyramid(batch_of((2, 0, 1, 2)))
        assert passed == [4, 2, 2]
        pyramid(batch_of((4, 0, 5, 1)))
        assert passed == [4, 2, 2, 2, 2]  # the new pair, and the same pair turned
        pyramid(batch_of((6, 0, 5, 1)))
        pyramid(batch_of((6, 6, 5, 4)))
        assert passed == [4, 2, 2, 2, 2, 2]  # the new image takes a neighbour along
        pyramid(batch_of((6,)))
        pyramid(batch_of((6,)))
        assert passed == [4, 2, 2, 2, 2, 2, 1]  # alone it has other last bits


def test_in_training_only_pixels_that_repeat_are_cached_and_in_scoring_all() -> None:
    detector, features = frozen_detector(), FeatureCache(ROOM)
    pyramid_of(detector).cache_features(features, in_training=False)
    pyramid_of(detector)(batch_of((0, 1)))
    assert len(features) == 0
    detector.detect(pictures(2))
    assert len(features) == 2


@pytest.mark.parametrize(("upto", "adapters"), [("none", 0.0), ("layer3", 0.0), ("backbone", 0.25)])
def test_a_backbone_in_which_something_trains_is_not_cached(upto: Frozen, adapters: float) -> None:
    features = FeatureCache(ROOM)
    detector = build_detector(tiny(adapters=adapters), InitSpec(frozen=upto), 3, seed=0)
    pyramid_of(detector).cache_features(features, in_training=True)
    pyramid_of(detector)(batch_of((0, 1)))
    assert len(features) == 0


def test_no_gradient_is_recorded_in_the_frozen_stages() -> None:
    def list_recorded(upto: Frozen) -> list[str]:
        maps = frozen_detector(upto=upto).backbone(batch_of((0, 1)))
        return [name for name, one in maps.items() if one.requires_grad]

    assert list_recorded("layer2") == ["layer3", "layer4"]
    assert list_recorded("backbone") == []


def test_other_weights_another_precision_and_another_thread_count_have_maps_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = FeatureCache(ROOM)
    caching, other = frozen_detector(), frozen_detector(seed=1)
    pyramid_of(caching).cache_features(features, in_training=True)
    images = batch_of((0, 1))
    pyramid_of(caching)(images)
    assert len(features) == 2
    caching.load_state_dict(other.state_dict())
    maps, expected = pyramid_of(caching)(images), pyramid_of(other)(images)
    assert all(torch.equal(maps[name], one) for name, one in expected.items())
    assert len(features) == 4
    with torch.autocast("cpu", torch.bfloat16):
        pyramid_of(caching)(images)
    assert len(features) == 6
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    pyramid_of(caching)(images)
    assert len(features) == 8


def test_maps_that_depend_on_neighbours_are_never_cached() -> None:
    def minus_mean(images: Tensor) -> StageMaps:
        return OrderedDict(one=images - images.mean(dim=0))

    features = FeatureCache(ROOM)
    forward = FrozenForward(features, "", in_training=True)
    for numbers in ((0, 1, 2), (2, 1, 0), (0, 3, 4)):
        images = batch_of(numbers)
        maps = forward(images, nn.Identity(), minus_mean)
        assert torch.equal(maps["one"], minus_mean(images)["one"])
    assert len(features) == 0


def double(images: Tensor) -> StageMaps:
    """Maps of 3 x 64 x 64 x 4 = 49,152 bytes an image."""
    return OrderedDict(one=2 * images)


def test_a_run_whose_maps_do_not_all_fit_keeps_those_that_do_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    features = FeatureCache(3 * 49_152)
    forward = FrozenForward(features, "", in_training=True)
    with caplog.at_level("INFO"):
        for numbers in ((0, 1), (2, 3), (4, 5), (0, 5)):
            images = batch_of(numbers)
            assert torch.equal(forward(images, nn.Identity(), double)["one"], 2 * images)
    assert len(features) == 3
    assert len(caplog.records) == 1


def test_maps_of_earlier_runs_make_room_the_least_recently_used_first() -> None:
    features = FeatureCache(4 * 49_152)
    first, second = (FrozenForward(features, "", in_training=True) for _ in range(2))
    first(batch_of((0, 1)), nn.Identity(), double)
    first(batch_of((2, 3)), nn.Identity(), double)
    second(batch_of((0, 1)), nn.Identity(), double)
    second(batch_of((4, 5)), nn.Identity(), double)
    computed: list[int] = []

    def count(images: Tensor) -> StageMaps:
        computed.append(len(images))
        return double(images)

    second(batch_of((0, 1, 4, 5)), nn.Identity(), double)  # tries four images
    second(batch_of((0, 1, 4, 5)), nn.Identity(), count)
    assert computed == []
    assert len(features) == 4


def test_equal_pixels_are_read_under_every_layout_of_memory() -> None:
    features = FeatureCache(ROOM)
    forward = FrozenForward(features, "", in_training=True)
    images = batch_of((0, 1, 2)).to(memory_format=torch.channels_last)
    for _ in range(2):
        maps = forward(images, nn.Identity(), double)
        assert maps["one"].is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(maps["one"], 2 * images)


def test_the_size_of_the_cache_is_a_whole_number_of_megabytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FEATURES_VARIABLE, "3")
    assert open_feature_cache() is open_feature_cache()
    assert open_feature_cache().capacity_bytes == 3 * 1024**2
    monkeypatch.setenv(FEATURES_VARIABLE, "many")
    with refused(SpecError, "detection", "size of the cache of features"):
        open_feature_cache()
