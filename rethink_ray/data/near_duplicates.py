"""Finds pictures that look alike: frames of a video, copies that were mirrored, turned or edited.

The look of a picture is a perceptual hash with 63 digits: the low frequencies of its gray pixels,
whatever its size, brightness and contrast. Looks are compared in all eight orientations.
"""

import logging
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rethink_ray.data.contents import FILES_AT_ONCE
from rethink_ray.data.orientation import parse_header
from rethink_ray.data.pictures import BROKEN, open_rgb
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.hashing import digest_of_parts

LOOK_VERSION = 1
"""Raise it when the same picture would get another look."""
GRAY_PX, NUM_FREQUENCIES = 32, 8
"""Side of the gray picture that is looked at, and frequencies along each side."""
LOOK_NORM = 127
"""The length of a look as a vector; its digits fit into eight bits."""
ALIKE = 0.75
"""Similarity from which two pictures belong together; equal pictures have 1."""
MOST_PRODUCTS = 2**24
"""Numbers that a comparison of looks holds in memory at a time."""

Look = NDArray[np.int8]
"""[64]: vertical frequency times 8 plus horizontal frequency; the first is 0."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Pairs of pictures that look alike: enough pairs to connect all that belong together.

    They are a spanning forest of all pairs, by the smallest distances: pictures that a chain of
    pairs up to some distance connects are connected here by such pairs, too.
    """

    first: NDArray[np.int64]
    """[E], rows of pictures."""
    second: NDArray[np.int64]
    """[E]."""
    distance: NDArray[np.int64]
    """[E], 0 for the same look; ``LOOK_NORM`` squared would be no likeness at all."""


def read_looks(folders: str, paths: Sequence[Path], digests: Sequence[bytes]) -> NDArray[np.int8]:
    """Returns the look of each picture: [N, 64]; reads only pictures whose content is new.

    A picture that cannot be read any more looks like nothing: its look is 0.

    Args:
        folders: the image folders, one per line; each such text names another store.
        paths: the files.
        digests: the SHA-256 of each file, under which looks are stored.
    """
    store = cache_folder() / "looks" / f"{digest_of_parts('looks', LOOK_VERSION, folders)[:24]}.npz"
    known = _read_store(store)
    new = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    if new:
        with ThreadPoolExecutor(max(FILES_AT_ONCE, os.cpu_count() or 1)) as pool:
            looks = dict(zip(new, pool.map(read_look, new.values()), strict=True))
        known = {**known, **{digest: look for digest, look in looks.items() if look is not None}}
        _write_store(store, known)
    rows = [known.get(digest, _build_blank()) for digest in digests]
    return np.array(rows, np.int8).reshape(-1, NUM_FREQUENCIES**2)


def read_look(path: Path) -> Look | None:
    """Returns the look of a picture; ``None`` if it cannot be read any more.

    Of a large JPEG an eighth of the size is decoded. A picture of one colour looks like nothing.

    Each frequency counts by the root of its strength: strong ones would hide all others, and signs
    alone would give weak ones, which noise turns, the same weight.
    """
    try:
        gray = _read_gray(path)
    except BROKEN as error:
        _log.warning("%s cannot be compared with other pictures: %s", path, error)
        return None
    waves, weights = _build_waves()
    strength = (waves @ gray @ waves.T) * weights
    roots = np.sign(strength) * np.sqrt(np.abs(strength))
    length = float(np.linalg.norm(roots))
    if length < 1e-6:  # one colour
        return _build_blank()
    return np.rint(roots * (LOOK_NORM / length)).astype(np.int8).reshape(-1)


def _build_blank() -> Look:
    """Returns the look of nothing, which is like no other."""
    return np.zeros(NUM_FREQUENCIES**2, np.int8)


