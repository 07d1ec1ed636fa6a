"""LVIS's own fields: which categories of an image are annotated at all, and which only in part.

Its 1,203 categories are not looked for in every image (Gupta et al. 2019, sec. 4): an image says
which are known to be absent, and of which only some objects are marked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rethink_ray.data.sources.raw import RawObject


def verified_in(
    record: Mapping[str, Any], names: Mapping[Any, str], objects: Sequence[RawObject]
) -> tuple[str, ...] | None:
    """The categories looked for in this image: found, or known to be absent.

    ``None`` where the file does not say, which means all of them.
    """
    absent = record.get("neg_category_ids")
    if not isinstance(absent, list):
        return None
    present = {one.category for one in objects if one.category is not None}
    return tuple(sorted(present | set(_named(absent, names))))


def unfinished(record: Mapping[str, Any], names: Mapping[Any, str]) -> list[RawObject]:
    """A crowd over the whole image for each category of which not every object is marked.

    What is found beyond the marked ones then counts neither for nor against, which is LVIS's rule
    in COCO's terms.
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
        for name in _named(partly, names)
    ]


def _named(ids: Sequence[Any], names: Mapping[Any, str]) -> list[str]:
    return sorted({names[key] for key in ids if isinstance(key, int | str) and key in names})
