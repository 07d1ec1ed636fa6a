"""Reads LVIS's fields for categories that an image annotates not at all or only in part.

LVIS does not annotate all 1,203 categories in every image (Gupta et al. 2019, sec. 4). An image
lists the categories that are known to be absent, and those with only some objects annotated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.data.sources.raw import RawObject


def read_verified(
    record: Mapping[str, Any], names: Mapping[Any, str], objects: Sequence[RawObject]
) -> tuple[str, ...] | None:
    """Returns the categories that annotators checked in this image: present or known to be absent.

    ``None`` if the file does not say, which means all categories.
    """
    absent = record.get("neg_category_ids")
    if not isinstance(absent, list):
        return None
    present = {one.category for one in objects if one.category is not None}
    return tuple(sorted(present | set(_list_names(absent, names))))


def build_unfinished_crowds(record: Mapping[str, Any], names: Mapping[Any, str]) -> list[RawObject]:
    """Returns a crowd over the whole image for each category that is annotated only in part.

    Detections beyond the annotated objects then count neither as right nor as wrong, which is
    LVIS's rule in COCO's terms.
    """
    partly = record.get("not_exhaustive_category_ids")
    width, height = record.get("width"), record.get("height")
    if not isinstance(partly, list) or not isinstance(width, int) or not isinstance(height, int):
        return []
    return [
        RawObject(
            category=name,
            box_xyxy=(0.0, 0.0, float(width), float(height)),
            is_crowd=True,
            area=float(width * height),
        )
        for name in _list_names(partly, names)
    ]


def _list_names(ids: Sequence[Any], names: Mapping[Any, str]) -> list[str]:
    return sorted({names[key] for key in ids if isinstance(key, int | str) and key in names})
