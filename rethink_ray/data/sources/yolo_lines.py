"""Reads the label file of one picture: a line per object, in shares of the picture's sides.

3 0.5 0.5 0.2 0.4                class, middle x and y, width, height
3 0.1 0.1 0.9 0.1 0.5 0.8        class, and the corners of a polygon
0 0.5 0.5 0.2 0.4 0.4 0.4 2      class, box, and the keypoints that kpt_shape states
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from rethink_ray.data.sources.areas import measure_mask
from rethink_ray.data.sources.raw import Box, Problem, RawObject
from rethink_ray.data.sources.segmentations import MIN_CORNERS
from rethink_ray.data.sources.values import area_of, read_key, read_number, show

SHARE_ROUNDING = 0.01
"""A share may lie so far outside 0..1: programs round, and some boxes reach beyond the picture."""
NUM_BOX_VALUES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFormat:
    """What the lines of a data set's label files mean."""

    names: Mapping[int, str]
    """Class id -> name."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of keypoints, and of values of each (2 or 3); ``None``: lines have none."""


def read_label_lines(
    text: str, where: str, size_wh: tuple[int, int], labels: LabelFormat, problems: list[Problem]
) -> tuple[RawObject, ...]:
    """Returns the objects of a label file, in its order.

    Args:
        text: its contents.
        where: its name, for messages.
        size_wh: of the picture as shown, in pixels.
        labels: what the numbers mean.
        problems: to which lines are added that are left out.
    """
    objects = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            kind, annotated = _read_line(line.split(), number, size_wh, labels)
            if annotated is None:
                problems.append(Problem(kind=kind, example=f"{where} line {number}: {show(line)}"))
            else:
                objects.append(annotated)
    return tuple(objects)


def _read_line(
    words: list[str], number: int, size_wh: tuple[int, int], labels: LabelFormat
) -> tuple[str, RawObject | None]:
    """Returns the object, or the kind of fault for which its line is left out."""
    values = [read_number(word) for word in words[1:]]
    numbers = [value for value in values if value is not None]
    num_box, num_points = _count_values(len(values), labels)
    if len(numbers) != len(values) or not num_box + num_points:
        return "unreadable_box", None
    shares = numbers[:num_box] if labels.keypoint_shape else numbers
    if not all(-SHARE_ROUNDING <= share <= 1 + SHARE_ROUNDING for share in shares):
        return "box_not_normalised", None
    polygon = _scale(shares, size_wh) if len(shares) > NUM_BOX_VALUES else []
    box = _enclose(polygon) if polygon else _read_box(shares, size_wh)
    segmentation = json.dumps([polygon]).encode() if polygon else b""
    class_id = read_key(words[0])
    return "", RawObject(
        category=labels.names.get(class_id) if isinstance(class_id, int) else None,
        box_xyxy=box,
        is_crowd=False,
        area=(measure_mask(segmentation) if polygon else 0.0) or area_of(box),
        segmentation=segmentation,
        keypoints=_read_keypoints(numbers[num_box:], size_wh, labels),
        line=number,
    )


def _count_values(num: int, labels: LabelFormat) -> tuple[int, int]:
    """Returns how many of so many values are of a box or polygon, and how many of keypoints.

    Zeros for a number that no object has.
    """
    if num == NUM_BOX_VALUES:
        return NUM_BOX_VALUES, 0
    if labels.keypoint_shape is not None:
        count, width = labels.keypoint_shape
        return (NUM_BOX_VALUES, count * width) if num == NUM_BOX_VALUES + count * width else (0, 0)
    return (num, 0) if num >= 2 * MIN_CORNERS and num % 2 == 0 else (0, 0)


def _read_box(shares: list[float], size_wh: tuple[int, int]) -> Box:
    middle_x, middle_y, width, height = shares
    corners = [middle_x - width / 2, middle_y - height / 2]
    corners += [middle_x + width / 2, middle_y + height / 2]
    x0, y0, x1, y1 = _scale(corners, size_wh)
    return x0, y0, x1, y1


def _scale(shares: list[float], size_wh: tuple[int, int]) -> list[float]:
    """Returns x, y, x, y, ... in pixels."""
    return [share * size_wh[position % 2] for position, share in enumerate(shares)]


def _enclose(polygon: list[float]) -> Box:
    xs, ys = polygon[0::2], polygon[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _read_keypoints(
    values: list[float], size_wh: tuple[int, int], labels: LabelFormat
) -> tuple[float, ...]:
    """Returns x and y in pixels and visibility, repeated; without a visibility, 0 0 is unseen."""
    if not values or labels.keypoint_shape is None:
        return ()
    width = labels.keypoint_shape[1]
    points = [values[start : start + width] for start in range(0, len(values), width)]
    seen = [point[2] if width == 3 else 2.0 * any(point) for point in points]
    places = [_scale(point[:2], size_wh) for point in points]
    return tuple(value for xy, v in zip(places, seen, strict=True) for value in (*xy, v))
