"""Reads the splits that ``data.split`` cuts from train as if they had files of their own.

A cut is stored in the cache beside the indexes, under a hash of the annotations and of
``data.split``, and made again when a picture changes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from rethink_ray.data.cache import build_anew, build_once
from rethink_ray.data.contents import RETRIED, FileContent, are_unchanged, is_readable
from rethink_ray.data.cut import count_groups, deal_pictures, name_examples
from rethink_ray.data.dealing import GIVER
from rethink_ray.data.grouping import SplitPicture
from rethink_ray.data.inspection import InspectedPicture, hold_lock, inspect_pictures
from rethink_ray.data.learnable import clamp, has_pixels
from rethink_ray.data.near_duplicates import LOOK_VERSION, find_near_duplicates, read_looks
from rethink_ray.data.orientation import Size
from rethink_ray.data.sources.locate import locate_source
from rethink_ray.data.sources.raw import RawImage, RawSplit, SplitSource
from rethink_ray.spec.cache import cache_folder
from rethink_ray.spec.data_split import DataSplit
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import CutFacts
from rethink_ray.spec.hashing import digest_of_parts
from rethink_ray.spec.regime import DataSpec

CUT_VERSION = 1
"""Raise it when the same pictures would be cut in another way."""
CUT_FILE, STAMPS_FILE = "cut.json", "stamps.json"
READINGS = 3
"""Attempts to read a cut that another process is replacing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which pictures of train become val and test."""

    key: str
    """A hash of train's annotations and folders and of ``data.split``."""
    image_ids: Mapping[str, frozenset[int]]
    """Split that was cut -> its images; all others stay in train."""
    facts: CutFacts
    examples: tuple[tuple[str, ...], ...]
    """The first pictures of the largest groups of two or more."""

    @property
    def digest(self) -> str:
        """64 hex digits for the images of all splits that were cut."""
        parts = [
            f"{split} {sorted(image_ids)}" for split, image_ids in sorted(self.image_ids.items())
        ]
        return digest_of_parts("cut", *parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSource:
    """The part of train's files that a cut gives one split."""

    whole: SplitSource
    split: str
    cut: Cut

    @property
    def name(self) -> str:
        """Train's file or folder, and the split."""
        return f"{self.whole.name}, {self.split} of data.split"

    @property
    def salt(self) -> str:
        """That of train."""
        return self.whole.salt

    def image_folders(self) -> str:
        """The image folders of train."""
        return self.whole.image_folders()

    def hash_annotations(self) -> str:
        """Returns a hash of train's annotation files, as the cut was opened, and of the cut."""
        return digest_of_parts(self.cut.key, self.split, self.cut.digest)

    def read(self) -> RawSplit:
        """Returns the images of this split; records that cannot be read count in train.

        Raises:
            DataError: no annotation can be read.
        """
        raw, others = self.whole.read(), self.cut.image_ids
        if self.split in others:
            images = [one for one in raw.images if one.image_id in others[self.split]]
            return replace(raw, images=tuple(images), problems=())
        gone = frozenset().union(*others.values())
        return replace(raw, images=tuple(one for one in raw.images if one.image_id not in gone))


def locate_split(data: DataSpec, split: str) -> SplitSource:
    """Returns the source of a split: its own files, or its part of train's.

    Raises:
        DataError: the data set has no such split, or ``data.split`` cannot cut it.
    """
    if not is_cut(data, split):
        return locate_source(data, split)
    return CutSource(whole=locate_source(data, GIVER), split=split, cut=open_cut(data))


def is_cut(data: DataSpec, split: str) -> bool:
    """Returns whether ``data.split`` decides which images a split has."""
    return data.split is not None and split in (GIVER, *data.split.shares)


def open_cut(data: DataSpec) -> Cut:
    """Returns the cut of a data set; makes it on first use.

    Raises:
        DataError: the data set has the split already, train cannot be read, or there are too few
            groups of pictures.
    """
    whole, split = _require_whole(data)
    directory, build = _locate_cut(whole, split), partial(_build_cut, whole, split)
    for _ in range(READINGS):
        if not directory.exists():
            with hold_lock(directory):  # many processes of a machine begin at once
                build_once(directory, build)
        try:
            return _read_cut(directory)
        except FileNotFoundError:  # another process is replacing it
            continue
        except (ValueError, KeyError, TypeError):  # a damaged file
            build_anew(directory, build)
    return _read_cut(build_once(directory, build))


def refresh_cut(data: DataSpec, *, anew: bool = False) -> Cut:
    """Returns the cut of a data set; makes it again if a picture file has changed.

    ``anew``: true to read every picture again.
    """
    whole, split = _require_whole(data)
    directory = _locate_cut(whole, split)
    if anew or (directory.exists() and _has_changed(directory)):
        build_anew(directory, partial(_build_cut, whole, split, anew=anew))
    return open_cut(data)


def _build_cut(
    whole: SplitSource, split: DataSplit, directory: Path, *, anew: bool = False
) -> None:
    """Writes the cut of a data set into ``directory``."""
    raw, folders = whole.read(), whole.image_folders()
    seen = inspect_pictures(folders, [image.path for image in raw.images], anew=anew)
    pictures = _list_pictures(raw.images, seen)
    likeness = None
    if split.group == "near_duplicates":
        paths, digests = ([getattr(one, key) for one in pictures] for key in ("path", "digest"))
        likeness = find_near_duplicates(read_looks(folders, paths, digests))
    grouping, dealt = deal_pictures(pictures, split, likeness)
    image_ids: dict[str, list[int]] = {name: [] for name in split.shares}
    for picture, name in zip(pictures, dealt, strict=True):
        if name != GIVER:
            image_ids[name].append(picture.image_id)
    cut = {
        "image_ids": image_ids,
        "facts": asdict(count_groups(grouping, dealt, split)),
        "examples": name_examples(pictures, grouping),
    }
    stamps = [
        (str(image.path), one.content.num_bytes, one.content.changed_ns)
        for image, one in zip(raw.images, seen, strict=True)
    ]
    (directory / STAMPS_FILE).write_text(json.dumps(stamps), encoding="ascii")
    (directory / CUT_FILE).write_text(json.dumps(cut), encoding="ascii")


def _list_pictures(
    images: Sequence[RawImage], seen: Sequence[InspectedPicture]
) -> list[SplitPicture]:
    """Returns the images that can be read, in an order that depends on their content alone."""
    pictures = [
        SplitPicture(
            image_id=image.image_id,
            path=image.path,
            file_name=image.file_name,
            digest=one.content.digest or b"",
            classes=_list_classes(image, one.header.size_for((image.width, image.height))),
        )
        for image, one in zip(images, seen, strict=True)
        if not isinstance(one.header, str)
    ]
    return sorted(pictures, key=lambda picture: (picture.digest, picture.image_id))


def _list_classes(image: RawImage, size: Size) -> frozenset[str]:
    """Returns the classes of an image's objects that can be found."""
    objects = [one for one in image.objects if one.category is not None and not one.is_crowd]
    if not objects:
        return frozenset()
    boxes = np.array([one.box_xyxy for one in objects], np.float32)
    visible = has_pixels(clamp(boxes, np.array(size, np.float32)))
    return frozenset(
        one.category or "" for one, is_seen in zip(objects, visible, strict=True) if is_seen
    )


def _require_whole(data: DataSpec) -> tuple[SplitSource, DataSplit]:
    """Returns train's files, of which the data set has no other split that is to be cut.

    Raises:
        DataError: it has one.
    """
    whole, split = locate_source(data, GIVER), data.split
    assert split is not None, "only a data set with data.split is cut"
    for name in split.shares:
        try:
            listed = locate_source(data, name)
        except DataError:
            continue
        if listed != whole:
            must = "must cut only splits that the data set does not have"
            remedy = f"Leave {name} out of data.split."
            raise DataError(explain(f"data.split.{name}", must, f"one in {listed.name}", remedy))
    return whole, split


def _locate_cut(whole: SplitSource, split: DataSplit) -> Path:
    key = digest_of_parts(
        "cut",
        CUT_VERSION,
        LOOK_VERSION,
        whole.image_folders(),
        whole.hash_annotations(),
        split.model_dump_json(),
    )
    return cache_folder() / "cuts" / key[:24]


def _has_changed(directory: Path) -> bool:
    """Returns whether a picture is another file than when the cut was made, or opens again."""
    try:
        rows = json.loads((directory / STAMPS_FILE).read_bytes())
    except (OSError, ValueError):
        return True
    seen = {
        path: FileContent(num_bytes=num_bytes, changed_ns=changed_ns, digest=None)
        for path, num_bytes, changed_ns in rows
    }
    retried = [path for path, content in seen.items() if content.changed_ns == RETRIED]
    lasting = {path: content for path, content in seen.items() if path not in retried}
    return not are_unchanged([*lasting], [*lasting.values()]) or any(map(is_readable, retried))


def _read_cut(directory: Path) -> Cut:
    file = directory / CUT_FILE
    status = os.stat(file)
    return _parse_cut(file, (status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=8)
def _parse_cut(file: Path, _: tuple[int, int, int]) -> Cut:
    """Reads a cut, once as long as its file has this inode, time stamp and size."""
    tree = json.loads(file.read_bytes())
    return Cut(
        key=file.parent.name,
        image_ids={split: frozenset(ids) for split, ids in tree["image_ids"].items()},
        facts=CutFacts(**tree["facts"]),
        examples=tuple(tuple(names) for names in tree["examples"]),
    )
