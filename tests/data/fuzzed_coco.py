"""COCO documents that mean the same as a good one, or that are damaged somewhere."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Path = tuple[str | int, ...]

POLYGON = [2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]
RUNS = {"size": [10, 20], "counts": [42, 4, 6, 4, 144]}
"""Rows 2..5 of columns 4 and 5."""


def good_document() -> Document:
    """Three pictures of 20 x 10 with six objects; each has a box of its own."""
    boxes = [(1, 1, [2, 2, 6, 6]), (1, 2, [4, 2, 2, 4]), (2, 1, [1, 1, 5, 5]), (2, 2, [9, 3, 8, 4])]
    boxes += [(3, 1, [3, 1, 7, 8]), (3, 2, [10, 2, 6, 6])]
    masks: list[Any] = [[POLYGON], RUNS, [[1, 1, 6, 1, 6, 6, 1, 6]]]
    masks += [{"size": [10, 20], "counts": [93, 4, 103]}]
    masks += [[[3, 1, 10, 1, 10, 9], [3, 3, 5, 3, 5, 9]], [[10, 2, 16, 2, 16, 8, 10, 8]]]
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 20, "height": 10} for i in (1, 2, 3)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(number == 4),
                "segmentation": mask,
                "keypoints": [box[0] + 1, box[1] + 1, 2],
            }
            for number, ((image_id, category_id, box), mask) in enumerate(
                zip(boxes, masks, strict=True), start=1
            )
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


NO_NUMBERS: tuple[Any, ...] = (
    *(None, True, "abc", "", "nan", "1,5", "0x10", "1_0", "\uff11", "\ud800", [], {}, [[]], [1]),
    *(float("nan"), float("inf"), 10**400, 1e300, -1e12, "1e999"),
)
"""Values that are no coordinate of a picture."""
NO_FLAGS: tuple[Any, ...] = ("abc", "2", 2, -1, 0.5, [], {}, [0], "0 0", float("nan"), 10**400)
NO_IDS: tuple[Any, ...] = (None, True, 1.5, [], {}, [1], float("nan"), float("inf"), "", "\ud800")
STRANGE_IDS: tuple[Any, ...] = ("abc", 99, -7, 2**70, 10**400, "9" * 5000, "1 2")
UNKNOWN_IDS: tuple[Any, ...] = ("xyz", 98, -8, 2**71, 10**401, "8" * 5000, "2 1")
"""Of no image and no category, also where those have one of ``STRANGE_IDS``."""
NO_NAMES: tuple[Any, ...] = (None, "", [], {}, 7, True, "\0", "a\0b", "\ud800", "x" * 300, ".", "/")
NO_RECORDS: tuple[Any, ...] = (None, [], "x", 7, True, {}, [[1]])
NO_MASKS: tuple[Any, ...] = (
    *("abc", 7, True, [[]], [[], []], [1, 2, 3, 4], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [None]),
    *([["a", 1, 2, 3, 4, 5]], [[1, 1, float("nan"), 2, 3, 3]], [[30, 30, 40, 30, 40, 40]]),
    *([[1, 1, 1, 1, 1, 1]], [[10**400] * 6], [[1e300, 0, 1, 1, 2, 2]], {"size": [10, 20]}),
    *({"counts": [200]}, {"size": [20, 10], "counts": [42, 4, 6, 4, 144]}),
    *({"size": [10, 20], "counts": [42, 4, 6, 4]}, {"size": [10, 20], "counts": [-1, 201]}),
    *({"size": [10, 20], "counts": [42, 4, 6, 4, 145]}, {"size": [10, 20], "counts": "???"}),
    *({"size": [10, 20], "counts": "\u00e9"}, {"size": 7, "counts": [200]}),
    *({"size": [10, 20], "counts": [200]}, {"size": [10, 20], "counts": [None, 200]}),
    *({"size": [10, 20], "counts": "o" * 50}, {"size": [10**400, 20], "counts": [200]}),
)
"""Values that are no mask, or none with a pixel in a picture of 20 x 10."""


@dataclass(frozen=True)
class Change:
    """One change of a document; ``str`` of it says which."""

    label: str
    apply: Callable[[Document], None]

    def __repr__(self) -> str:
        return self.label


def _put(path: Path, value: Any) -> Change:
    def apply(document: Document) -> None:
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = copy.deepcopy(value)

    return Change(f"{path} = {value!r:.40}", apply)


def _drop(path: Path) -> Change:
    def apply(document: Document) -> None:
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return Change(f"{path} gone", apply)


def _repeat(key: str, number: int, **fields: Any) -> Change:
    def apply(document: Document) -> None:
        document[key].append({**copy.deepcopy(document[key][number]), **fields})

    return Change(f"{key} {number} again with {fields}", apply)


def _number_meanings(value: float) -> Iterator[Any]:
    yield from (value, float(value), str(value), f" {float(value)} ", f"{float(value):.3e}")


def _meant() -> Iterator[Change]:
    """Changes after which a document means what it meant."""
    good = good_document()
    for i, record in enumerate(good["annotations"]):
        here: Path = ("annotations", i)
        for k, number in enumerate(record["bbox"]):
            yield from (_put((*here, "bbox", k), value) for value in _number_meanings(number))
        for k, number in enumerate(record["keypoints"]):
            yield from (_put((*here, "keypoints", k), value) for value in _number_meanings(number))
        yield from (_put((*here, "area"), value) for value in _number_meanings(record["area"]))
        for key in ("image_id", "category_id"):
            ids = (float(record[key]), str(record[key]), f" {record[key]}.0 ")
            yield from (_put((*here, key), value) for value in ids)
        yield from (_drop((*here, "area")), _put((*here, "area"), None), _drop((*here, "id")))
        flags = (1, True, "1", 1.0, "true", "TRUE") if record["iscrowd"] else (0, "0", "false", 0.0)
        yield from (_put((*here, "iscrowd"), value) for value in flags)
        if not record["iscrowd"]:
            yield from (_drop((*here, "iscrowd")), _put((*here, "iscrowd"), None))
        yield from (_put((*here, "segmentation"), v) for v in _mask_meanings(record))
    for i, record in enumerate(good["images"]):
        for key in ("id", "width", "height"):
            values = (record[key], float(record[key]), str(record[key]))
            yield from (_put(("images", i, key), value) for value in values)
        yield from (_drop(("images", i, "width")), _put(("images", i, "height"), None))
        yield _put(("images", i, "coco_url"), 7)
    for i, record in enumerate(good["categories"]):
        yield from (_put(("categories", i, "id"), v) for v in (float(i + 1), str(i + 1)))
        yield _put(("categories", i, "name"), f" {record['name']} ")
        yield _put(("categories", i, "keypoints"), [])


def _mask_meanings(record: Document) -> Iterator[Any]:
    mask = record["segmentation"]
    if isinstance(mask, dict):
        yield {"size": [str(side) for side in mask["size"]], "counts": mask["counts"]}
        yield {"size": mask["size"], "counts": [str(count) for count in mask["counts"]]}
        yield {"size": [10.0, 20.0], "counts": [float(count) for count in mask["counts"]]}
        return
    yield [[str(number) for number in piece] for piece in mask]
    yield [[float(number) for number in piece] for piece in mask]
    if len(mask) == 1:
        yield mask[0]
        yield [str(number) for number in mask[0]]


def _damaged() -> Iterator[Change]:
    """Changes after which a part of a document means nothing, or contradicts another part."""
    good = good_document()
    for i, record in enumerate(good["annotations"]):
        here: Path = ("annotations", i)
        for k in range(4):
            yield from (_put((*here, "bbox", k), value) for value in NO_NUMBERS)
        boxes = (None, "2 2 6 6", [], [1, 2, 3], [1, 2, 3, 4, 5], {}, 7, [[1, 2, 3, 4]])
        yield from (_put((*here, "bbox"), value) for value in boxes)
        yield from (_put((*here, "area"), v) for v in (*NO_NUMBERS[1:], -5, 0) if v not in ([1],))
        yield from (_put((*here, "iscrowd"), value) for value in NO_FLAGS)
        yield from (_put((*here, "image_id"), value) for value in (*NO_IDS, *UNKNOWN_IDS))
        yield from (_put((*here, "category_id"), value) for value in (*NO_IDS, *UNKNOWN_IDS))
        yield from (_put((*here, "segmentation"), value) for value in NO_MASKS)
        yield from (_put((*here, "segmentation"), value) for value in (None, [], "", {}))
        points = ("abc", 7, {}, [1, 2], [1, 2, 2, 1, 2, 2], [None] * 3, [1, "x", 2])
        yield from (_put((*here, "keypoints"), value) for value in points)
        for key in ("bbox", "image_id", "category_id", "segmentation"):
            yield _drop((*here, key))
        yield from (_put(here, value) for value in NO_RECORDS)
        yield _repeat("annotations", i)
        yield _put((*here, "bbox", 2), -record["bbox"][2])
    for i in range(3):
        yield from (_put(("images", i, "id"), value) for value in (*NO_IDS, *STRANGE_IDS))
        yield from (_put(("images", i, "file_name"), value) for value in NO_NAMES)
        yield from (_put(("images", i), value) for value in NO_RECORDS)
        yield from (_put(("images", i, "width"), v) for v in (*NO_NUMBERS[1:], -20, 2**31))
        yield from (_repeat("images", i), _repeat("images", i, file_name="other.png"))
        yield _put(("images", i, "id"), (i + 1) % 3 + 1)
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            yield from (_put(("images", i, key), v) for v in ("1", {}, [None], [[1]], [True]))
    for i in range(2):
        yield from (_put(("categories", i, "id"), value) for value in (*NO_IDS, *STRANGE_IDS))
        yield from (_put(("categories", i, "name"), v) for v in (None, "", [], {}, "\ud800", True))
        yield from (_put(("categories", i), value) for value in NO_RECORDS)
        yield from (_repeat("categories", i), _repeat("categories", i, name="cow"))
    for key in ("images", "annotations", "categories"):
        yield from (_put((key,), value) for value in (None, {}, "x", 7))
        yield _drop((key,))
    for key in ("images", "categories"):  # without objects a file has pictures of background
        yield _put((key,), [])


MEANT = tuple(_meant())
DAMAGED = tuple(_damaged())
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le")
"""Encodings that JSON may have; each is recognised."""


def changed(changes: list[Change]) -> Document:
    """The good document after these changes; a change of a part that is gone is skipped."""
    document = good_document()
    for change in changes:
        try:
            change.apply(document)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    return document


def as_bytes(document: Document, encoding: str) -> bytes:
    """The JSON of a document; a number of 400 digits is written out."""
    return json.dumps(document, ensure_ascii=True).encode(encoding)
