"""Refuses splits whose pictures mostly have another size than their annotations state.

The boxes of such a split fit other pictures: these were resized or turned after annotation.
"""

import numpy as np
from numpy.typing import NDArray

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.inspection import NUM_NAMED
from rethink_ray.spec.errors import DataError, explain

ROUNDING_PX = 1
"""A size that differs by one pixel is rounding: the boxes still fit."""


def require_sizes(index: AnnotationIndex, split: str) -> None:
    """Refuses a split if most of its pictures have another size than annotated.

    Sizes are compared after turning by EXIF. Pictures without an annotated size do not count.

    Raises:
        DataError: most pictures have another size; names the first three and counts all.
    """
    in_split = np.isin(index.image_column("image_id"), index.image_ids)
    stated = _columns(index, "annotated_width", "annotated_height")
    actual = _columns(index, "width", "height")
    is_stated = in_split & np.all(stated > 0, axis=1)
    differs = is_stated & np.any(np.abs(stated - actual) > ROUNDING_PX, axis=1)
    rows, num_stated = np.flatnonzero(differs), int(is_stated.sum())
    if 2 * len(rows) <= num_stated:
        return
    examples = [
        f"{index.entry(int(index.image_column('image_id')[row])).path} is {_show(actual[row])}, "
        f"annotated as {_show(stated[row])}"
        for row in rows[:NUM_NAMED]
    ]
    must = "must show most pictures in the size that its annotations state"
    shown = f"{len(rows)} of {num_stated} in another: {'; '.join(examples)}"
    remedy = (
        "Put the annotated pictures back, or scale the boxes to these. If the boxes fit already, "
        "correct width and height in the annotations."
    )
    raise DataError(explain(f"split {split}", must, shown, remedy))


def _columns(index: AnnotationIndex, *names: str) -> NDArray[np.int64]:
    """Returns [images, names]: columns of the whole split, side by side."""
    return np.stack([index.image_column(name).astype(np.int64) for name in names], axis=1)


def _show(size: NDArray[np.int64]) -> str:
    return f"{size[0]}x{size[1]}"
