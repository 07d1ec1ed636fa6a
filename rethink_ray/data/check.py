"""``data check``: everything that is odd about a split, counted, before machines are spent.

Findings, not errors: training copes with each of them and counts it. Only a data set of which
nothing can be read is an error.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rethink_ray.data.contents import repeated_pictures
from rethink_ray.data.faults import clamp, has_pixels, is_outside
from rethink_ray.data.index import open_listed, open_split
from rethink_ray.data.leaks import find_leaks, refresh_splits
from rethink_ray.data.orientation import AS_STORED, PictureHeader, Size, is_stated
from rethink_ray.data.pictures import read_headers
from rethink_ray.data.sources.locate import source_of
from rethink_ray.data.sources.raw import RawImage, RawObject
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

NUM_EXAMPLES = 3
NOTES = frozenset({"crowd", "empty_image", "repeated_picture", "dropped_duplicate"})
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


def check_data(data: DataSpec, splits: Sequence[str]) -> dict[str, list[Finding]]:
    """What is odd in each of these splits, and what the splits in use have in common.

    ``splits_not_compared`` says why they could not be held against each other: one cannot be
    indexed, or the hold-out is as large as train.
    """
    by_split = {split: check_split(data, split) for split in splits}
    try:
        shared = check_duplicates(data)
    except DataError as error:
        shared = {"train": [Finding(kind="splits_not_compared", count=1, examples=(str(error),))]}
    for split, findings in shared.items():
        by_split[split] = sorted([*by_split[split], *findings], key=lambda finding: finding.kind)
    return by_split


def check_split(data: DataSpec, split: str, *, decode: bool = True) -> list[Finding]:
    """What is odd in train, val or test, sorted by kind; empty if nothing is.

    Kinds: ``missing_image``, ``unreadable_image`` (``decode`` reads every pixel, otherwise
    headers and file ends), ``unreadable_annotation``, ``size_disagrees``, ``box_outside``,
    ``box_degenerate``, ``unknown_category`` (of the training split's), ``unknown_image``,
    ``duplicate_id``, ``file_name_disagrees``, and as notes ``crowd``, ``empty_image`` and, for each
    EXIF orientation, ``orientation_6_turned`` or ``orientation_6_as_stored``.
    """
    raw = source_of(data, split).read()
    categories = raw.categories if split == "train" else open_split(data, "train").categories
    examples: Found = defaultdict(list)
    for problem in raw.problems:
        examples[problem.kind].append(problem.example)
    headers = read_headers([image.path for image in raw.images], decode=decode)
    for image, header in zip(raw.images, headers, strict=True):
        size = annotated_wh = (image.width, image.height)
        if isinstance(header, str):
            examples[header].append(_name_of(image.path))
        else:
            size = header.size_for(annotated_wh)
            _check_header(_name_of(image.path), header, annotated_wh, examples)
        _check_objects(image, size, frozenset(categories), examples)
    return _counted(examples)


def check_duplicates(data: DataSpec) -> dict[str, list[Finding]]:
    """What the pictures of the splits in use have in common, by split; only splits with findings.

    Kinds: ``picture_in_two_splits`` (``run`` refuses the study) or as a note
    ``dropped_duplicate`` (``data.duplicates: drop`` leaves it out), under the split that loses the
    picture; and as a note ``repeated_picture``: listed twice in one split.
    """
    refresh_splits(data)
    listed = data.model_copy(update={"duplicates": "refuse"})
    kind = "dropped_duplicate" if data.duplicates == "drop" else "picture_in_two_splits"
    by_split: dict[str, Found] = defaultdict(lambda: defaultdict(list))
    for leak in find_leaks(listed):
        for pair in {pair[0]: pair for pair in leak.pairs}.values():
            by_split[leak.loser][kind].append(f"{_shown(*pair)} of {leak.other}")
    for split in {"train", data.select_split, data.report_on} - {"holdout"}:
        pictures = open_listed(data, split).pictures()
        for row, first in repeated_pictures(pictures):
            example = _shown(pictures.paths[row], pictures.paths[first])
            by_split[split]["repeated_picture"].append(example)
    return {split: _counted(kinds) for split, kinds in by_split.items()}


def _shown(path: str, twin: str) -> str:
    return f"{_name_of(Path(path))} = {_name_of(Path(twin))}"


def _name_of(path: Path) -> str:
    """A picture's folder and name, which tell the copies of two splits apart."""
    return f"{path.parent.name}/{path.name}"


def _counted(examples_by_kind: Found) -> list[Finding]:
    return [
        Finding(kind=kind, count=len(examples), examples=tuple(examples[:NUM_EXAMPLES]))
        for kind, examples in sorted(examples_by_kind.items())
    ]


def _check_header(
    file_name: str, header: PictureHeader, annotated_wh: Size, examples: Found
) -> None:
    size = header.size_for(annotated_wh)
    if header.orientation != AS_STORED:
        how = "turned" if header.is_turned(annotated_wh) else "as_stored"
        example = f"{file_name}: {size[0]}x{size[1]}"
        examples[f"{ORIENTATION}_{header.orientation}_{how}"].append(example)
    if is_stated(annotated_wh) and size != annotated_wh:
        stated = f"{annotated_wh[0]}x{annotated_wh[1]}"
        examples["size_disagrees"].append(f"{file_name}: {stated}, is {size[0]}x{size[1]}")


def _check_objects(
    image: RawImage, size: tuple[int, int], categories: frozenset[str], examples: Found
) -> None:
    if not image.objects:
        examples["empty_image"].append(_name_of(image.path))
    size_wh = np.array(size, np.float32)
    for annotated in image.objects:
        where = f"{_name_of(image.path)}: {annotated.category}"
        if annotated.category not in categories:
            examples["unknown_category"].append(where)
        if annotated.is_crowd:
            examples["crowd"].append(where)
            continue
        kind = _box_fault(annotated, size_wh)
        if kind:
            corners = ", ".join(f"{corner:g}" for corner in annotated.box_xyxy)
            examples[kind].append(f"{where} [{corners}]")


def _box_fault(annotated: RawObject, size_wh: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    box = np.array([annotated.box_xyxy], np.float32)
    clamped = clamp(box, size_wh)
    if not has_pixels(clamped)[0]:
        return "box_degenerate"
    return "box_outside" if is_outside(box, clamped)[0] else ""
