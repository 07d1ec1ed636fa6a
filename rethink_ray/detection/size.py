"""How many numbers a detector has, told without allocating them."""

from functools import cache

import torch

from rethink_ray.detection.detectors import build_detector
from rethink_ray.spec.recipe import DetectorSpec, InitSpec


@cache
def num_weights(detector: DetectorSpec, num_categories: int) -> int:
    """Weights of a detector, heads included."""
    with torch.device("meta"):
        built = build_detector(detector, InitSpec(), num_categories, seed=0)
    return sum(p.numel() for p in built.parameters())
