"""Every id, digest and seed of the program is made by the functions of this file.

They are spelt in several ways, because records and published numbers carry the values: none of them
may change. What an id of a run covers stands in ``trial_config``.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

IDENTITY = 2
"""Raise it when the same written-out configuration would give other numbers. Identity 1 left
defaults out of its hashes, and its records do not name it."""
FIRST_IDENTITY = 1
"""The identity of records that name none."""

Neutral = Mapping[str, Any]
NEUTRAL: Neutral = {}
"""Dotted path -> the value under which numbers are what they were before the field existed.

List here each field that is added between two identities, so that earlier ids stay:
``{"detector.dilation": 1}``. Paths are a recipe's (``direct.optimizer.lr`` too: a field of a group
that occurs twice is listed twice) or ``resources.<name>``. Empty it when ``IDENTITY`` rises.
"""


def sha256_of(content: str | bytes | memoryview) -> str:
    """64 hex digits over a text or over bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sha256_of_chunks(chunks: Iterable[bytes]) -> str:
    """64 hex digits over chunks, one after the other, which never lie in memory together."""
    running = hashlib.sha256()
    for chunk in chunks:
        running.update(chunk)
    return running.hexdigest()


def sha256_of_file(path: str | PathLike[str]) -> bytes:
    """32 bytes over a file's content.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def digest_of(value: Any) -> str:
    """16 hex digits over a JSON value; the order of its keys does not matter."""
    return sha256_of(json.dumps(value, sort_keys=True, separators=(",", ":")))[:16]


def digest_of_parts(*parts: str | int) -> str:
    """64 hex digits over these parts in this order."""
    return sha256_of("\x1f".join(str(part) for part in parts))


def asset_key(kind: str, made_from: Mapping[str, Any]) -> str:
    """``<kind>-<16 hex digits>`` over the values that determine an asset, under this identity."""
    return f"{kind}-{digest_of({'identity': IDENTITY, 'made_from': made_from})}"


def seed_of(*parts: str | int) -> int:
    """The seed in 0 .. 2**31 - 1 for one purpose of a search; equal parts give equal seeds."""
    return int(sha256_of(json.dumps(parts))[:8], 16) & 0x7FFFFFFF


def seed_of_assets(asset_seed: int) -> int:
    """The seed in 0 .. 2**31 - 1 for the assets of a run that is itself an asset."""
    return int(digest_of(["assets", asset_seed])[:8], 16) & 0x7FFFFFFF


def seed_from(*parts: str | int) -> int:
    """The seed in 0 .. 2**63 - 1 for one purpose and position in the data."""
    return int(digest_of_parts(*parts)[:16], 16) >> 1


def derive_seed(seed: int, purpose: str, *position: int) -> int:
    """The seed in 0 .. 2**63 - 1 for one purpose at one position of a training run."""
    return int(sha256_of("/".join([str(seed), purpose, *map(str, position)]))[:16], 16) >> 1


def derive_words(name: str, num_words: int) -> tuple[int, ...]:
    """``num_words`` unsigned 32-bit numbers from a name, cheaper than as many seeds."""
    digest = hashlib.blake2b(name.encode(), digest_size=4 * num_words).digest()
    return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "big") for i in range(num_words))


def written_out(
    tree: dict[str, Any], group: str = "", neutral: Neutral = NEUTRAL
) -> dict[str, Any]:
    """``tree`` itself as ids hash it: every value, but no younger field at its neutral value.

    Args:
        tree: fresh from ``model_dump(mode="json")``.
        group: the dotted path at which its values stand; empty for a whole recipe.
        neutral: dotted path -> neutral value, as JSON has it.
    """
    for path, value in neutral.items():
        if group and not path.startswith(f"{group}."):
            continue
        *groups, leaf = path.removeprefix(f"{group}.").split(".")
        inner = tree
        for name in groups:
            inner = inner.get(name, {})
        if leaf in inner and inner[leaf] == value:
            del inner[leaf]
    return tree


def machine_of(threads: int, gpus: float) -> dict[str, Any]:
    """The part of the machine that numbers depend on: on CPUs the threads, on GPUs only the kind
    of device."""
    return {"device": "cuda"} if gpus else {"device": "cpu", "threads": threads}
