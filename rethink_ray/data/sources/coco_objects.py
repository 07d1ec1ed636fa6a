"""Reads the ``annotations`` of a COCO file: boxes, crowds, areas, masks and keypoints.

An object whose box or crowd flag cannot be read is left out and listed. Other fields that cannot
be read cost that field alone.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rethink_ray.data.sources.areas import is_area_believable, measure_mask
from rethink_ray.data.sources.raw import Box, Problem, RawObject
from rethink_ray.data.sources.segmentations import read_segmentation
from rethink_ray.data.sources.values import (
    area_of,
    read_coordinates,
    read_flag,
    read_image_id,
    read_key,
    read_number,
    show,
)

LARGEST_AREA_PX2 = 1e10
"""Larger numbers are no areas: this is a square of ``LARGEST_PX``."""


def group_objects(
    records: list[Any], names: Mapping[int | str, str], problems: list[Problem]
) -> dict[int, list[RawObject]]:
    """Returns image id -> its objects; adds to ``problems``, and empties ``records``.

    A record that repeats another one with its id is left out. One that repeats an id alone is kept,
    because nothing else in the file refers to that id.
    """
    objects: dict[int, list[RawObject]] = defaultdict(list)
    contents: set[tuple[int | str, int, RawObject]] = set()
    ids: set[int | str] = set()
    for position, record in enumerate(records):
        records[position] = None  # frees the record: otherwise COCO would be in memory twice
        image_id = read_image_id(record.get("image_id")) if isinstance(record, dict) else None
        if image_id is None:
            problems.append(Problem(kind="unreadable_object", example=show(record)))
            continue
        annotated = _read_object(record, names, problems)
        if annotated is None:
            continue
        annotation_id = read_key(record.get("id"))
        if annotation_id is not None:
            content = (annotation_id, image_id, annotated)
            if annotation_id in ids:
                problems.append(Problem(kind="duplicate_id", example=f"annotation {annotation_id}"))
                if content in contents:
                    continue
            ids.add(annotation_id)
            contents.add(content)
        objects[image_id].append(annotated)
    return dict(objects)


def _read_object(
    record: Mapping[str, Any], names: Mapping[int | str, str], problems: list[Problem]
) -> RawObject | None:
    """Returns the object, with its faults listed; ``None`` if its box or flag cannot be read."""
    box, is_crowd = _read_box(record.get("bbox")), read_flag(record.get("iscrowd"))
    area = None if box is None else _read_area(record.get("area"), box)
    segmentation = read_segmentation(record.get("segmentation"))
    is_believable = box is None or not area or is_area_believable(area, box, segmentation.text)
    if box is not None and not is_believable:
        area = measure_mask(segmentation.text) or area_of(box)
    keypoints = _read_keypoints(record.get("keypoints"))
    faults = {
        "unreadable_box": ("bbox", box is None),
        "unreadable_crowd": ("iscrowd", is_crowd is None),
        "unreadable_area": ("area", box is not None and area is None),
        "area_unbelievable": ("area", not is_believable),
        "unreadable_keypoints": ("keypoints", keypoints is None),
        "mask_piece_left_out": ("segmentation", segmentation.num_left_out > 0),
    }
    for kind, (key, is_broken) in faults.items():
        if is_broken:
            where = f"annotation {show(record.get('id'))} of image {show(record.get('image_id'))}"
            example = f"{where}: {key} {show(record.get(key))}"
            problems.append(Problem(kind=kind, example=example))
    if box is None or is_crowd is None:
        return None
    category = read_key(record.get("category_id"))
    return RawObject(
        category=None if category is None else names.get(category),
        box_xyxy=box,
        is_crowd=is_crowd,
        area=area_of(box) if area is None else area,
        segmentation=segmentation.text,
        is_mask_unreadable=segmentation.is_unreadable,
        keypoints=keypoints or (),
    )


def _read_box(xywh: object) -> Box | None:
    """Returns the corners of a box; ``None`` unless it has four numbers.

    A negative width or height leaves the corners swapped.
    """
    numbers = read_coordinates(xywh)
    if numbers is None or len(numbers) != 4:
        return None
    x, y, width, height = numbers
    return (x, y, x + width, y + height)


def _read_area(value: object, box_xyxy: Box) -> float | None:
    """Returns the annotated area, or that of the box if none is annotated, in square pixels.

    ``None`` if the annotated value cannot be the area of this box.
    """
    if value is None:
        return area_of(box_xyxy)
    area = read_number(value)
    if area is None or not 0 <= area <= LARGEST_AREA_PX2:
        return None
    return area if area or not area_of(box_xyxy) else None


def _read_keypoints(values: object) -> tuple[float, ...] | None:
    """Returns x, y, visibility, repeated; empty without keypoints, ``None`` for other values."""
    if values is None:
        return ()
    numbers = read_coordinates(values)
    return None if numbers is None or len(numbers) % 3 else tuple(numbers)
