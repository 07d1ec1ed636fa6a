"""Reads COCO's JSON: ``images``, ``annotations``, ``categories``; boxes as xywh.

An unusable record is skipped and listed. A file that is no COCO file, or whose ids do not say which
picture an object belongs to, is an error.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethink_ray.data.cache import content_hash
from rethink_ray.data.sources.coco_categories import (
    not_coco_error,
    not_utf8_error,
    read_category_names,
)
from rethink_ray.data.sources.coco_objects import group_objects
from rethink_ray.data.sources.federated import (
    build_unfinished_crowds,
    list_unreadable_categories,
    read_verified,
)
from rethink_ray.data.sources.imagefolder import read_metadata
from rethink_ray.data.sources.raw import Problem, RawImage, RawObject, RawSplit
from rethink_ray.data.sources.values import read_file_name, read_image_id, read_key, read_side, show
from rethink_ray.spec.errors import DataError, explain

_PAIRED_PARTS = [
    f"{side}_{part}"
    for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
PERSON_KEYPOINTS = ("nose", *_PAIRED_PARTS)
"""COCO's keypoints of a person, in its order."""


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

    def image_folders(self) -> str:
        """The image folder."""
        return str(self.images.absolute())

    def hash_annotations(self) -> str:
        """Returns the hash of the JSON file.

        Raises:
            DataError: there is no such file.
        """
        if not self.annotations.is_file():
            raise not_coco_error(self.annotations, "no such file")
        return content_hash([self.annotations])

    def read(self) -> RawSplit:
        """Returns all images with their objects; takes memory of about seven times the file.

        Raises:
            DataError: the file is no COCO file, or an id or a category name stands for two things.
        """
        document = _load(self.annotations)
        problems: list[Problem] = []
        names = self._read_names(document)
        shifted = _describe_shift(document["annotations"], names)
        objects = group_objects(document.pop("annotations"), names, problems)
        images = self._build_images(document["images"], names, objects, problems)
        self._require_one_id(images)
        problems += [
            Problem(kind="unknown_image", example=f"image_id {image_id}: {show(orphan.box_xyxy)}")
            for image_id, orphans in objects.items()
            for orphan in orphans
        ]
        keypoint_names = _read_keypoint_names(document["categories"], images)
        problems += _find_other_keypoints(images, len(keypoint_names))
        return RawSplit(
            categories=tuple(names[key] for key in sorted(names, key=_sort_key)),
            images=tuple(images),
            problems=tuple(problems),
            shifted_categories=shifted,
            keypoint_names=keypoint_names,
        )

    def read_category_names(self) -> dict[int | str, str]:
        """Returns id -> name of every category; reads the whole file."""
        return self._read_names(_load(self.annotations))

    def _read_names(self, document: Mapping[str, Any]) -> dict[int | str, str]:
        """Returns id -> name of the document's categories."""
        categories, annotations = document["categories"], document["annotations"]
        return read_category_names(self.annotations, categories, annotations)

    def _build_images(
        self,
        records: list[Any],
        names: Mapping[int | str, str],
        objects: dict[int, list[RawObject]],
        problems: list[Problem],
    ) -> list[RawImage]:
        """Moves objects into their images; objects without an image stay in ``objects``."""
        images: dict[int, RawImage] = {}
        for record in records:
            image_id = read_image_id(record.get("id")) if isinstance(record, dict) else None
            file_name = _read_name_of_picture(record, self.images)
            if image_id is None or not file_name:
                problems.append(
                    Problem(kind="unreadable_annotation", example=f"image {show(record)}")
                )
            elif image_id in images:
                size = _read_size(record, file_name, [])
                self._require_one_picture(record.get("id"), images[image_id], file_name, size)
                problems.append(Problem(kind="duplicate_id", example=f"image {record.get('id')}"))
            else:
                objects_here = objects.pop(image_id, [])
                size = _read_size(record, file_name, problems)
                problems += list_unreadable_categories(record, file_name)
                images[image_id] = RawImage(
                    image_id=image_id,
                    file_name=file_name,
                    path=self.images.absolute() / file_name,
                    width=size[0],
                    height=size[1],
                    objects=(*objects_here, *build_unfinished_crowds(record, size, names)),
                    verified=read_verified(record, names, objects_here),
                )
        return list(images.values())

    def _require_one_picture(
        self, image_id: object, first: RawImage, file_name: str, size: tuple[int, int]
    ) -> None:
        """Refuses two pictures of one id, since objects name their picture by its id alone.

        Two folders may hold files of one name, whose sizes then tell them apart.
        """
        names, sizes = (first.file_name, file_name), ((first.width, first.height), size)
        differ = any(0 not in sides and len(set(sides)) > 1 for sides in zip(*sizes, strict=True))
        if names[0] != names[1] or differ:
            shown_sizes = [f" ({width} x {height})" if differ else "" for width, height in sizes]
            pictures = [f"{name}{size}" for name, size in zip(names, shown_sizes, strict=True)]
            must = "must give each image an id of its own"
            shown = f"id {show(image_id)} for {pictures[0]} and for {pictures[1]}"
            remedy = (
                "If this file was merged from several, number the images of each anew, with the "
                "image_id of their annotations, and merge again."
            )
            raise DataError(explain(str(self.annotations), must, shown, remedy))

    def _require_one_id(self, images: list[RawImage]) -> None:
        """Refuses a picture under two ids with other objects: each half would be background."""
        first: dict[str, RawImage] = {}
        for image in images:
            twin = first.setdefault(os.path.normpath(image.path), image)
            if set(twin.objects) == set(image.objects):
                continue
            must = "must list each picture once, with all of its objects"
            shown = f"{image.file_name} under the ids {twin.image_id} and {image.image_id}"
            remedy = (
                "Its objects are split between them, and those of the other id would count as "
                "background. Give all of them one image_id and delete the other image."
            )
            raise DataError(explain(str(self.annotations), must, shown, remedy))


