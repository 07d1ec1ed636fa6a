"""Decides which runs cache the maps of their frozen backbone."""

import torch

from rethink_ray.detection.detectors import Detector
from rethink_ray.detection.feature_cache import open_feature_cache
from rethink_ray.detection.necks import Pyramid
from rethink_ray.spec.freezing import WHOLE_BACKBONE
from rethink_ray.spec.recipe import Recipe


def cache_frozen_maps(detector: Detector, recipe: Recipe, device: torch.device) -> None:
    """Equal pixels pass a frozen backbone once, with the same bits, if there is room for its maps.

    Scoring shows the same pixels at every rung, training shows them again under flips alone. On
    GPUs nothing is cached: there the bits of a map depend on more than we can compare, and reading
    large maps from the host takes about as long as computing them.
    """
    pyramid, features = getattr(detector.network, "backbone", None), open_feature_cache()
    is_frozen = recipe.init.frozen in WHOLE_BACKBONE
    has_room = features.capacity_bytes > 0 and device.type == "cpu"
    if isinstance(pyramid, Pyramid) and is_frozen and has_room:
        pyramid.cache_features(features, in_training=recipe.augment.repeats_pixels)


def compute_every_map(detector: Detector) -> None:
    """No map is read from the cache any more, as in a study whose maps do not fit."""
    if isinstance(pyramid := getattr(detector.network, "backbone", None), Pyramid):
        pyramid.frozen_forward = None
