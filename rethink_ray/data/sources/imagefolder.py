"""Reads Hugging Face's ``metadata.jsonl`` as a COCO document: a line of JSON per picture.

    {"file_name": "a.jpg", "objects": {"bbox": [[302, 109, 73, 52]], "categories": ["cat"]}}

Boxes are x, y, width and height in pixels. A class is a name, or a number that becomes one.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rethink_ray.data.sources.values import read_key
from rethink_ray.spec.errors import DataError, explain

METADATA = "metadata.jsonl"
CLASS_KEYS = ("categories", "category", "labels", "label", "category_id", "class_label", "classes")
"""Keys of ``objects`` with the class of each box; the first that is there counts."""
BOX_KEYS = ("bbox", "bboxes", "boxes")
MEND_LINE = (
    'Correct this line; one reads {"file_name": "a.jpg", "objects": {"bbox": [[x, y, w, h]], '
    '"categories": ["cat"]}}.'
)


def is_metadata(path: Path) -> bool:
    """Returns whether the first line of a file names a picture and its objects."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and {"file_name", "objects"} <= first.keys()


def read_metadata(path: Path) -> dict[str, Any]:
    """Returns the file's contents in the shape of a COCO file.

    Ids of pictures are their names, and those of annotations say line and box, for messages.

    Raises:
        DataError: it cannot be read, or a line is no picture.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in _read_records(path):
        name = record.get("file_name")
        images.append({key: record.get(key) for key in ("file_name", "width", "height")})
        images[-1]["id"] = name
        for position, (box, category) in enumerate(_list_objects(path, number, record), start=1):
            annotations.append(
                {
                    "id": f"of line {number}, box {position},",
                    "image_id": name,
                    "bbox": box,
                    "category_id": category,
                }
            )
    keys = {read_key(one["category_id"]) for one in annotations} - {None}
    ordered = sorted(keys, key=lambda key: (isinstance(key, str), key))
    categories = [{"id": key, "name": str(key)} for key in ordered]
    return {"images": images, "annotations": annotations, "categories": categories}


def _read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the number and the contents of each line that is not empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # texts may hold other breaks
    except (OSError, UnicodeDecodeError) as error:
        must, remedy = "must be a text file in UTF-8", "Save it as UTF-8, or copy it again."
        raise DataError(explain(str(path), must, str(error), remedy)) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            must = "must have one JSON object per line"
            raise DataError(explain(f"{path} line {number}", must, str(error), MEND_LINE)) from None
        if not isinstance(record, dict):
            must = "must be a JSON object with file_name and objects"
            raise DataError(explain(f"{path} line {number}", must, line[:100], MEND_LINE))
        yield number, record


def _list_objects(path: Path, number: int, record: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Returns box and class of each object of a line.

    Raises:
        DataError: there are more boxes than classes, or fewer.
    """
    objects = record.get("objects")
    if not objects:
        return []
    if isinstance(objects, list):  # one object per entry, in place of one list per key
        return [(_get_first(one, BOX_KEYS), _get_first(one, CLASS_KEYS)) for one in objects]
    boxes, classes = _get_first(objects, BOX_KEYS), _get_first(objects, CLASS_KEYS)
    boxes, classes = boxes or [], classes or []
    if not isinstance(boxes, list) or not isinstance(classes, list) or len(boxes) != len(classes):
        must = f"must have as many classes ({', '.join(CLASS_KEYS[:4])}) as boxes (bbox)"
        raise DataError(explain(f"{path} line {number}: objects", must, objects, MEND_LINE))
    return list(zip(boxes, classes, strict=True))


def _get_first(objects: Any, keys: tuple[str, ...]) -> Any:
    """Returns the value of the first key that is there."""
    there = objects if isinstance(objects, dict) else {}
    return next((there[key] for key in keys if key in there), None)
