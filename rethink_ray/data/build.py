"""Writes one split as two Arrow files, which readers map into memory.

Images are sorted by id, and the objects of each image are sorted too, so that no result depends on
the order of the annotation file. Unreadable images are left out and counted.
"""

import gc
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.data.arrow_files import write_batch
from rethink_ray.data.contents import FileContent
from rethink_ray.data.inspection import InspectedPicture, Inspector, name_files
from rethink_ray.data.levels import LevelRange, LevelRanges, choose_ranges
from rethink_ray.data.mask_states import judge_mask
from rethink_ray.data.orientation import AS_STORED, PictureHeader
from rethink_ray.data.other_forms import say_other_form
from rethink_ray.data.sources.raw import RawImage, RawObject, RawSplit, SplitSource, round_box
from rethink_ray.spec.errors import DataError, Explanation
from rethink_ray.spec.fault_kinds import describe_kind
from rethink_ray.spec.hashing import sha256_of_chunks

INDEX_VERSION = 12
IMAGES_TABLE = "images.arrow"
OBJECTS_TABLE = "objects.arrow"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedImage:
    """An image that can be read, the size of its pixels, and its sorted objects."""

    raw: RawImage
    size: tuple[int, int]
    """Width and height of the pixels that the boxes belong to."""
    turned_by: int
    """The EXIF orientation that is applied to the pixels; 1: none."""
    objects: tuple[RawObject, ...]
    num_unknown: int
    """Number of objects left out because the index lacks their category."""
    content: FileContent
    kind: str
    """The kind of a deep picture; empty for eight bits per channel."""
    levels: LevelRange | None
    """The levels of a deep picture; ``None`` if only its header was read."""
    is_finite: bool
    """Whether all levels of a deep picture are numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLabels:
    """What the splits of one data set have in common, and train decides."""

    categories: tuple[str, ...]
    """In label order, from 1."""
    level_ranges: LevelRanges = field(default_factory=dict)
    """Black and white of the kinds of deep picture that train has."""


def build_from_source(
    source: SplitSource, shared: IndexLabels | None, inspect: Inspector, directory: Path
) -> None:
    """Writes the index of a split into ``directory``.

    Args:
        source: the split's files.
        shared: what train decides; ``None``: the split is train.
        inspect: returns what is known of picture files.
        directory: an empty folder.

    Raises:
        DataError: no annotation or no image can be read.
    """
    with _pause_garbage_collection():
        raw = source.read()
        labels = shared or IndexLabels(categories=raw.categories)
        write_index(raw, labels, directory, name=source.name, inspect=inspect, salt=source.salt)


def write_index(
    raw: RawSplit,
    shared: IndexLabels,
    directory: Path,
    *,
    name: str,
    inspect: Inspector,
    salt: str = "",
) -> None:
    """Writes the index of ``raw`` into ``directory``; labels count the categories from 1.

    Args:
        raw: the split.
        shared: categories, and levels of deep pictures; kinds that it lacks get their own.
        directory: an empty folder.
        name: of the split, for messages.
        inspect: returns what is known of each picture file.
        salt: added to the fingerprint.

    Raises:
        DataError: no image can be read.
    """
    labels = {category: label for label, category in enumerate(shared.categories, start=1)}
    kept, dropped, unread = _select_readable(raw, labels, inspect)
    if not kept:
        must = "must have at least one image that can be read"
        losses = [
            f"{num} {describe_kind(kind).unit_words}: {kind}" for kind, num in dropped.items()
        ]
        shown = f"none of {len(raw.images)}, left out: {', '.join(losses) or 'none'}"
        shown += f" ({name_files([path for path, _ in unread])})" if unread else ""
        forms = [say_other_form(Path(path)) for path, _ in unread[:1]]
        remedy = f"Check the split's folder of images{forms[0] if forms else ''}."
        raise DataError(Explanation.of(name, must, shown, remedy))
    if unread:
        shown = name_files([path for path, _ in unread])
        noun = "picture" if len(unread) == 1 else "pictures"
        words = {"missing_image": "missing", "unreadable_image": "unreadable"}
        how = " or ".join(word for kind, word in words.items() if dropped[kind])
        _log.warning("%s: %d %s %s left out: %s", name, len(unread), how, noun, shown)
    ranges = choose_ranges(
        ((image.kind, image.levels) for image in kept if image.levels), shared.level_ranges
    )
    fingerprint = _fingerprint(kept, labels, ranges, salt)
    about: dict[str, Any] = {"fingerprint": fingerprint}
    write_batch(directory / OBJECTS_TABLE, _object_columns(kept, labels), about)
    about |= {
        "categories": list(shared.categories),
        "dropped": dict(dropped),
        "unread": [[path, seen.num_bytes, seen.changed_ns] for path, seen in unread],
        "keypoint_names": list(raw.keypoint_names),
        "level_ranges": {kind: [scale.lowest, scale.highest] for kind, scale in ranges.items()},
    }
    columns = _image_columns(kept, labels)
    columns["levels_cut"] = pa.array([int(_is_cut(image, ranges)) for image in kept], pa.uint8())
    columns["levels_not_finite"] = pa.array([int(not one.is_finite) for one in kept], pa.uint8())
    write_batch(directory / IMAGES_TABLE, columns, about)


def _is_cut(image: IndexedImage, ranges: LevelRanges) -> bool:
    return image.levels is not None and not image.levels.is_within(ranges[image.kind])


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Pauses the search for reference cycles, which takes minutes among ten million new objects."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _select_readable(
    raw: RawSplit, labels: dict[str, int], inspect: Inspector
) -> tuple[list[IndexedImage], Counter[str], list[tuple[str, FileContent]]]:
    """Returns the images that can be read, the faults of the others, and the files of these."""
    dropped = Counter(problem.kind for problem in raw.problems)
    dropped.pop("file_name_disagrees", None)  # no image is dropped for this
    images = sorted(raw.images, key=lambda image: image.image_id)
    kept: list[IndexedImage] = []
    unread: list[tuple[str, FileContent]] = []
    for image, seen in zip(images, inspect([image.path for image in images]), strict=True):
        if isinstance(seen.header, str):
            dropped[seen.header] += 1
            unread.append((str(image.path), seen.content))
        else:
            kept.append(_index_image(image, seen, seen.header, labels))
    return kept, dropped, unread


def _index_image(
    image: RawImage, seen: InspectedPicture, header: PictureHeader, labels: dict[str, int]
) -> IndexedImage:
    objects = [object_ for object_ in image.objects if object_.category in labels]
    objects.sort(key=lambda object_: _sort_key(object_, labels))
    annotated_wh = (image.width, image.height)
    is_turned = header.is_turned(annotated_wh)
    return IndexedImage(
        raw=image,
        size=header.size_for(annotated_wh),
        turned_by=header.orientation if is_turned else AS_STORED,
        objects=tuple(objects),
        num_unknown=len(image.objects) - len(objects),
        content=seen.content,
        kind=header.kind,
        levels=seen.facts.levels,
        is_finite=seen.facts.is_finite,
    )


def _sort_key(annotated: RawObject, labels: dict[str, int]) -> tuple[Any, ...]:
    """Returns a key by which objects with the same box in the index follow each other."""
    order = _order(annotated, labels)
    return (order[0], round_box(annotated.box_xyxy), annotated.is_crowd, *order[1:])


def _order(annotated: RawObject, labels: dict[str, int]) -> tuple[Any, ...]:
    label = labels[annotated.category or ""]
    return (
        label,
        annotated.box_xyxy,
        annotated.is_crowd,
        annotated.area,
        annotated.segmentation,
        annotated.keypoints,
    )


def _image_columns(kept: list[IndexedImage], labels: dict[str, int]) -> dict[str, Any]:
    counts = [len(image.objects) for image in kept]
    verified = [_number_labels(image.raw.verified, labels) for image in kept]
    return {
        "image_id": pa.array([image.raw.image_id for image in kept], pa.int64()),
        "path": pa.array([str(image.raw.path) for image in kept], pa.string()),
        "width": pa.array([image.size[0] for image in kept], pa.int32()),
        "height": pa.array([image.size[1] for image in kept], pa.int32()),
        "annotated_width": pa.array([image.raw.width for image in kept], pa.int32()),
        "annotated_height": pa.array([image.raw.height for image in kept], pa.int32()),
        "first_object": pa.array(np.concatenate([[0], np.cumsum(counts)[:-1]]), pa.int64()),
        "num_objects": pa.array(counts, pa.int32()),
        "num_unknown": pa.array([image.num_unknown for image in kept], pa.int32()),
        "file_bytes": pa.array([image.content.num_bytes for image in kept], pa.int64()),
        "file_changed_ns": pa.array([image.content.changed_ns for image in kept], pa.int64()),
        "file_sha256": pa.array([image.content.digest for image in kept], pa.binary(32)),
        "verified": pa.array(verified, pa.large_list(pa.int32())),
    }


def _number_labels(categories: Sequence[str] | None, labels: dict[str, int]) -> list[int] | None:
    if categories is None:
        return None
    return sorted(labels[name] for name in categories if name in labels)


def _object_columns(kept: list[IndexedImage], labels: dict[str, int]) -> dict[str, Any]:
    objects = [annotated for image in kept for annotated in image.objects]
    corners = _stack_boxes(objects).reshape(-1)
    states = [judge_mask(annotated, image.size) for image in kept for annotated in image.objects]
    return {
        "box_xyxy": pa.FixedSizeListArray.from_arrays(pa.array(corners, pa.float32()), 4),
        "label": pa.array([labels[annotated.category or ""] for annotated in objects], pa.int32()),
        "is_crowd": pa.array([int(annotated.is_crowd) for annotated in objects], pa.uint8()),
        "area": pa.array([annotated.area for annotated in objects], pa.float32()),
        "segmentation": pa.array(
            [annotated.segmentation for annotated in objects], pa.large_binary()
        ),
        "mask_state": pa.array(states, pa.uint8()),
        "keypoints": pa.array(
            [annotated.keypoints for annotated in objects], pa.large_list(pa.float32())
        ),
    }


def _stack_boxes(objects: list[RawObject]) -> NDArray[np.float32]:
    return np.array([annotated.box_xyxy for annotated in objects], np.float32).reshape(-1, 4)


def _fingerprint(
    kept: list[IndexedImage], labels: dict[str, int], ranges: LevelRanges, salt: str
) -> str:
    """Hashes the annotations and the picture files, without paths and without file order.

    For built-in sets ``salt`` replaces the picture files, whose bytes also depend on the encoder.
    """
    return sha256_of_chunks(_yield_identity(kept, labels, ranges, salt))[:16]


def _yield_identity(
    kept: list[IndexedImage], labels: dict[str, int], ranges: LevelRanges, salt: str
) -> Iterator[bytes]:
    yield json.dumps([salt, list(labels)]).encode()
    for kind in sorted({image.kind for image in kept if image.kind} & set(ranges)):
        yield f"{kind} {ranges[kind].lowest} {ranges[kind].highest}".encode()
    for image in kept:
        raw = image.raw
        yield f"{raw.image_id}|{raw.file_name}|{image.size}|{image.num_unknown}".encode()
        if not salt:
            yield image.content.digest or str(image.content.num_bytes).encode()
        if image.turned_by != AS_STORED:
            yield f"|turned by {image.turned_by}".encode()
        if raw.verified is not None:
            yield f"|verified {_number_labels(raw.verified, labels)}".encode()
        for annotated in image.objects:
            yield f"{_order(annotated, labels)}".encode()
