"""Random numbers and orders for data, each a hash of (purpose, seed, position).

So there is no generator state to save, and a resumed run repeats every choice.
"""

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_of(*parts: str | int) -> str:
    """64 hex characters that name these parts, in this order."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


def seed_from(*parts: str | int) -> int:
    """A 63-bit seed for exactly this purpose and position."""
    return int(digest_of(*parts)[:16], 16) >> 1


def generator_from(*parts: str | int) -> np.random.Generator:
    """A numpy generator for exactly this purpose and position."""
    return np.random.Generator(np.random.PCG64(seed_from(*parts)))


def hash_order(purpose: str, seed: int, image_ids: Iterable[int]) -> list[int]:
    """Sorts the ids by a hash of (purpose, seed, id).

    The relative order of two ids depends on no other id. So the first n ids of two sets of images
    are nested subsets.
    """
    return sorted(image_ids, key=lambda image_id: (digest_of(purpose, seed, image_id), image_id))
