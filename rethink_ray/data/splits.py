"""Opens the index of a split as a study uses it; builds it on first use.

An index is stored under a hash of the annotation files, and built again when a picture changes.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from rethink_ray.data.build import (
    INDEX_VERSION,
    IndexLabels,
    build_from_source,
)
from rethink_ray.data.cache import build_anew, build_once
from rethink_ray.data.chance import hash_order
from rethink_ray.data.contents import (
    RETRIED,
    UNSETTLED,
    are_unchanged,
    find_same_pictures,
    is_readable,
    read_size_and_time,
)
from rethink_ray.data.cut_splits import is_cut, locate_split, refresh_cut
from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.inspection import Inspector, inspect_pictures
from rethink_ray.data.sources.raw import SplitSource
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import (
    HOLDOUTS,
    REPORT_HOLDOUT,
    DataSpec,
    HoldoutSpec,
    num_reported,
    num_reserved,
)

OPENINGS = 3
"""Attempts to open an index that another process is replacing."""
CHECKED_UNREAD = 64
"""Unreadable files that opening an index looks at again; ``refresh_split`` looks at all."""


def open_split(data: DataSpec, split: str) -> AnnotationIndex:
    """Returns the index of train, val, test or a hold-out; builds it on first use.

    If the hold-out of ``select_on`` is a share of each regime, this is that of the largest regime;
    ``regimes.open_scored`` opens those of smaller ones.

    Labels of every split follow the categories of train. An index that lacks unreadable images is
    built again once one of them can be read. Under ``data.duplicates: drop`` train has no picture
    of a scoring split, and the selecting split has no picture of the reporting split. Under
    ``data.keep_empty: false`` train has no image without an object to learn from.

    Raises:
        DataError: the data set has no such split, or no image of it is left.
    """
    if split in HOLDOUTS:
        return _open_holdout(data, split)
    index = open_listed(data, split)
    if data.duplicates == "drop":
        index = _drop_duplicates(data, split, index)
    return index if data.keep_empty or split != "train" else _drop_empty(data, index)


def open_listed(data: DataSpec, split: str) -> AnnotationIndex:
    """Returns the index of train, val, test or unlabelled with all readable images.

    Duplicates and images without an object are among them.

    Raises:
        DataError: the data set has no such split, or no image of it can be read.
    """
    source, shared = _source_and_labels(data, split)
    directory = _locate_index(source, shared)
    build = partial(build_from_source, source, shared, _inspector(source, split))
    index = _open_index(directory, build)
    return _rebuild(directory, build) if _has_new_file(index) else index


def refresh_split(data: DataSpec, split: str) -> AnnotationIndex:
    """Returns the index of a split; builds it again if a picture file has changed.

    The splits and the errors are those of ``open_listed``. A split that is cut from train may have
    other pictures after a change.
    """
    if is_cut(data, split):
        refresh_cut(data)
    index = open_listed(data, split)
    lasting = {path: seen for path, seen in index.unread.items() if seen.changed_ns != RETRIED}
    earlier = {**index.file_contents(), **lasting}
    is_unchanged = are_unchanged([*earlier], [*earlier.values()])
    if is_unchanged and not _has_new_file(index, len(index.unread)):
        return index
    source, shared = _source_and_labels(data, split)
    build = partial(build_from_source, source, shared, _inspector(source, split))
    return _rebuild(index.directory, build)


def _inspector(source: SplitSource, split: str, *, anew: bool = False) -> Inspector:
    """Returns an inspector that does not hash unlabelled images, of which there may be millions."""
    is_hashed = split != "unlabelled"
    return partial(inspect_pictures, source.image_folders(), hashed=is_hashed, anew=anew)


def _has_new_file(index: AnnotationIndex, most: int = CHECKED_UNREAD) -> bool:
    """Returns whether one of the first unreadable files is another file now, or opens again."""
    for path, seen in list(index.unread.items())[:most]:
        if seen.changed_ns == RETRIED:
            if is_readable(path):
                return True
            continue
        num_bytes, changed_ns = read_size_and_time(path)
        if num_bytes != seen.num_bytes or seen.changed_ns not in (changed_ns, UNSETTLED):
            return True
    return False


def _drop_duplicates(data: DataSpec, split: str, index: AnnotationIndex) -> AnnotationIndex:
    """Leaves out pictures that another split keeps.

    For train these are the scoring splits, for the selecting split it is the reporting split.
    """
    scoring = {data.report_split, data.select_split} - HOLDOUTS
    reporting = {data.report_split} - HOLDOUTS
    keepers = {"train": scoring, data.select_split: reporting}.get(split, set()) - {split}
    pictures = index.pictures()
    rows = {
        row
        for other in keepers
        for row, _ in find_same_pictures(pictures, open_listed(data, other).pictures())
    }
    if not rows:
        return index
    kept = [int(key) for row, key in enumerate(index.image_ids) if row not in rows]
    if not kept:
        must = f"must hold an image that {' and '.join(sorted(keepers))} does not"
        remedy = "Take other files for one of the splits, or set data.duplicates: refuse."
        raise DataError(explain(f"split {split}", must, "none", remedy))
    return AnnotationIndex(index.directory, only=tuple(kept))


def _drop_empty(data: DataSpec, train: AnnotationIndex) -> AnnotationIndex:
    """Leaves out training images without an object, or without enough visible keypoints."""
    if data.min_keypoints and not train.keypoint_names:
        must = "must be left out, or 0, where training annotations have no keypoints"
        raise DataError(explain("data.min_keypoints", must, data.min_keypoints))
    rows = np.searchsorted(train.image_column("image_id"), train.image_ids)
    kept = train.image_ids[train.has_learnable(data.min_keypoints)[rows]]
    if len(kept) == len(train):
        return train
    if not len(kept):
        must = "must hold an image with an object, or enough keypoints, to learn from"
        remedy = "Check the annotations, or set data.keep_empty: true."
        raise DataError(explain("split train", must, "none", remedy))
    return AnnotationIndex(train.directory, only=tuple(map(int, kept)))


def _open_index(directory: Path, build: Callable[[Path], None]) -> AnnotationIndex:
    """Opens the index in ``directory``, again if another process is replacing it."""
    for _ in range(OPENINGS - 1):
        before = _read_inode(build_once(directory, build))
        try:
            return AnnotationIndex(directory)
        except DataError:
            if before is not None and _read_inode(directory) == before:
                raise
    return AnnotationIndex(build_once(directory, build))


def _rebuild(directory: Path, build: Callable[[Path], None]) -> AnnotationIndex:
    """Builds and opens a new index in place of the old one."""
    build_anew(directory, build)
    return _open_index(directory, build)


def _read_inode(directory: Path) -> int | None:
    """Returns the folder's inode number; ``None`` while another process is replacing it."""
    try:
        return directory.stat().st_ino
    except FileNotFoundError:
        return None


