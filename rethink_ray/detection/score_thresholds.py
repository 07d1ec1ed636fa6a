"""The score from which detections of a class are worth showing: that of the best F1.

F1 is 2 TP / (detections + objects), at an overlap (IoU) of 0.5. A low score shows wrong boxes, a
high one hides objects.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rethink_ray.records.detections import from_bits

_Array = npt.NDArray[Any]
LOOSEST_IOU = 0
"""The row of ``from_bits`` for an overlap of 0.5."""
DIGITS = 4
"""Decimals of a threshold, which is rounded down so that its own detection stays."""


def choose_thresholds(table: pa.Table, num_categories: int) -> tuple[float | None, ...]:
    """Returns the threshold of label 1, 2, ...; ``None`` for a class without a right detection.

    Of equal F1 the highest score is chosen, which shows the fewest boxes. Detections in crowds
    count neither as right nor as wrong.

    Args:
        table: rows of ``records.detections``, all detections of a split.
        num_categories: labels count from 1 to this.
    """
    labels = table.column("label").to_numpy()
    objects = table.column("objects").to_numpy(zero_copy_only=False)
    scores = table.column("score").to_numpy(zero_copy_only=False)
    is_detection = np.isfinite(scores)
    matched, ignored = (
        _read_flags(table.filter(pa.array(is_detection)), name) for name in ("matched", "ignored")
    )
    chosen: list[float | None] = []
    for label in range(1, num_categories + 1):
        counted = ~is_detection & (labels == label)
        num_objects = int(np.nansum(objects[counted]))
        of_class = labels[is_detection] == label
        kept = of_class & ~ignored
        chosen.append(_find_best(scores[is_detection][kept], matched[kept], num_objects))
    return tuple(chosen)


def _read_flags(detections: pa.Table, name: str) -> _Array:
    """``[D]``: the flag of each detection at the loosest overlap."""
    bits = detections.column(name).to_numpy(zero_copy_only=False).astype(np.uint16)
    flags: _Array = from_bits(bits)[LOOSEST_IOU]
    return flags


def _find_best(scores: _Array, is_right: _Array, num_objects: int) -> float | None:
    """Returns the score of the best F1; ``None`` if no detection is right."""
    if not is_right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    descending, right = scores[order], np.cumsum(is_right[order])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + num_objects)
    is_last_of_ties = np.append(descending[1:] < descending[:-1], True)
    best = int(np.argmax(np.where(is_last_of_ties, f1, -1.0)))
    threshold: float = math.floor(float(descending[best]) * 10**DIGITS) / 10**DIGITS
    return threshold
