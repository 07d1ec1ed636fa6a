"""Checks a data set before a study: counts faults and notes of each split, with examples.

Training copes with every fault and counts it. Only a data set without any readable image is an
error.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rethink_ray.data.build import IndexLabels
from rethink_ray.data.class_counts import (
    count_classes,
    find_alike,
    find_unscored,
    find_untrained,
)
from rethink_ray.data.contents import find_repeated_pictures
from rethink_ray.data.cut_splits import locate_split
from rethink_ray.data.facts import gather_facts
from rethink_ray.data.faults import is_outside
from rethink_ray.data.inspection import InspectedPicture, inspect_pictures
from rethink_ray.data.leaks import Leak, find_leaks, refresh_splits, require_disjoint
from rethink_ray.data.learnable import clamp, has_pixels
from rethink_ray.data.levels import LevelRanges, choose_ranges
from rethink_ray.data.mask_states import find_mask_faults
from rethink_ray.data.orientation import AS_STORED, UNSTATED, PictureHeader, Size, is_stated
from rethink_ray.data.other_forms import say_other_form
from rethink_ray.data.sources.locate import locate_source
from rethink_ray.data.sources.raw import Problem, RawImage, RawObject, round_box
from rethink_ray.data.sources.values import show_path
from rethink_ray.data.splits import open_listed, open_split
from rethink_ray.data.upstream import BUILT_IN, inspect_upstream
from rethink_ray.spec.errors import DataError
from rethink_ray.spec.fault_kinds import LOOKS_ALIKE, is_note
from rethink_ray.spec.regime import HOLDOUTS, DataSpec, RegimeSpec

NUM_EXAMPLES = 3
ORIENTATION, SCALED = "orientation", "scaled"
"""How the kinds of some notes begin: EXIF orientations, and scales of deep pictures."""

WHOLE: Mapping[str, RegimeSpec] = {"all": RegimeSpec(images="all")}
"""A single regime: all images."""

Examples = dict[str, list[str]]
"""Kind of fault or note -> one line of text for each occurrence."""


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
        return not is_note(self.kind)


def check_data(data: DataSpec, splits: Sequence[str]) -> dict[str, list[DataFinding]]:
    """Returns the findings of each split, including pictures that two splits in use share.

    The note ``dropped_empty`` counts images of train that ``data.keep_empty: false`` leaves out.
    ``unlabelled``, ``upstream`` and ``upstream_detection`` count as splits if the data set names
    images for them.

    The finding ``splits_not_compared`` says why the splits cannot be compared: one of them cannot
    be indexed, or the hold-out is as large as train.
    """
    by_split = {split: check_split(data, split) for split in splits} | check_pools(data)
    try:
        across = check_duplicates(data)
        across["train"] = [*across.get("train", []), *check_empty(data)]
        for split, findings in check_classes(data).items():
            across[split] = [*across.get(split, []), *findings]
    except DataError as error:
        failure = DataFinding(kind="splits_not_compared", count=1, examples=(str(error),))
        across = {"train": [failure]}
    add_findings(by_split, across)
    return by_split


def check_split(data: DataSpec, split: str) -> list[DataFinding]:
    """Returns the findings of train, val or test, sorted by kind.

    Faults: ``missing_image``, ``unreadable_image``, ``unreadable_annotation``,
    ``unreadable_object``, ``size_disagrees``, ``repeated_object``, ``box_outside``,
    ``box_degenerate``, ``unknown_category`` (train has no such category), ``unknown_image``,
    ``duplicate_id``, ``file_name_disagrees``, ``missing_masks`` (in a split with masks),
    ``mask_off_box``, the ``unreadable_*`` fields of annotations that docs/data.md lists,
    ``box_not_normalised``, ``levels_cut`` and ``levels_not_finite`` (of deep pictures). Notes:
    ``crowd``, ``empty_image``; for each EXIF orientation ``orientation_6_turned`` or
    ``orientation_6_as_stored``; for each kind of deep picture its levels of black and white, as
    ``scaled_gray16_0_4095``.

    Each picture is decoded once; its facts are stored until its file changes.

    Raises:
        DataError: the data set has no such split, or none of its annotations can be read.
    """
    source = locate_split(data, split)
    raw = source.read()
    train = IndexLabels(categories=raw.categories) if split == "train" else _find_labels(data)
    examples: Examples = defaultdict(list)
    for problem in raw.problems:
        examples[problem.kind].append(problem.example)
    objects: list[tuple[str, RawObject, Size]] = []
    pictures = inspect_pictures(source.image_folders(), [image.path for image in raw.images])
    for image, seen in zip(raw.images, pictures, strict=True):
        size = annotated_wh = (image.width, image.height)
        if isinstance(seen.header, str):
            examples[seen.header].append(_name_picture(image.path) + say_other_form(image.path))
        else:
            size = seen.header.size_for(annotated_wh)
            _check_header(_name_picture(image.path), seen.header, annotated_wh, examples)
            objects += [(_locate_object(image, one), one, size) for one in image.objects]
        _check_objects(image, size, frozenset(train.categories), examples)
    examples |= find_mask_faults(objects)
    if raw.shifted_categories and "unknown_category" in examples:
        examples["unknown_category"][0] += f" ({raw.shifted_categories})"
    known = () if split == "train" else train.categories
    for one, other in find_alike(raw.categories, known):
        examples["similar_names"].append(f"{quote_name(one)} = {quote_name(other)}")
    names = [_name_picture(image.path) for image in raw.images]
    _check_levels(names, pictures, train.level_ranges, examples)
    return _count_examples(examples)


def check_pools(data: DataSpec) -> dict[str, list[DataFinding]]:
    """Returns the findings of ``data.unlabelled`` and ``data.upstream``, which have no boxes, and
    of the training images of ``data.upstream_detection``.

    Damaged pictures are left out of the pool of a teacher; for a classifier they are refused.
    """
    by_pool: dict[str, list[DataFinding]] = {}
    if data.unlabelled is not None:
        source = locate_source(data, "unlabelled")
        raw = source.read()
        paths = [image.path for image in raw.images]
        seen = inspect_pictures(source.image_folders(), paths, hashed=False)
        ranges = _find_labels(data).level_ranges
        by_pool["unlabelled"] = _check_pictures(paths, seen, ranges, raw.problems)
    if data.upstream_detection is not None:
        by_pool["upstream_detection"] = check_split(data.upstream_detection, "train")
    if data.upstream != BUILT_IN:
        inspected = inspect_upstream(data)
        by_pool["upstream"] = _check_pictures([*inspected], [*inspected.values()], {})
    return by_pool


def _find_labels(data: DataSpec) -> IndexLabels:
    """Returns train's categories and levels; categories alone if no picture of it can be read."""
    try:
        train = open_split(data, "train")
    except DataError:
        return IndexLabels(categories=locate_split(data, "train").read().categories)
    return IndexLabels(categories=train.categories, level_ranges=train.level_ranges)


