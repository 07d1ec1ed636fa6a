"""Writes one split as two Arrow files, which readers map into memory.

Images are sorted by id, and the objects of each image are sorted too, so that no result depends on
the order of the annotation file. Unreadable images are left out and counted.
"""

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.data.contents import ContentReader, FileContent, read_contents
from rethink_ray.data.mask_states import judge_mask
from rethink_ray.data.orientation import AS_STORED
from rethink_ray.data.pictures import read_headers
from rethink_ray.data.sources.raw import RawImage, RawObject, RawSplit, SplitSource
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import sha256_of_chunks

INDEX_VERSION = 8
IMAGES_TABLE = "images.arrow"
OBJECTS_TABLE = "objects.arrow"
REMEMBERED_UNREAD = 64
"""Most unreadable paths that an index stores; it is built again once one of them can be read."""


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


def build_from_source(
    source: SplitSource, categories: Sequence[str] | None, read: ContentReader, directory: Path
) -> None:
    """Writes the index of a split into ``directory``.

    Args:
        source: the split's files.
        categories: in label order; ``None``: those of the files.
        read: returns the content of picture files.
        directory: an empty folder.

    Raises:
        DataError: no annotation or no image can be read.
    """
    with _pause_garbage_collection():
        raw = source.read()
        labels = raw.categories if categories is None else categories
        write_index(raw, labels, directory, name=source.name, salt=source.salt, read=read)


def write_index(
    raw: RawSplit,
    categories: Sequence[str],
    directory: Path,
    *,
    name: str,
    salt: str = "",
    read: ContentReader = read_contents,
) -> None:
    """Writes the index of ``raw`` into ``directory``; labels count ``categories`` from 1.

    Args:
        raw: the split.
        categories: in label order.
        directory: an empty folder.
        name: of the split, for messages.
        salt: added to the fingerprint.
        read: returns the content of picture files; by default each file is read and hashed.

    Raises:
        DataError: no image can be read.
    """
    labels = {category: label for label, category in enumerate(categories, start=1)}
    kept, dropped, unread = _select_readable(raw, labels, read)
    if not kept:
        must = "must have at least one image that can be read"
        shown = f"{len(raw.images)} images, left out: {dict(dropped)}"
        raise DataError(explain(name, must, shown, "Run `rethink-ray data check`."))
    fingerprint = _fingerprint(kept, labels, salt)
    _write(directory / OBJECTS_TABLE, _object_columns(kept, labels), {"fingerprint": fingerprint})
    about: dict[str, Any] = {
        "fingerprint": fingerprint,
        "categories": list(categories),
        "dropped": dict(dropped),
        "unread": unread[:REMEMBERED_UNREAD],
        "keypoint_names": list(raw.keypoint_names),
    }
    _write(directory / IMAGES_TABLE, _image_columns(kept, labels), about)


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
    raw: RawSplit, labels: dict[str, int], read: ContentReader
) -> tuple[list[IndexedImage], Counter[str], list[str]]:
    dropped = Counter(problem.kind for problem in raw.problems)
    dropped.pop("file_name_disagrees", None)  # no image is dropped for this
    images = sorted(raw.images, key=lambda image: image.image_id)
    kept: list[IndexedImage] = []
    unread: list[str] = []
    headers = read_headers([image.path for image in images])
    contents = read([image.path for image in images])
    for image, header, content in zip(images, headers, contents, strict=True):
        if isinstance(header, str) or content is None:
            dropped[header if isinstance(header, str) else "unreadable_image"] += 1
            unread.append(str(image.path))
            continue
        objects = [object_ for object_ in image.objects if object_.category in labels]
        objects.sort(key=lambda object_: _order(object_, labels))
        annotated_wh = (image.width, image.height)
        is_turned = header.is_turned(annotated_wh)
        kept.append(
            IndexedImage(
                raw=image,
                size=header.size_for(annotated_wh),
                turned_by=header.orientation if is_turned else AS_STORED,
                objects=tuple(objects),
                num_unknown=len(image.objects) - len(objects),
                content=content,
            )
        )
    return kept, dropped, unread


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


def _fingerprint(kept: list[IndexedImage], labels: dict[str, int], salt: str) -> str:
    """Hashes the annotations and the picture files, without paths and without file order.

    For built-in sets ``salt`` replaces the picture files, whose bytes also depend on the encoder.
    """
    return sha256_of_chunks(_yield_identity(kept, labels, salt))[:16]


def _yield_identity(kept: list[IndexedImage], labels: dict[str, int], salt: str) -> Iterator[bytes]:
    yield json.dumps([salt, list(labels)]).encode()
    for image in kept:
        raw = image.raw
        yield f"{raw.image_id}|{raw.file_name}|{image.size}|{image.num_unknown}".encode()
        if image.content.digest and not salt:
            yield image.content.digest
        if image.turned_by != AS_STORED:
            yield f"|turned by {image.turned_by}".encode()
        for annotated in image.objects:
            yield f"{_order(annotated, labels)}".encode()


def _write(path: Path, columns: dict[str, Any], about: dict[str, Any]) -> None:
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata({"rethink_ray": json.dumps(about)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