def _load(path: Path) -> dict[str, Any]:
    if path.suffix == ".jsonl":
        return read_metadata(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise not_coco_error(path, error.strerror or "unreadable") from error
    except UnicodeDecodeError as error:
        raise not_utf8_error(path, error) from error
    except (ValueError, RecursionError) as error:
        raise not_coco_error(path, f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise not_coco_error(path, f"a JSON {type(document).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise not_coco_error(path, f"no list '{key}'")
    return document


def _describe_shift(records: list[Any], names: Mapping[int | str, str]) -> str:
    """Returns in words that objects begin one below, or end one above, the listed categories.

    Empty for anything else, and if all of their categories are listed.
    """
    keys = {read_key(record.get("category_id")) for record in records if isinstance(record, dict)}
    used, listed = ([key for key in some if isinstance(key, int)] for some in (keys, names))
    if not used or not listed or set(used) <= names.keys():
        return ""
    is_shifted = min(used) == min(listed) - 1 or max(used) == max(listed) + 1
    ranges = f"end at {max(used)}, those of categories at {max(listed)}"
    if min(used) == min(listed) - 1:
        ranges = f"begin at {min(used)}, those of categories at {min(listed)}"
    return f"ids of annotations {ranges}: all labels may be off by one" if is_shifted else ""


def _read_name_of_picture(record: object, folder: Path) -> str:
    """Returns the file's name; for LVIS, which has only ``coco_url``, folder and file of that.

    Programs on Windows write backslashes between folders. A file may have one in its name, too.
    """
    fields = record if isinstance(record, dict) else {}
    name, address = read_file_name(fields.get("file_name")), fields.get("coco_url")
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    return name or "/".join(read_file_name(address).split("/")[-2:])


def _read_size(record: Mapping[str, Any], name: str, problems: list[Problem]) -> tuple[int, int]:
    """Returns the stated width and height; zeros if there are none, or none that are sizes."""
    sides = [read_side(record.get(key)) for key in ("width", "height")]
    if None in sides:
        shown = show({key: record.get(key) for key in ("width", "height")})
        problems.append(Problem(kind="unreadable_size", example=f"{name}: {shown}"))
        return 0, 0
    return sides[0] or 0, sides[1] or 0


def _read_keypoint_names(categories: list[Any], images: list[RawImage]) -> tuple[str, ...]:
    """Returns the one list of names that all categories with keypoints share, or none.

    If no category names its keypoints, they are numbered; 17 unnamed keypoints get COCO's names.
    """
    name_lists = [c["keypoints"] for c in categories if isinstance(c.get("keypoints"), list)]
    named = {tuple(map(str, names)) for names in name_lists if names}
    if named:
        return named.pop() if len(named) == 1 else ()
    sizes = {len(annotated.keypoints) for image in images for annotated in image.objects} - {0}
    if len(sizes) != 1 or (size := sizes.pop()) % 3:
        return ()
    return PERSON_KEYPOINTS if size == 51 else tuple(str(k) for k in range(size // 3))


def _find_other_keypoints(images: list[RawImage], num_keypoints: int) -> list[Problem]:
    """Lists objects with other keypoints than the rest; they count as not annotated.

    ``num_keypoints`` is 0 if categories share no list of keypoints; the number that most objects
    have then counts as usual.
    """
    sizes = Counter(len(one.keypoints) for image in images for one in image.objects)
    del sizes[0]
    usual = 3 * num_keypoints or (sizes.most_common(1)[0][0] if sizes else 0)
    return [
        Problem(
            kind="unreadable_keypoints",
            example=f"{image.file_name}: {len(annotated.keypoints)} numbers, not {usual}",
        )
        for image in images
        for annotated in image.objects
        if len(annotated.keypoints) not in (0, usual)
    ]


def _sort_key(category_id: int | str) -> tuple[int, str]:
    return (category_id, "") if isinstance(category_id, int) else (0, category_id)
