"""How many weights a detector has, known without torch for every detector that was counted before.

Importing torch to build a detector takes seconds, and a plan needs only one number of each. Counts
for the studies that ship are in ``shipped_sizes.json``; others are kept in this machine's cache.
"""

import json
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rethink_ray.records.whole_files import write_atomically
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.hashing import digest_of
from rethink_ray.spec.networks import TIMM, is_own
from rethink_ray.spec.recipe import DetectorSpec, InitSpec

SHIPPED_SIZES = Path(__file__).with_name("shipped_sizes.json")


@cache
def num_weights(detector: DetectorSpec, num_categories: int) -> int:
    """Weights of a detector, heads included."""
    key = size_key(detector, num_categories)
    if key in (shipped := read_shipped_sizes()):
        return shipped[key]
    is_own_backbone = is_own(detector.backbone) and not detector.backbone.startswith(TIMM)
    if is_own_backbone or is_own(detector.family):  # their code may change at any time
        return count_built_weights(detector, num_categories)
    path = cache_folder() / "sizes" / f"{key}-{_code_digest()}"
    with suppress(OSError, ValueError):
        return int(path.read_text())
    counted = count_built_weights(detector, num_categories)
    with suppress(OSError):
        write_atomically(path, str(counted))
    return counted


def count_built_weights(detector: DetectorSpec, num_categories: int) -> int:
    """Weights of a detector, counted on one that torch builds without allocating them.

    A detector of other code whose building needs numbers is allocated.
    """
    import torch

    from rethink_ray.detection.detectors import build_detector
    from rethink_ray.detection.own_network import build_without_content

    if is_own(detector.family):
        built: torch.nn.Module = build_without_content(detector, num_categories)
    else:
        with torch.device("meta"):
            built = build_detector(detector, InitSpec(), num_categories, seed=0)
    return sum(p.numel() for p in built.parameters())


def size_key(detector: DetectorSpec, num_categories: int) -> str:
    """Names a detector in the table and in the cache."""
    return digest_of([detector.model_dump(mode="json"), num_categories])


@cache
def read_shipped_sizes() -> dict[str, int]:
    """Key -> weights, of every detector in the studies that ship."""
    return {key: int(row["weights"]) for key, row in json.loads(SHIPPED_SIZES.read_text()).items()}


@cache
def _code_digest() -> str:
    """Changes with the code that builds detectors."""
    sources = [path.read_text() for path in sorted(SHIPPED_SIZES.parent.glob("*.py"))]
    return digest_of([*sources, version("torchvision"), _timm_version()])


def _timm_version() -> str:
    try:
        return version("timm")
    except PackageNotFoundError:
        return ""
