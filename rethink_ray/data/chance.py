"""Random numbers and orders for data, each a hash of (purpose, seed, position).

So there is no generator state to save, and a resumed run repeats every choice.
"""

from collections.abc import Iterable

import numpy as np

from rethink_ray.spec.hashing import digest_of_parts, seed_from


def generator_from(*parts: str | int) -> np.random.Generator:
    """A numpy generator for exactly this purpose and position."""
    return np.random.Generator(np.random.PCG64(seed_from(*parts)))


def hash_order(purpose: str, seed: int, image_ids: Iterable[int]) -> list[int]:
    """Sorts the ids by a hash of (purpose, seed, id).

    The relative order of two ids depends on no other id. So the first n ids of two sets of images
    are nested subsets.
    """
    return sorted(
        image_ids, key=lambda image_id: (digest_of_parts(purpose, seed, image_id), image_id)
    )
