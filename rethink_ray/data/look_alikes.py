"""Finds pictures that look like one of another split in use: frames of a video, edited copies.

Such pictures are told as leaks and stay where they are: ``data.split`` alone decides by likeness.
Splits that it cut so are not compared with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.cut_splits import is_cut, locate_split
from rethink_ray.data.dealing import GIVER
from rethink_ray.data.leaks import Leak
from rethink_ray.data.near_duplicates import find_nearest_alike, read_looks
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.hashing import sha256_of_file
from rethink_ray.spec.regime import HOLDOUTS, DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The pictures of a split, and how they look. All fields have length N."""

    paths: Sequence[str]
    digests: Sequence[bytes]
    looks: NDArray[np.int8]
    """[N, 64]."""


def find_look_alikes(data: DataSpec) -> list[Leak]:
    """Returns a ``Leak`` for each pair of splits in use of which pictures look alike.

    Each picture of the first split stands beside the one of the other split that looks most like
    it. Pictures that are equal byte for byte are left out: ``find_leaks`` returns those. Train is
    compared without its hold-outs.

    Raises:
        DataError: a split cannot be opened.
    """
    used = dict.fromkeys(("train", data.select_split, data.report_split))
    pairs = [pair for pair in combinations(used, 2) if not _is_cut_by_looks(data, *pair)]
    scenes = {split: _look_at(data, split) for split in dict.fromkeys(chain.from_iterable(pairs))}
    leaks = []
    for split, other in pairs:
        first, second = scenes[split], scenes[other]
        copied = {*second.digests}
        rows = find_nearest_alike(first.looks, second.looks)
        alike = ((row, twin) for row, twin in rows if first.digests[row] not in copied)
        named = tuple(sorted((first.paths[row], second.paths[twin]) for row, twin in alike))
        leaks += [Leak(split=split, other=other, pairs=named)] if named else []
    return leaks


def _is_cut_by_looks(data: DataSpec, split: str, other: str) -> bool:
    """Returns whether ``data.split`` kept look-alikes of two splits on one side."""
    by_looks = data.split is not None and data.split.group == "near_duplicates"
    return by_looks and is_cut(data, split) and is_cut(data, other)


def _look_at(data: DataSpec, split: str) -> _Scene:
    """Returns the pictures of a split; train without its hold-outs."""
    index = open_split(data, split)
    pictures = index.pictures(trainable_image_ids(data) if split == GIVER else None)
    source = locate_split(data, GIVER if split in HOLDOUTS else split)
    digests = [
        digest or sha256_of_file(path)
        for path, digest in zip(pictures.paths, pictures.digests, strict=True)
    ]
    looks = read_looks(source.image_folders(), list(map(Path, pictures.paths)), digests)
    return _Scene(paths=pictures.paths, digests=digests, looks=looks)
