"""Writes one split as two Arrow files that are read by mapping them into memory.

Images stand in id order and objects in a canonical order inside each image, so that the order of
the annotation file reaches nothing. Images that cannot be read are left out and counted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rethink_ray.data.contents import ContentReader, FileContent, read_contents
from rethink_ray.data.orientation import AS_STORED
from rethink_ray.data.pictures import read_headers
from rethink_ray.data.sources.raw import RawImage, RawObject, RawSplit
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.hashing import sha256_of_chunks

INDEX_VERSION = 6
IMAGES_FILE = "images.arrow"
OBJECTS_FILE = "objects.arrow"
REMEMBERED_UNREAD = 64
"""So many unreadable paths are kept, to notice that someone repaired the data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An image that can be read, its true size, and its objects in canonical order."""

    raw: RawImage
    size: tuple[int, int]
    """Of the pixels as they were annotated."""
    turned_by: int
    """The EXIF orientation that is applied to them; 1: none."""
    objects: tuple[RawObject, ...]
    num_unknown: int
    """Objects left out because their category is none of the index's."""
    content: FileContent


def write_index(
    raw: RawSplit,
    categories: Sequence[str],
    directory: Path,
    *,
    name: str,
    salt: str = "",
    read: ContentReader = read_contents,
) -> None:
    """``directory`` holds the index of ``raw``; labels count ``categories`` from 1.

    Args:
        raw: the split.
        categories: in label order.
        directory: exists and is empty.
        name: of the split, for messages.
        salt: goes into the fingerprint.
        read: says what the picture files hold; by default each is read whole and hashed.
    """
    labels = {category: label for label, category in enumerate(categories, start=1)}
    kept, dropped, unread = _sort_out(raw, labels, read)
    if not kept:
        must = "must have at least one image that can be read"
        shown = f"{len(raw.images)} images, of which {dict(dropped)}"
        raise DataError(explain(name, must, shown, "Run `rethink-ray data check`."))
    fingerprint = _fingerprint(kept, labels, salt)
    _write(directory / OBJECTS_FILE, _object_columns(kept, labels), {"fingerprint": fingerprint})
    about: dict[str, Any] = {
        "fingerprint": fingerprint,
        "categories": list(categories),
        "dropped": dict(dropped),
        "unread": unread[:REMEMBERED_UNREAD],
        "keypoint_names": list(raw.keypoint_names),
    }
    _write(directory / IMAGES_FILE, _image_columns(kept, labels), about)


def _sort_out(
    raw: RawSplit, labels: dict[str, int], read: ContentReader
) -> tuple[list[Kept], Counter[str], list[str]]:
    dropped = Counter(problem.kind for problem in raw.problems)
    dropped.pop("file_name_disagrees", None)  # the file was found all the same
    images = sorted(raw.images, key=lambda image: image.image_id)
    kept: list[Kept] = []
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
            Kept(
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


def _image_columns(kept: list[Kept], labels: dict[str, int]) -> dict[str, Any]:
    counts = [len(image.objects) for image in kept]
    verified = [_labels_of(image.raw.verified, labels) for image in kept]
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


def _labels_of(categories: Sequence[str] | None, labels: dict[str, int]) -> list[int] | None:
    if categories is None:
        return None
    return sorted(labels[name] for name in categories if name in labels)


def _object_columns(kept: list[Kept], labels: dict[str, int]) -> dict[str, Any]:
    objects = [annotated for image in kept for annotated in image.objects]
    corners = _boxes(objects).reshape(-1)
    return {
        "box_xyxy": pa.FixedSizeListArray.from_arrays(pa.array(corners, pa.float32()), 4),
        "label": pa.array([labels[annotated.category or ""] for annotated in objects], pa.int32()),
        "is_crowd": pa.array([int(annotated.is_crowd) for annotated in objects], pa.uint8()),
        "area": pa.array([annotated.area for annotated in objects], pa.float32()),
        "segmentation": pa.array(
            [annotated.segmentation for annotated in objects], pa.large_binary()
        ),
        "keypoints": pa.array(
            [annotated.keypoints for annotated in objects], pa.large_list(pa.float32())
        ),
    }


def _boxes(objects: list[RawObject]) -> NDArray[np.float32]:
    return np.array([annotated.box_xyxy for annotated in objects], np.float32).reshape(-1, 4)


def _fingerprint(kept: list[Kept], labels: dict[str, int], salt: str) -> str:
    """Hash of the annotations and of the pictures' files, but of no path and no file order.

    ``salt`` determines the pictures of the built-in sets, whose files depend on the encoder too.
    """
    return sha256_of_chunks(_identifying(kept, labels, salt))[:16]


def _identifying(kept: list[Kept], labels: dict[str, int], salt: str) -> Iterator[bytes]:
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
