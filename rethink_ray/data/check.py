"""``data check``: everything that is odd about a split, counted, before machines are spent.

Findings, not errors: training copes with each of them and counts it. Only a data set of which
nothing can be read is an error.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from rethink_ray.data.faults import clamp, has_pixels, is_outside
from rethink_ray.data.index import open_split
from rethink_ray.data.orientation import AS_STORED, PictureHeader, Size, is_stated
from rethink_ray.data.pictures import read_headers
from rethink_ray.data.sources.locate import source_of
from rethink_ray.data.sources.raw import RawImage, RawObject
from rethink_ray.spec.regime import DataSpec

NUM_EXAMPLES = 3
NOTES = frozenset({"crowd", "empty_image"})
"""Kinds that are no fault: ``--strict`` does not fail on them. Nor are orientations."""
ORIENTATION = "orientation"

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
        return self.kind not in NOTES and not self.kind.startswith(ORIENTATION)


def check_split(data: DataSpec, split: str, *, decode: bool = True) -> list[Finding]:
    """What is odd in train, val or test, sorted by kind; empty if nothing is.

    Kinds: ``missing_image``, ``unreadable_image`` (``decode`` reads every pixel, otherwise
    headers and file ends), ``unreadable_annotation``, ``size_disagrees``, ``box_outside``,
    ``box_degenerate``, ``unknown_category`` (of the training split's), ``unknown_image``,
    ``duplicate_id``, ``file_name_disagrees``, and as notes ``crowd``, ``empty_image`` and, for each
    EXIF orientation, ``orientation_6_turned`` or ``orientation_6_as_stored``.
    """
    raw = source_of(data, split).read()
    known = raw.categories if split == "train" else open_split(data, "train").categories
    found: Found = defaultdict(list)
    for problem in raw.problems:
        found[problem.kind].append(problem.example)
    headers = read_headers([image.path for image in raw.images], decode=decode)
    for image, header in zip(raw.images, headers, strict=True):
        size = annotated_wh = (image.width, image.height)
        if isinstance(header, str):
            found[header].append(image.file_name)
        else:
            size = header.size_for(annotated_wh)
            _check_header(image.file_name, header, annotated_wh, found)
        _check_objects(image, size, frozenset(known), found)
    return [
        Finding(kind=kind, count=len(examples), examples=tuple(examples[:NUM_EXAMPLES]))
        for kind, examples in sorted(found.items())
    ]


def _check_header(file_name: str, header: PictureHeader, annotated_wh: Size, found: Found) -> None:
    size = header.size_for(annotated_wh)
    if header.orientation != AS_STORED:
        how = "turned" if header.is_turned(annotated_wh) else "as_stored"
        example = f"{file_name}: {size[0]}x{size[1]}"
        found[f"{ORIENTATION}_{header.orientation}_{how}"].append(example)
    if is_stated(annotated_wh) and size != annotated_wh:
        told = f"{annotated_wh[0]}x{annotated_wh[1]}"
        found["size_disagrees"].append(f"{file_name}: {told}, is {size[0]}x{size[1]}")


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
