"""Checks that no picture is in two of: training data, the selecting split, the reporting split.

Pictures are compared by content: by the bytes of their files; names do not matter.
"""

from dataclasses import dataclass
from itertools import combinations

from rethink_ray.data.contents import Pictures, same_pictures
from rethink_ray.data.index import open_listed, open_split, refresh_split
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.regime import DataSpec

SHOWN_PAIRS = 3
"""So many pairs of a leak are named; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Pictures of one split that another one shows too."""

    split: str
    other: str
    pairs: tuple[tuple[str, str], ...]
    """Paths: of each such image of ``split``, and of its first twin in ``other``."""

    @property
    def loser(self) -> str:
        """The split that loses its copies under ``data.duplicates: drop``.

        A hold-out is cut from what is left of train then.
        """
        return "train" if self.split == "holdout" else self.split


def require_disjoint(data: DataSpec, where: str) -> None:
    """No two of train, the split that selects and the split that reports show one picture.

    Indexes of pictures that changed since are built again first. ``data.duplicates: drop`` refuses
    nothing: what it leaves out is not there any more.

    Args:
        data: the data set; one split may both select and report.
        where: the file that asks for it, for the message.

    Raises:
        DataError: names the first pairs of files, and how many there are.
    """
    refresh_splits(data)
    if data.duplicates == "drop":
        return
    leaks = find_leaks(data)
    if leaks:
        must = "must show no picture in two of the splits it uses (files are equal byte for byte)"
        shown = "; ".join(_shown(leak) for leak in leaks)
        losers = dict.fromkeys(leak.loser for leak in leaks)
        remedy = (
            "Take one of the two out of its split, or set data.duplicates: drop, which leaves the "
            f"first of each pair out (of {' and '.join(losers)})."
        )
        raise DataError(explain(f"{where}: data", must, shown, remedy))


def refresh_splits(data: DataSpec) -> None:
    """The indexes of all splits in use tell of the picture files as they are now."""
    for split in dict.fromkeys(("train", data.select_split, data.report_on)):
        if split != "holdout":
            refresh_split(data, split)


def find_leaks(data: DataSpec) -> list[Leak]:
    """One ``Leak`` for every two splits in use that share a picture; train without its hold-out."""
    train = open_split(data, "train")
    pictures = {"train": train.pictures(trainable_image_ids(data))}
    for split in dict.fromkeys((data.select_split, data.report_on)):
        pictures[split] = open_split(data, split).pictures()
    leaks = []
    for (split, first), (other, second) in combinations(pictures.items(), 2):
        rows = same_pictures(first, second)
        pairs = tuple(sorted((first.paths[row], second.paths[twin]) for row, twin in rows))
        leaks += [Leak(split=split, other=other, pairs=pairs)] if pairs else []
    return leaks


def count_dropped(data: DataSpec) -> dict[str, int]:
    """Split -> how many of its images ``data.duplicates: drop`` leaves out; splits that lose some.

    The split that reports keeps all of its images, and the hold-out is cut from what is left.
    """
    if data.duplicates != "drop":
        return {}
    losing = {"train", data.select_split} - {"holdout"}
    listed = {split: len(open_listed(data, split)) for split in losing}
    left = {split: len(open_split(data, split)) for split in listed}
    held_out = len(open_split(data, "holdout")) if data.select_split == "holdout" else 0
    left["train"] = len(trainable_image_ids(data)) + held_out
    return {split: num - left[split] for split, num in sorted(listed.items()) if num > left[split]}


def require_unseen(data: DataSpec, learned_from: Pictures, where: str) -> None:
    """None of these pictures is one of a split that scores.

    Args:
        data: its splits for selecting and reporting are looked at.
        learned_from: the pictures.
        what: learns from them, for the message.

    Raises:
        DataError: names the first two files that are one picture.
    """
    for split in dict.fromkeys((data.select_split, data.report_on)):
        scored = open_split(data, split).pictures()
        for row, twin in same_pictures(learned_from, scored)[:1]:
            must = f"must learn from no picture of split {split}"
            shown = f"{learned_from.paths[row]}, which is {scored.paths[twin]}"
            remedy = "Take one of the two out of its split, then start a new study."
            raise DataError(explain(where, must, shown, remedy))


def _shown(leak: Leak) -> str:
    named = [
        f"{path} = {twin}" if path != twin else f"{path} (the same file)"
        for path, twin in leak.pairs[:SHOWN_PAIRS]
    ]
    rest = len(leak.pairs) - len(named)
    text = ", ".join(named) + (f" and {rest} more" if rest else "")
    return f"{len(leak.pairs)} of {leak.split} in {leak.other}: {text}"