def find_near_duplicates(looks: NDArray[np.int8]) -> Likeness:
    """Returns which pictures look alike, in any of the eight orientations.

    Takes time that grows with the square of their number: 10,000 pictures take seconds.

    Args:
        looks: [N, 64], in an order that depends on the pictures alone: ties go by it.
    """
    num = len(looks)
    kept = Likeness(first=_none(), second=_none(), distance=_none())
    size = max(1, MOST_PRODUCTS // max(num, 1))
    columns = np.ascontiguousarray(looks.T, np.float32)
    for start in range(0, num, size):
        closest = _compare(looks[start : start + size], columns[:, start:])
        rows, others = np.nonzero(closest >= ALIKE * LOOK_NORM**2)
        is_pair = others > rows  # the columns begin at the first of these rows
        rows, others = rows[is_pair], others[is_pair]
        distance = LOOK_NORM**2 - closest[rows, others].astype(np.int64)
        kept = _keep_forest(
            num,
            np.concatenate([kept.first, rows + start]),
            np.concatenate([kept.second, others + start]),
            np.concatenate([kept.distance, np.maximum(distance, 0)]),
        )
    return kept


def find_nearest_alike(looks: NDArray[np.int8], others: NDArray[np.int8]) -> list[tuple[int, int]]:
    """Pairs each row that looks like one of the others with the one that it is most like.

    Args:
        looks: [N, 64].
        others: [M, 64], of other pictures; of equally similar ones the first counts.
    """
    if not len(looks) or not len(others):
        return []
    pairs: list[tuple[int, int]] = []
    size = max(1, MOST_PRODUCTS // len(others))
    columns = np.ascontiguousarray(others.T, np.float32)
    for start in range(0, len(looks), size):
        closest = _compare(looks[start : start + size], columns)
        twins = closest.argmax(axis=1)
        is_alike = closest[np.arange(len(closest)), twins] >= ALIKE * LOOK_NORM**2
        rows = np.flatnonzero(is_alike)
        pairs += zip((rows + start).tolist(), twins[rows].tolist(), strict=True)
    return pairs


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _compare(looks: NDArray[np.int8], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the product of each look with each column, in the orientation that suits best.

    Products of whole numbers below 2**24 are exact in 32 bits, in whatever order they are added.
    """
    shape = (-1, NUM_FREQUENCIES, NUM_FREQUENCIES)
    sign = np.where(np.arange(NUM_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    upright = looks.reshape(shape).astype(np.float32)
    closest = np.full((len(looks), columns.shape[1]), -np.inf, np.float32)
    for turned in (upright, upright.transpose(0, 2, 1)):
        for vertical in (1, sign[:, None]):
            for horizontal in (1, sign[None, :]):
                variant = (turned * vertical * horizontal).reshape(len(looks), -1)
                np.maximum(closest, variant @ columns, out=closest)
    return closest


def _keep_forest(
    num: int, first: NDArray[np.int64], second: NDArray[np.int64], distance: NDArray[np.int64]
) -> Likeness:
    """Returns the pairs of a minimum spanning forest: at most as many as there are pictures."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    graph = coo_array((distance + 1.0, (first, second)), shape=(num, num))  # 0 would be no pair
    forest = minimum_spanning_tree(graph.tocsr()).tocoo()
    return Likeness(
        first=forest.row.astype(np.int64),
        second=forest.col.astype(np.int64),
        distance=np.rint(forest.data).astype(np.int64) - 1,
    )


def _read_gray(path: Path) -> NDArray[np.float64]:
    """Returns a small square of gray pixels, as stored: looks do not depend on orientation."""
    size = (GRAY_PX, GRAY_PX)
    with Image.open(path) as picture:
        if parse_header(picture).kind:
            gray = open_rgb(path).convert("L")
        else:
            picture.draft("L", size)
            picture.info.pop("transparency", None)  # Pillow would warn that it is left out
            gray = picture.convert("L")
    return np.asarray(gray.resize(size, Image.Resampling.BOX), np.float64)


@cache
def _build_waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the cosine transform, [frequencies, pixels], and the weight of each two frequencies.

    Strengths of photos fall as one over the frequency; weights make up for it. The mean weighs 0.
    """
    frequency = np.arange(NUM_FREQUENCIES)
    middle = 2 * np.arange(GRAY_PX) + 1
    waves = np.cos(np.pi * frequency[:, None] * middle[None, :] / (2 * GRAY_PX))
    weights = np.sqrt(frequency[:, None] ** 2 + frequency[None, :] ** 2)
    return waves, weights


def _read_store(store: Path) -> Mapping[bytes, Look]:
    """Returns digest -> look; empty if there is no store, or a damaged one."""
    try:
        with np.load(store) as arrays:
            digests, looks = arrays["digests"], arrays["looks"]
    except (OSError, ValueError, KeyError, EOFError):
        return {}
    return {digest.tobytes(): look for digest, look in zip(digests, looks, strict=True)}


def _write_store(store: Path, looks: Mapping[bytes, Look]) -> None:
    """Replaces the store. If it cannot be written, the next command reads the pictures again."""
    fresh = store.with_name(f".{store.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            np.savez(file, digests=_stack(looks), looks=np.array([*looks.values()], np.int8))
        os.replace(fresh, store)
    except OSError as error:
        _log.info("cannot store looks of pictures in %s: %s", store.parent, error)


def _stack(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """Returns digests of 32 bytes as rows."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
