"""Every random choice about data, derived from what the choice is for.

No generator state exists to be saved: a number is a hash of (purpose, seed, position).
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
    """The ids in an order that depends on (purpose, seed, id) and on nothing else.

    Neither the order they came in nor which other ids there are moves one id before another:
    that makes every prefix a nested subset.
    """
    return sorted(image_ids, key=lambda image_id: (digest_of(purpose, seed, image_id), image_id))
