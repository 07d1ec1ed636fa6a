"""``data check``: everything that is odd about a split, counted, before machines are spent.

Findings, not errors: training copes with each of them and counts it. Only a data set of which
nothing can be read is an error.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from rethink_ray.data.faults import clamp, has_pixels, is_outside
from rethink_ray.data.index import open_split
from rethink_ray.data.pictures import picture_sizes
from rethink_ray.data.sources.locate import source_of
from rethink_ray.data.sources.raw import RawImage, RawObject
from rethink_ray.spec.regime import DataSpec

NUM_EXAMPLES = 3
NOTES = frozenset({"crowd", "empty_image"})
"""Kinds that are no fault: ``--strict`` does not fail on them."""

Found = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of oddity in one split."""

    kind: str
    count: int
    examples: tuple[str, ...]

    @property
    def is_fault(self) -> bool:
        """False for what is merely worth knowing."""
        return self.kind not in NOTES


def check_split(data: DataSpec, split: str, *, decode: bool = True) -> list[Finding]:
    """What is odd in train, val or test, sorted by kind; empty if nothing is.

    Kinds: ``missing_image``, ``unreadable_image`` (``decode`` reads every pixel, otherwise
    headers and file ends), ``unreadable_annotation``, ``size_disagrees``, ``box_outside``,
    ``box_degenerate``, ``unknown_category`` (of the training split's), ``unknown_image``,
    ``duplicate_id``, ``file_name_disagrees``, and as notes ``crowd`` and ``empty_image``.
    """
    raw = source_of(data, split).read()
    known = raw.categories if split == "train" else open_split(data, "train").categories
    found: Found = defaultdict(list)
    for problem in raw.problems:
        found[problem.kind].append(problem.example)
    sizes = picture_sizes([image.path for image in raw.images], decode=decode)
    for image, size in zip(raw.images, sizes, strict=True):
        if isinstance(size, str):
            found[size].append(image.file_name)
            size = (image.width, image.height)
        elif size != (image.width, image.height):
            told = f"{image.width}x{image.height}"
            found["size_disagrees"].append(f"{image.file_name}: {told}, is {size[0]}x{size[1]}")
        _check_objects(image, size, frozenset(known), found)
    return [
        Finding(kind=kind, count=len(examples), examples=tuple(examples[:NUM_EXAMPLES]))
        for kind, examples in sorted(found.items())
    ]


def _check_objects(
    image: RawImage, size: tuple[int, int], known: frozenset[str], found: Found
) -> None:
    if not image.objects:
        found["empty_image"].append(image.file_name)
    size_wh = np.array(size, np.float32)
    for annotated in image.objects:
        where = f"{image.file_name}: {annotated.category}"
        if annotated.category not in known:
            found["unknown_category"].append(where)
        if annotated.is_crowd:
            found["crowd"].append(where)
            continue
        kind = _box_fault(annotated, size_wh)
        if kind:
            corners = ", ".join(f"{corner:g}" for corner in annotated.box_xyxy)
            found[kind].append(f"{where} [{corners}]")


def _box_fault(annotated: RawObject, size_wh: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    box = np.array([annotated.box_xyxy], np.float32)
    clamped = clamp(box, size_wh)
    if not has_pixels(clamped)[0]:
        return "box_degenerate"
    return "box_outside" if is_outside(box, clamped)[0] else ""