def build_index(data: DataSpec, split: str) -> AnnotationIndex:
    """Builds the index of train, val or test anew, reads every picture, and returns the index.

    Raises:
        DataError: the data set has no such split, or no image of it can be read.
    """
    if is_cut(data, split) and split == "train":
        refresh_cut(data, anew=True)
    source, shared = _source_and_labels(data, split)
    build = partial(build_from_source, source, shared, _inspector(source, split, anew=True))
    return _rebuild(_locate_index(source, shared), build)


def _source_and_labels(data: DataSpec, split: str) -> tuple[SplitSource, IndexLabels | None]:
    """Returns the split's source, and train's categories and levels; ``None`` for train itself."""
    source = locate_split(data, split)
    if split == "train":
        return source, None
    train = open_listed(data, "train")
    return source, IndexLabels(categories=train.categories, level_ranges=train.level_ranges)


def _locate_index(source: SplitSource, shared: IndexLabels | None) -> Path:
    key = digest_of_parts(
        "index",
        INDEX_VERSION,
        source.image_folders(),
        source.salt,
        source.hash_annotations(),
        *(("train",) if shared is None else ("labels of", *shared.categories)),
        *(() if shared is None else map(str, sorted(shared.level_ranges.items()))),
    )
    return cache_folder() / "index" / key[:24]


def list_remaining(
    data: DataSpec, train: AnnotationIndex, held_out: Iterable[int]
) -> tuple[int, ...]:
    """Returns the images of train that are not held out, ascending.

    Under ``data.duplicates: drop`` those that show a held-out picture are left out, too.
    """
    apart = set(held_out)
    left = [int(key) for key in train.image_ids if int(key) not in apart]
    if not apart or data.duplicates != "drop":
        return tuple(left)
    twins = find_same_pictures(train.pictures(left), train.pictures(sorted(apart)))
    dropped = {left[row] for row, _ in twins}
    return tuple(key for key in left if key not in dropped)


def _open_holdout(data: DataSpec, split: str) -> AnnotationIndex:
    """Opens a hold-out: the one that reports is cut from train, the other one from the rest."""
    is_reporting = split == REPORT_HOLDOUT
    key, scored = ("report_on", data.report_on) if is_reporting else ("select_on", data.select_on)
    if not isinstance(scored, HoldoutSpec):
        must = "must be {holdout: N} for a study with a hold-out"
        raise DataError(explain(f"data.{key}", must, scored))
    train = open_split(data, "train")
    cut_first = () if is_reporting else _list_reported(data)
    left = list_remaining(data, train, cut_first)
    num = (num_reported if is_reporting else num_reserved)(scored.holdout, len(left))
    if num >= len(left):
        must = f"must leave some of the {len(left)} readable training images to train on"
        is_share = isinstance(scored.holdout, str)
        shown = f"{scored.holdout} (at least {num} images)" if is_share else scored.holdout
        raise DataError(explain(f"data.{key}.holdout", must, shown, "Ask for fewer."))
    order = hash_order("report holdout" if is_reporting else "holdout", data.subset_seed, left)
    return AnnotationIndex(train.directory, only=tuple(order[:num]))


def _list_reported(data: DataSpec) -> tuple[int, ...]:
    """Returns the training images that ``report_on`` holds out; none if it names a split."""
    if not isinstance(data.report_on, HoldoutSpec):
        return ()
    return tuple(map(int, open_split(data, REPORT_HOLDOUT).image_ids))