def _check_pictures(
    paths: Sequence[Path],
    pictures: Sequence[InspectedPicture],
    given: LevelRanges,
    problems: Sequence[Problem] = (),
) -> list[DataFinding]:
    """Returns the findings of pictures without annotations, and the problems of their reader.

    ``given`` are the ranges of train.
    """
    examples: Examples = defaultdict(list)
    for problem in problems:
        examples[problem.kind].append(problem.example)
    names = [_name_picture(path) for path in paths]
    for name, seen in zip(names, pictures, strict=True):
        if isinstance(seen.header, str):
            examples[seen.header].append(name)
        else:
            _check_header(name, seen.header, UNSTATED, examples)
    _check_levels(names, pictures, given, examples)
    return _count_examples(examples)


def find_refusal(
    data: DataSpec, regimes: Mapping[str, RegimeSpec] = WHOLE, draws: Sequence[int] = ()
) -> str:
    """Returns why ``run``, ``plan`` and ``doctor`` refuse the data set; empty if they do not.

    ``regimes`` and ``draws``: those of a study; by default one regime of all images.
    """
    try:
        require_disjoint(data, "splits")
        gather_facts(data, regimes, draws=draws)
    except DataError as error:
        return str(error)
    return ""


def check_duplicates(data: DataSpec) -> dict[str, list[DataFinding]]:
    """Returns the pictures that occur twice, by split; splits without any are left out.

    ``picture_in_two_splits`` is a fault, for which ``run`` refuses the study. Under
    ``data.duplicates: drop`` it is the note ``dropped_duplicate`` of the split that loses the
    picture, also of a picture without an object. ``repeated_picture`` is the note that one split
    lists a picture twice.
    """
    refresh_splits(data)
    drops = data.duplicates == "drop"
    listed = data.model_copy(update={"duplicates": "refuse"})
    if drops:  # duplicates go first, and images without an object after them
        listed = listed.model_copy(update={"keep_empty": True, "min_keypoints": None})
    kind = "dropped_duplicate" if drops else "picture_in_two_splits"
    by_split: dict[str, Examples] = defaultdict(lambda: defaultdict(list))
    for leak in find_leaks(listed):
        for pair in {pair[0]: pair for pair in leak.pairs}.values():
            by_split[leak.loser][kind].append(f"{_show_pair(*pair)} of {leak.other}")
    for split in {"train", data.select_split, data.report_split} - HOLDOUTS:
        pictures = open_listed(data, split).pictures()
        for row, first in find_repeated_pictures(pictures):
            example = _show_pair(pictures.paths[row], pictures.paths[first])
            by_split[split]["repeated_picture"].append(example)
    return {split: _count_examples(kinds) for split, kinds in by_split.items()}


