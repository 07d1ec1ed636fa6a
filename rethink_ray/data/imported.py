"""Detections of another tool as labels: a JSON list in COCO's results format, matched with a pool.

Ids that the data set does not have are counted and left out. If most detections name such ids, the
file belongs to other images or to another numbering, and it is refused.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.pool import LabelPool, TeacherLabels
from rethink_ray.data.sources.coco import CocoSource
from rethink_ray.data.sources.locate import locate_source
from rethink_ray.data.sources.raw import SplitSource
from rethink_ray.data.sources.segmentations import read_segmentation
from rethink_ray.data.sources.unlabelled import UnlabelledSource
from rethink_ray.data.sources.values import (
    read_coordinates,
    read_image_id,
    read_key,
    read_number,
    show,
)
from rethink_ray.data.splits import open_listed
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.labels import LabelsSpec
from rethink_ray.spec.regime import DataSpec

UNREADABLE = "unreadable"
UNKNOWN_IMAGE = "unknown_image"
UNKNOWN_CATEGORY = "unknown_category"
OUTSIDE_POOL = "outside_pool"
BELOW_THRESHOLD = "below_threshold"
WHY_NO_LABEL = {
    UNREADABLE: "cannot be read",
    UNKNOWN_IMAGE: "name an image that the data set does not list",
    UNKNOWN_CATEGORY: "name a category that train does not have",
    OUTSIDE_POOL: "are on images outside the pool",
    BELOW_THRESHOLD: "score below labels.threshold",
}
"""Kind of detection that becomes no label -> why, in words."""
MUST_BE_FEW = (UNREADABLE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)
"""Kinds of which a file may hold at most half: more come of another data set or format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDetections:
    """The labels that a file of detections gives the images of a pool."""

    by_image: Mapping[int, TeacherLabels]
    """Image id -> its labels, best first, for every image of the pool."""
    left_out: Mapping[str, int]
    """Kind of ``WHY_NO_LABEL`` -> number of detections; only kinds that occur."""
    num_detections: int
    """All detections of the file."""
    has_masks: bool
    """Whether a label has a mask."""

    @property
    def num_boxes(self) -> int:
        """Labels on all images."""
        return sum(len(labels.labels) for labels in self.by_image.values())


class _Detection(NamedTuple):
    score: float
    label: int
    box_xyxy: tuple[float, float, float, float]
    segmentation: str


def import_detections(data: DataSpec, pool: LabelPool, labels: LabelsSpec) -> ImportedDetections:
    """Returns the detections in ``labels.file`` as labels of the pool's images.

    An ``image_id`` is the id in the COCO file that lists the images, or a file's name with or
    without its suffix; where no file lists them, also the number that a file is named by. A
    ``category_id`` is the id in train's COCO file, or a category's name.

    Args:
        data: the data set.
        pool: the images of ``labels.pool``.
        labels: file, pool and threshold.

    Raises:
        DataError: the file is no such list, or most of it belongs to another data set.
    """
    path = Path(labels.file or "")
    records = _load(path)
    is_rest = labels.pool == "rest"
    source = locate_source(data, "train" if is_rest else "unlabelled")
    images = _ImageNames(source, pool.index)
    cut = data.split.shares if is_rest and data.split is not None else ()
    elsewhere = [_ImageNames(source, open_listed(data, split)) for split in cut]
    label_of = _label_of(data, pool.index.categories, records)
    in_pool, left_out, examples = set(pool.image_ids), Counter[str](), dict[str, str]()
    kept: defaultdict[int, list[_Detection]] = defaultdict(list)
    for record in records:
        fields = record if isinstance(record, dict) else {}
        detection = _read(fields)
        image_id = images.find(fields.get("image_id"))
        label = label_of.get(_category_key(fields.get("category_id")))
        kind = ""
        if detection is None:
            kind = UNREADABLE
        elif image_id is None:
            is_cut = any(names.find(fields.get("image_id")) is not None for names in elsewhere)
            kind = OUTSIDE_POOL if is_cut else UNKNOWN_IMAGE
        elif label is None:
            kind = UNKNOWN_CATEGORY
        elif image_id not in in_pool:
            kind = OUTSIDE_POOL
        elif detection.score < labels.threshold:
            kind = BELOW_THRESHOLD
        if kind:
            left_out[kind] += 1
            examples.setdefault(kind, show(record))
        elif detection is not None and image_id is not None and label is not None:
            kept[image_id].append(detection._replace(label=label))
    _require_mostly_known(path, len(records), left_out, examples)
    has_masks = any(one.segmentation for seen in kept.values() for one in seen)
    return ImportedDetections(
        by_image={i: _as_labels(kept.get(i, []), has_masks) for i in pool.image_ids},
        left_out={kind: left_out[kind] for kind in WHY_NO_LABEL if left_out[kind]},
        num_detections=len(records),
        has_masks=has_masks,
    )


