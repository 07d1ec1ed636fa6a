"""Checks a data set before a study: counts faults and notes of each split, with examples.

Training copes with every fault and counts it. Only a data set without any readable image is an
error.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rethink_ray.data.contents import find_repeated_pictures
from rethink_ray.data.faults import is_outside
from rethink_ray.data.index import open_listed, open_split
from rethink_ray.data.leaks import find_leaks, refresh_splits
from rethink_ray.data.learnable import clamp, has_pixels
from rethink_ray.data.mask_states import find_mask_faults
from rethink_ray.data.orientation import AS_STORED, PictureHeader, Size, is_stated
from rethink_ray.data.pictures import read_headers
from rethink_ray.data.sources.locate import locate_source
from rethink_ray.data.sources.raw import RawImage, RawObject
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.regime import DataSpec

NUM_EXAMPLES = 3
NOTES = frozenset(
    {"crowd", "empty_image", "repeated_picture", "dropped_duplicate", "dropped_empty"}
)
"""Kinds that are notes and no faults, besides EXIF orientations; ``--strict`` allows them."""
ORIENTATION = "orientation"

Examples = dict[str, list[str]]
"""Kind -> one line of text for each occurrence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding:
    """A kind of fault or note, and how often it occurs in one split."""

    kind: str
    count: int
    examples: tuple[str, ...]
    """The first occurrences; each begins with the picture's folder and name."""

    @property
    def is_fault(self) -> bool:
        """Whether ``--strict`` fails for it; findings that are no faults are notes."""
        return self.kind not in NOTES and not self.kind.startswith(ORIENTATION)


def check_data(data: DataSpec, splits: Sequence[str]) -> dict[str, list[DataFinding]]:
    """Returns the findings of each split, including pictures that two splits in use share.

    The note ``dropped_empty`` counts images of train that ``data.keep_empty: false`` leaves out.
    The finding ``splits_not_compared`` says why the splits cannot be compared: one of them cannot
    be indexed, or the hold-out is as large as train.
    """
    by_split = {split: check_split(data, split) for split in splits}
    try:
        more = check_duplicates(data)
        more["train"] = [*more.get("train", []), *check_empty(data)]
    except DataError as error:
        more = {"train": [DataFinding(kind="splits_not_compared", count=1, examples=(str(error),))]}
    for split, findings in more.items():
        by_split[split] = sorted([*by_split[split], *findings], key=lambda finding: finding.kind)
    return by_split


def check_split(data: DataSpec, split: str, *, decode: bool = True) -> list[DataFinding]:
    """Returns the findings of train, val or test, sorted by kind.

    Faults: ``missing_image``, ``unreadable_image``, ``unreadable_annotation``, ``size_disagrees``,
    ``box_outside``, ``box_degenerate``, ``unknown_category`` (train has no such category),
    ``unknown_image``, ``duplicate_id``, ``file_name_disagrees``, ``missing_masks`` (in a split with
    masks) and the ``unreadable_*`` fields of annotations that docs/data.md lists. Notes: ``crowd``,
    ``empty_image`` and, for each EXIF orientation, ``orientation_6_turned`` or
    ``orientation_6_as_stored``.

    Args:
        data: the data set.
        split: train, val or test.
        decode: whether to decode every picture; otherwise headers and file ends are checked.
    """
    raw = locate_source(data, split).read()
    categories = raw.categories if split == "train" else open_split(data, "train").categories
    examples: Examples = defaultdict(list)
    for problem in raw.problems:
        examples[problem.kind].append(problem.example)
    judged: list[tuple[str, RawObject, Size]] = []
    headers = read_headers([image.path for image in raw.images], decode=decode)
    for image, header in zip(raw.images, headers, strict=True):
        size = annotated_wh = (image.width, image.height)
        if isinstance(header, str):
            examples[header].append(_name_picture(image.path))
        else:
            size = header.size_for(annotated_wh)
            _check_header(_name_picture(image.path), header, annotated_wh, examples)
            judged += [(_name_picture(image.path), one, size) for one in image.objects]
        _check_objects(image, size, frozenset(categories), examples)
    examples |= find_mask_faults(judged)
    return _count_examples(examples)


def check_duplicates(data: DataSpec) -> dict[str, list[DataFinding]]:
    """Returns the pictures that occur twice, by split; splits without any are left out.

    ``picture_in_two_splits`` is a fault, for which ``run`` refuses the study. Under
    ``data.duplicates: drop`` it is the note ``dropped_duplicate`` of the split that loses the
    picture. ``repeated_picture`` is the note that one split lists a picture twice.
    """
    refresh_splits(data)
    listed = data.model_copy(update={"duplicates": "refuse"})
    kind = "dropped_duplicate" if data.duplicates == "drop" else "picture_in_two_splits"
    by_split: dict[str, Examples] = defaultdict(lambda: defaultdict(list))
    for leak in find_leaks(listed):
        for pair in {pair[0]: pair for pair in leak.pairs}.values():
            by_split[leak.loser][kind].append(f"{_show_pair(*pair)} of {leak.other}")
    for split in {"train", data.select_split, data.report_on} - {"holdout"}:
        pictures = open_listed(data, split).pictures()
        for row, first in find_repeated_pictures(pictures):
            example = _show_pair(pictures.paths[row], pictures.paths[first])
            by_split[split]["repeated_picture"].append(example)
    return {split: _count_examples(kinds) for split, kinds in by_split.items()}


def check_empty(data: DataSpec) -> list[DataFinding]:
    """Returns the note of the images of train that ``data.keep_empty: false`` leaves out."""
    if data.keep_empty:
        return []
    whole = open_split(data.model_copy(update={"keep_empty": True, "min_keypoints": None}), "train")
    left_out = np.setdiff1d(whole.image_ids, open_split(data, "train").image_ids)
    paths = whole.pictures(left_out.tolist()).paths
    examples = {"dropped_empty": [_name_picture(Path(path)) for path in paths]}
    return _count_examples(examples) if paths else []


def _show_pair(path: str, twin: str) -> str:
    return f"{_name_picture(Path(path))} = {_name_picture(Path(twin))}"


def _name_picture(path: Path) -> str:
    """Returns a picture's folder and name, since splits often use the same file names."""
    return f"{path.parent.name}/{path.name}"


def _count_examples(examples_by_kind: Examples) -> list[DataFinding]:
    return [
        DataFinding(kind=kind, count=len(examples), examples=tuple(examples[:NUM_EXAMPLES]))
        for kind, examples in sorted(examples_by_kind.items())
    ]


def _check_header(
    file_name: str, header: PictureHeader, annotated_wh: Size, examples: Examples
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
    image: RawImage, size: tuple[int, int], categories: frozenset[str], examples: Examples
) -> None:
    if not image.objects:
        examples["empty_image"].append(_name_picture(image.path))
    size_wh = np.array(size, np.float32)
    for annotated in image.objects:
        where = f"{_name_picture(image.path)}: {annotated.category}"
        if annotated.category not in categories:
            examples["unknown_category"].append(where)
        if annotated.is_crowd:
            examples["crowd"].append(where)
        kind = _judge_box(annotated, size_wh)
        if kind == "box_degenerate" or (kind and not annotated.is_crowd):
            corners = ", ".join(f"{corner:g}" for corner in annotated.box_xyxy)
            examples[kind].append(f"{where} [{corners}]")


def _judge_box(annotated: RawObject, size_wh: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    box = np.array([annotated.box_xyxy], np.float32)
    clamped = clamp(box, size_wh)
    if not has_pixels(clamped)[0]:
        return "box_degenerate"
    return "box_outside" if is_outside(box, clamped)[0] else ""