def describe_look_alikes(leaks: Sequence[Leak]) -> dict[str, list[DataFinding]]:
    """Returns the note ``look_alike_in_two_splits`` of each split that ``find_look_alikes`` names.

    Of a hold-out, the pictures of train have it.
    """
    by_split: dict[str, Examples] = defaultdict(lambda: defaultdict(list))
    for leak in leaks:
        for path, twin in leak.pairs:
            names = [_name_picture(Path(one)) for one in (path, twin)]
            example = f"{names[0]} looks like {names[1]} of {leak.other}"
            by_split[leak.split][LOOKS_ALIKE].append(example)
    return {split: _count_examples(kinds) for split, kinds in by_split.items()}


def add_findings(
    by_split: dict[str, list[DataFinding]], across: Mapping[str, Sequence[DataFinding]]
) -> None:
    """``by_split`` has the findings of both, sorted by kind.

    A split that was not asked for is added: a fault of two splits concerns both.
    """
    for split, findings in across.items():
        if findings:
            both = [*by_split.get(split, []), *findings]
            by_split[split] = sorted(both, key=lambda finding: finding.kind)


def check_classes(data: DataSpec) -> dict[str, list[DataFinding]]:
    """Returns the notes of classes that train or a split that scores has no object of, by split.

    Raises:
        DataError: a split cannot be opened.
    """
    counts = count_classes(data)
    untrained, unscored = find_untrained(counts), find_unscored(counts)
    by_split: dict[str, list[DataFinding]] = {}
    for split in untrained.keys() - HOLDOUTS:
        kinds = {"untrained_class": untrained[split], "unscored_class": unscored[split]}
        examples = {kind: [*map(quote_name, names)] for kind, names in kinds.items() if names}
        by_split[split] = _count_examples(examples)
    return by_split


def quote_name(name: str) -> str:
    """Returns the name of a class, in quotes if blanks at its ends would be overlooked."""
    return name if name == name.strip() and name else f"'{name}'"


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
    if path == twin:
        return f"{_name_picture(Path(path))}, listed twice"
    names = [_name_picture(Path(one)) for one in (path, twin)]
    return " = ".join(names if names[0] != names[1] else (path, twin))


def _name_picture(path: Path) -> str:
    """Returns a picture's folder and name, since splits often use the same file names."""
    return show_path(f"{path.parent.name}/{path.name}")


