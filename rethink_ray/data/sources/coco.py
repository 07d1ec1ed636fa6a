"""COCO's JSON: ``images``, ``annotations``, ``categories``; boxes as xywh.

A record that cannot be used is stepped over and listed; only a file that is no COCO file at all
is an error.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.federated import unfinished, verified_in
from rethink_ray.data.sources.raw import (
    Box,
    Problem,
    RawImage,
    RawObject,
    RawSplit,
    id_from_name,
)
from rethink_ray.spec.errors import DataError, explain

LARGEST_EXACT = 2**53
"""Up to here every integer is a float64."""
_SIDES = [
    f"{side}_{part}"
    for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
PERSON_KEYPOINTS = ("nose", *_SIDES)
"""COCO's, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoSource:
    """One JSON file and the folder its ``file_name`` values are relative to."""

    annotations: Path
    images: Path
    salt: str = ""

    @property
    def name(self) -> str:
        """The JSON file."""
        return str(self.annotations)

    def place(self) -> str:
        """The image folder."""
        return str(self.images.absolute())

    def content(self) -> str:
        """Hash of the JSON file."""
        if not self.annotations.is_file():
            raise _not_coco(self.annotations, "no such file")
        return content_hash([self.annotations])

    def read(self) -> RawSplit:
        """All images with their objects; needs about seven times the file's size in memory."""
        document = _load(self.annotations)
        problems: list[Problem] = []
        names = _category_names(self.annotations, document["categories"])
        objects = _objects_by_image(document.pop("annotations"), names, problems)
        images = self._images(document["images"], names, objects, problems)
        problems += [
            Problem(kind="unknown_image", example=f"image_id {image_id} ({len(orphans)} boxes)")
            for image_id, orphans in objects.items()
        ]
        return RawSplit(
            categories=tuple(names[key] for key in sorted(names, key=_sort_key)),
            images=tuple(images),
            problems=tuple(problems),
            keypoint_names=_keypoint_names(document["categories"], images),
        )

    def _images(
        self,
        records: list[Any],
        names: Mapping[Any, str],
        objects: dict[int, list[RawObject]],
        problems: list[Problem],
    ) -> list[RawImage]:
        """Takes each image's objects out of ``objects``; what stays there has no image."""
        images: dict[int, RawImage] = {}
        for record in records:
            image_id = _image_id(record, "id")
            file_name = _file_name(record)
            if image_id is None or not file_name:
                problems.append(Problem(kind="unreadable_annotation", example=f"image {record}"))
            elif image_id in images:
                problems.append(Problem(kind="duplicate_id", example=f"image {image_id}"))
            else:
                objects_here = objects.pop(image_id, [])
                images[image_id] = RawImage(
                    image_id=image_id,
                    file_name=file_name,
                    path=self.images.absolute() / file_name,
                    width=_whole(record.get("width")),
                    height=_whole(record.get("height")),
                    objects=(*objects_here, *unfinished(record, names)),
                    verified=verified_in(record, names, objects_here),
                )
        return list(images.values())


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise _not_coco(path, error.strerror or "unreadable") from error
    except (ValueError, RecursionError) as error:
        raise _not_coco(path, f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _not_coco(path, f"a JSON {type(document).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise _not_coco(path, f"no list '{key}'")
    return document


def _not_coco(path: Path, reason: str) -> DataError:
    must = "must be a COCO JSON file with lists 'images', 'annotations' and 'categories'"
    return DataError(explain(str(path), must, reason, "Check the path and that the copy is whole."))


def _category_names(path: Path, records: list[Any]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for record in records:
        if not isinstance(record, dict) or "name" not in record or not _is_key(record.get("id")):
            raise _not_coco(path, f"a category without id or name: {record}")
        names[record["id"]] = str(record["name"])
    if not names or len(set(names.values())) != len(records):
        must = "must define at least one category, each id and each name once"
        names_twice = sorted(str(record["name"]) for record in records)
        raise DataError(
            explain(str(path), must, names_twice, "Make the names of 'categories' distinct.")
        )
    return names


def _file_name(record: object) -> str:
    """LVIS names files by their address alone: the folder of the split and the file."""
    fields = record if isinstance(record, dict) else {}
    name, address = fields.get("file_name"), fields.get("coco_url")
    if isinstance(name, str) and name:
        return name
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else ""


def _keypoint_names(categories: list[Any], images: list[RawImage]) -> tuple[str, ...]:
    """The one list of names that categories with keypoints share, or numbers where none is named.

    Seventeen keypoints without names are taken for COCO's.
    """
    name_lists = [c["keypoints"] for c in categories if isinstance(c.get("keypoints"), list)]
    named = {tuple(map(str, names)) for names in name_lists if names}
    if named:
        return named.pop() if len(named) == 1 else ()
    sizes = {len(annotated.keypoints) for image in images for annotated in image.objects} - {0}
    if len(sizes) != 1 or (size := sizes.pop()) % 3:
        return ()
    return PERSON_KEYPOINTS if size == 51 else tuple(str(k) for k in range(size // 3))


def _objects_by_image(
    records: list[Any], names: Mapping[Any, str], problems: list[Problem]
) -> dict[int, list[RawObject]]:
    objects: dict[int, list[RawObject]] = defaultdict(list)
    seen: set[object] = set()
    for position, record in enumerate(records):
        records[position] = None  # frees it: the whole of COCO would stand in memory twice
        image_id = _image_id(record, "image_id")
        if image_id is None:
            problems.append(Problem(kind="unreadable_annotation", example=f"object {record}"))
            continue
        annotation_id = record.get("id")
        if annotation_id is not None and str(annotation_id) in seen:
            problems.append(Problem(kind="duplicate_id", example=f"annotation {annotation_id}"))
        seen.add(str(annotation_id))
        objects[image_id].append(_object(record, names))
    return dict(objects)


def _object(record: Mapping[str, Any], names: Mapping[Any, str]) -> RawObject:
    box = _box(record.get("bbox"))
    segmentation = record.get("segmentation")
    area = record.get("area")
    category = record.get("category_id")
    return RawObject(
        category=names.get(category) if _is_key(category) else None,
        box_xyxy=box,
        is_crowd=bool(record.get("iscrowd", 0)),
        area=float(area) if _is_number(area) else (box[2] - box[0]) * (box[3] - box[1]),
        segmentation=json.dumps(segmentation).encode() if segmentation else b"",
        keypoints=_keypoints(record.get("keypoints")),
    )


def _box(xywh: object) -> Box:
    if not isinstance(xywh, list) or len(xywh) != 4 or not all(map(_is_number, xywh)):
        return (0.0, 0.0, 0.0, 0.0)
    x, y, width, height = (float(value) for value in xywh)
    return (x, y, x + width, y + height)


def _keypoints(values: object) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(map(_is_number, values)):
        return ()
    return tuple(float(value) for value in values)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _image_id(record: object, key: str) -> int | None:
    """An integer id as it is; a name by its hash; ``None`` if the record has neither.

    An integer that float64 cannot hold exactly goes by its hash too: scoring would mix images up.
    """
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, str) and not value.isdecimal():
        return id_from_name(value)
    if not isinstance(value, str | int):
        return None
    number = int(value)
    return number if abs(number) <= LARGEST_EXACT else id_from_name(str(number))


def _is_key(value: object) -> bool:
    return isinstance(value, int | float | str)


def _sort_key(category_id: object) -> tuple[int, str]:
    return (category_id, "") if isinstance(category_id, int) else (0, str(category_id))
