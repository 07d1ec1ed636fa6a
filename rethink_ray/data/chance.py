"""Every random choice about data, derived from what the choice is for.

No generator state exists to be saved: a number is a hash of (purpose, seed, position).
"""

from collections.abc import Iterable

import numpy as np

from rethink_ray.spec.hashing import digest_of_parts, seed_from


def generator_from(*parts: str | int) -> np.random.Generator:
    """A numpy generator for exactly this purpose and position."""
    return np.random.Generator(np.random.PCG64(seed_from(*parts)))


def hash_order(purpose: str, seed: int, image_ids: Iterable[int]) -> list[int]:
    """The ids in an order that depends on (purpose, seed, id) and on nothing else.

    Neither the order they came in nor which other ids there are moves one id before another:
    that makes every prefix a nested subset.
    """
    return sorted(
        image_ids, key=lambda image_id: (digest_of_parts(purpose, seed, image_id), image_id)
    )
