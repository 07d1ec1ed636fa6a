"""Counts the objects of each class in the splits in use, and finds classes that only some have."""

from collections.abc import Mapping, Sequence

import numpy as np

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.scorable import counted_objects
from rethink_ray.data.splits import open_split
from rethink_ray.spec.regime import DataSpec

ClassCounts = Mapping[str, Mapping[str, int]]
"""Split -> class, in label order -> its objects, without crowds and boxes without pixels; train
has no images of the hold-out."""
SHORTEST_ALIKE = 5
"""Letters of the shortest names that are alike if one letter differs: ``cat`` and ``bat`` are two
words, ``helmet`` and ``hemlet`` one."""


def count_classes(data: DataSpec) -> ClassCounts:
    """Returns how many objects of each class train and the scoring splits have.

    Raises:
        DataError: a split cannot be opened.
    """
    used = dict.fromkeys(("train", data.select_split, data.report_split))
    splits = {split: open_split(data, split) for split in used}
    return count_objects(splits, trainable_image_ids(data))


def count_objects(splits: Mapping[str, AnnotationIndex], trainable: Sequence[int]) -> ClassCounts:
    """Returns how many objects of each class these open splits have.

    ``trainable``: the images of train that count, which a hold-out does not have.
    """
    counts = {}
    for split, index in splits.items():
        counted = counted_objects(index)
        if split == "train":
            in_use = np.isin(index.image_column("image_id"), trainable)
            counted &= np.repeat(in_use, index.image_column("num_objects"))
        labels = index.object_column("label")[counted]
        numbers = np.bincount(labels, minlength=len(index.categories) + 1)[1:]
        counts[split] = dict(zip(index.categories, numbers.tolist(), strict=True))
    return counts


def find_untrained(counts: ClassCounts) -> dict[str, list[str]]:
    """Returns split that scores -> its classes without an object in train: they score 0 AP."""
    return {
        split: [name for name, num in of_split.items() if num and not counts["train"][name]]
        for split, of_split in counts.items()
        if split != "train"
    }


def find_unscored(counts: ClassCounts) -> dict[str, list[str]]:
    """Returns split that scores -> classes of train without an object in it: no score has them."""
    return {
        split: [name for name, num in counts["train"].items() if num and not of_split[name]]
        for split, of_split in counts.items()
        if split != "train"
    }


def find_alike(names: Sequence[str], known: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Returns pairs of names that differ in case, blanks or one letter.

    Args:
        names: the classes.
        known: classes whose pairs among themselves are not returned.
    """
    unknown = [name for name in names if name not in known]
    others = [name for name in names if name in known] + [n for n in known if n not in names]
    pairs = [(one, name) for name in unknown for one in others if _are_alike(one, name)]
    for position, one in enumerate(unknown):
        pairs += [(one, name) for name in unknown[position + 1 :] if _are_alike(one, name)]
    return pairs


def _are_alike(first: str, second: str) -> bool:
    """Returns whether two names are one, but for case, blanks, or one letter of a long name."""
    if abs(len(first) - len(second)) > max(len(first), len(second)) // 2:
        return False
    one, other = _simplify(first), _simplify(second)
    if one == other:
        return True
    if _differ_in_single_letters(first, second):
        return False
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) < SHORTEST_ALIKE or len(longer) > len(shorter) + 1:
        return False
    same = next((i for i, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), -1)
    begin = len(shorter) if same < 0 else same
    if len(longer) > len(shorter):
        return not longer[begin].isdigit() and shorter[begin:] == longer[begin + 1 :]
    if one[begin].isdigit() or other[begin].isdigit():
        return False
    is_swapped = one[begin : begin + 2] == other[begin : begin + 2][::-1]
    return one[begin + 1 :] == other[begin + 1 :] or (
        is_swapped and one[begin + 2 :] == other[begin + 2 :]
    )


def _differ_in_single_letters(first: str, second: str) -> bool:
    """Returns whether the words of two names are equal but for words of one letter: type A, B."""
    pairs = list(zip(_split(first), _split(second), strict=False))
    return len(pairs) > 1 and all(one == other or len(one + other) == 2 for one, other in pairs)


def _split(name: str) -> list[str]:
    return name.casefold().replace("_", " ").replace("-", " ").split()


def _simplify(name: str) -> str:
    return "".join(_split(name))