def _locate_object(image: RawImage, annotated: RawObject) -> str:
    """Returns the line of an object in its text file, or the name of its picture."""
    if annotated.line:
        return f"{image.label_file} line {annotated.line}"
    return _name_picture(image.path)


def _count_examples(examples_by_kind: Examples) -> list[DataFinding]:
    return [
        DataFinding(kind=kind, count=len(examples), examples=tuple(examples[:NUM_EXAMPLES]))
        for kind, examples in sorted(examples_by_kind.items())
    ]


def _check_header(
    file_name: str, header: PictureHeader, annotated_wh: Size, examples: Examples
) -> None:
    """Adds the note of an EXIF orientation, and the fault of a size that disagrees."""
    size = header.size_for(annotated_wh)
    if header.orientation != AS_STORED:
        how = "turned" if header.is_turned(annotated_wh) else "as_stored"
        example = f"{file_name}: {size[0]}x{size[1]}"
        examples[f"{ORIENTATION}_{header.orientation}_{how}"].append(example)
    if is_stated(annotated_wh) and size != annotated_wh:
        stated = f"{annotated_wh[0]}x{annotated_wh[1]}"
        examples["size_disagrees"].append(f"{file_name}: {stated}, is {size[0]}x{size[1]}")


def _check_levels(
    names: Sequence[str],
    pictures: Sequence[InspectedPicture],
    given: LevelRanges,
    examples: Examples,
) -> None:
    """Adds the notes and faults of deep pictures; ``given`` are the ranges of train."""
    deep = [
        (name, seen.header.kind, seen.facts)
        for name, seen in zip(names, pictures, strict=True)
        if not isinstance(seen.header, str) and seen.facts.levels is not None
    ]
    ranges = choose_ranges(((kind, facts.levels) for _, kind, facts in deep if facts.levels), given)
    for name, kind, facts in deep:
        levels, scale = facts.levels or ranges[kind], ranges[kind]
        example = f"{name}: {levels.lowest:g}..{levels.highest:g}"
        examples[f"{SCALED}_{kind}_{scale.lowest:g}_{scale.highest:g}"].append(example)
        if not facts.is_finite:
            examples["levels_not_finite"].append(example)
        if not levels.is_within(scale):
            cut = f"{example}, cut to {scale.lowest:g}..{scale.highest:g}"
            examples["levels_cut"].append(cut)


def _check_objects(
    image: RawImage, size: tuple[int, int], categories: frozenset[str], examples: Examples
) -> None:
    """Adds the notes and faults of an image's objects; ``categories`` are those of train."""
    if not image.objects and is_stated(size):
        examples["empty_image"].append(_name_picture(image.path))
    size_wh = np.array(size, np.float32)
    earlier: set[tuple[str | None, tuple[float, ...]]] = set()
    for annotated in image.objects:
        category = annotated.category or "a category that the file does not name"
        where = f"{_locate_object(image, annotated)}: {category}"
        key = (annotated.category, round_box(annotated.box_xyxy))
        if not annotated.is_crowd and annotated.category in categories:
            if key in earlier:
                examples["repeated_object"].append(f"{where} {_show_box(annotated)}")
            earlier.add(key)
        if annotated.category not in categories:
            examples["unknown_category"].append(where)
        if annotated.is_crowd:
            examples["crowd"].append(where)
        kind = _judge_box(annotated, size_wh) if is_stated(size) else ""
        if kind == "box_degenerate" or (kind and not annotated.is_crowd):
            examples[kind].append(f"{where} {_show_box(annotated)}")


def _show_box(annotated: RawObject) -> str:
    return f"[{', '.join(f'{corner:g}' for corner in annotated.box_xyxy)}]"


def _judge_box(annotated: RawObject, size_wh: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    """Returns the kind of fault of a box in a picture of this size; empty for a sound box."""
    box = np.array([annotated.box_xyxy], np.float32)
    clamped = clamp(box, size_wh)
    if not has_pixels(clamped)[0]:
        return "box_degenerate"
    return "box_outside" if is_outside(box, clamped)[0] else ""