class _ImageNames:
    """Finds an image of a split, in its pool or outside, by what a detection calls it."""

    def __init__(self, source: SplitSource, index: AnnotationIndex) -> None:
        image_ids = [int(image_id) for image_id in index.image_column("image_id")]
        paths = index.pictures(image_ids).paths
        self._by_name = _ids_by_name(source, image_ids, paths)
        self._by_number: dict[int, int] = {}
        if isinstance(source, CocoSource):
            self._by_number = {image_id: image_id for image_id in image_ids}
        elif isinstance(source, UnlabelledSource) and source.listed is not None:
            known = set(image_ids)
            listed = source.read_ids()
            self._by_number = {number: i for number, i in listed.items() if i in known}
        else:
            stems = {name: i for name, i in self._by_name.items() if name.isdecimal()}
            num_stems = Counter(map(int, stems))
            self._by_number = {int(n): i for n, i in stems.items() if num_stems[int(n)] == 1}

    def find(self, name: object) -> int | None:
        """Returns the image's id in our index; ``None`` if there is no such image."""
        if isinstance(name, str) and name in self._by_name:
            return self._by_name[name]
        number = read_image_id(name)
        return None if number is None else self._by_number.get(number)


def _ids_by_name(
    source: SplitSource, image_ids: Sequence[int], paths: Sequence[str]
) -> dict[str, int]:
    """Returns path in its folder, file name and stem -> image id; only names of a single image."""
    folders = [PurePath(folder) for folder in source.image_folders().splitlines()]
    ids: dict[str, set[int]] = {}
    for image_id, text in zip(image_ids, paths, strict=True):
        path = PurePath(text)
        inside = [path.relative_to(f).as_posix() for f in folders if path.is_relative_to(f)]
        for name in {*inside, path.name, path.stem}:
            ids.setdefault(name, set()).add(image_id)
    return {name: min(those) for name, those in ids.items() if len(those) == 1}


def _category_key(value: object) -> int | str | None:
    key = read_key(value)
    return key.casefold() if isinstance(key, str) else key


def _label_of(
    data: DataSpec, categories: Sequence[str], records: Sequence[Any]
) -> Mapping[int | str | None, int]:
    """Returns category id or name (in lower case) -> label from 1.

    A COCO file of train is read again for its ids, if a detection has no category's name.
    """
    source = locate_source(data, "train")
    has_ids = isinstance(source, CocoSource)  # a number is an id there, and else a name
    keys = [name.casefold() if has_ids else _category_key(name) for name in categories]
    num_names = Counter(keys)  # names that differ in case alone say nothing without it
    labels = {key: label for label, key in enumerate(keys, start=1) if num_names[key] == 1}
    ids = {_category_key(r.get("category_id")) for r in records if isinstance(r, dict)}
    if isinstance(source, CocoSource) and not ids - {None} <= set(labels):
        label_of = {name: label for label, name in enumerate(categories, start=1)}
        names = source.read_category_names()
        labels |= {_category_key(k): label_of[n] for k, n in names.items() if n in label_of}
    return labels


def _read(fields: Mapping[str, Any]) -> _Detection | None:
    """Returns a record's numbers; ``None`` if box or score cannot be read."""
    numbers = read_coordinates(fields.get("bbox"))
    score = read_number(fields.get("score"))
    if numbers is None or len(numbers) != 4 or min(numbers[2:]) <= 0:
        return None
    if score is None or not 0 <= score <= 1:
        return None
    left, top, width, height = numbers
    return _Detection(
        score=score,
        label=0,
        box_xyxy=(left, top, left + width, top + height),
        segmentation=read_segmentation(fields.get("segmentation")).text.decode(),
    )


def _as_labels(detections: list[_Detection], has_masks: bool) -> TeacherLabels:
    ranked = sorted(detections, key=lambda one: -one.score)
    boxes = np.array([one.box_xyxy for one in ranked], np.float32).reshape(-1, 4)
    return TeacherLabels(
        boxes_xyxy=boxes,
        labels=np.array([one.label for one in ranked], np.int64),
        scores=np.array([one.score for one in ranked], np.float32),
        segmentations=tuple(one.segmentation for one in ranked) if has_masks else (),
    )


def _require_mostly_known(
    path: Path, num: int, left_out: Mapping[str, int], examples: Mapping[str, str]
) -> None:
    for kind in MUST_BE_FEW:
        if 2 * left_out.get(kind, 0) > num:
            must = f"must belong to this data set: few detections that {WHY_NO_LABEL[kind]}"
            shown = f"{left_out[kind]} of {num}, such as {examples[kind]}"
            remedy = (
                "image_id is the id in the COCO file that lists the images, or a file's name; "
                "category_id the id in train's COCO file, or a name; scores run from 0 to 1."
            )
            raise DataError(explain(f"labels.file {path}", must, shown, remedy))


def _load(path: Path) -> list[Any]:
    try:
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise _no_results_error(path, error.strerror or "unreadable") from None
    except (ValueError, RecursionError) as error:
        raise _no_results_error(path, f"no JSON: {error}") from None
    if not isinstance(document, list):
        raise _no_results_error(path, f"a JSON {type(document).__name__}")
    if not document:
        raise _no_results_error(path, "an empty list")
    return document


def _no_results_error(path: Path, reason: str) -> DataError:
    must = "must be a JSON list of {image_id, category_id, bbox, score}, COCO's results format"
    remedy = "Leave out 'images' and 'categories': the list of detections alone."
    return DataError(explain(f"labels.file {path}", must, reason, remedy))
