"""Reads LVIS's lists of categories that are absent from an image, or annotated only in part.

LVIS does not annotate all 1,203 categories in every image (Gupta et al. 2019, sec. 4). The record
of an image lists the categories known to be absent, and those with only some objects annotated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.data.sources.raw import Problem, RawObject
from rethink_ray.data.sources.values import read_key, show


def read_verified(
    record: Mapping[str, Any], names: Mapping[int | str, str], objects: Sequence[RawObject]
) -> tuple[str, ...] | None:
    """Returns the categories that annotators checked in this image: present or known to be absent.

    ``None`` if the file does not say, which means all categories.
    """
    absent = record.get("neg_category_ids")
    if not isinstance(absent, list):
        return None
    present = {one.category for one in objects if one.category is not None}
    return tuple(sorted(present | set(_list_names(absent, names))))


def build_unfinished_crowds(
    record: Mapping[str, Any], size: tuple[int, int], names: Mapping[int | str, str]
) -> list[RawObject]:
    """Returns a crowd over the whole image for each category that is annotated only in part.

    Detections beyond the annotated objects then count neither as right nor as wrong, which is
    LVIS's rule in COCO's terms. ``size``: width and height, zeros if the file does not say.
    """
    partly = record.get("not_exhaustive_category_ids")
    width, height = size
    if not isinstance(partly, list) or not width or not height:
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


def list_unreadable_categories(record: Mapping[str, Any], file_name: str) -> list[Problem]:
    """Lists the fields that hold anything but category ids; they count as not stated."""
    return [
        Problem(kind="unreadable_categories", example=f"{file_name}: {key} {show(ids)}")
        for key in ("neg_category_ids", "not_exhaustive_category_ids")
        if (ids := record.get(key)) is not None
        and not (isinstance(ids, list) and all(read_key(one) is not None for one in ids))
    ]


def _list_names(ids: Sequence[Any], names: Mapping[int | str, str]) -> list[str]:
    keys = [read_key(value) for value in ids]
    return sorted({names[key] for key in keys if key is not None and key in names})
