"""Checks that training data, the selecting split and the reporting split share no picture.

Two pictures are the same if the bytes of their files are; names do not matter.
"""

from dataclasses import dataclass
from itertools import combinations

from rethink_ray.data.contents import Pictures, find_same_pictures
from rethink_ray.data.regimes import (
    count_empty,
    holdout_image_ids,
    trainable_image_ids,
)
from rethink_ray.data.splits import open_listed, open_split, refresh_split
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.regime import HOLDOUTS, DataSpec

SHOWN_PAIRS = 3
"""Pairs of a leak that a message names; it counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Pictures that ``split`` and ``other`` share."""

    split: str
    other: str
    pairs: tuple[tuple[str, str], ...]
    """The path in ``split`` and the first path in ``other`` of each shared picture."""

    @property
    def loser(self) -> str:
        """Returns the split that loses its copies under ``data.duplicates: drop``.

        Train loses those of a hold-out, which is taken from the images that are left.
        """
        return "train" if HOLDOUTS & {self.split, self.other} else self.split


def require_disjoint(data: DataSpec, where: str) -> None:
    """Refuses a data set whose training, selecting and reporting splits share a picture.

    Indexes of changed pictures are built again first. Under ``data.duplicates: drop`` nothing is
    refused, because the shared pictures are left out. The data set of an upstream detector is
    checked likewise.

    Args:
        data: the data set; one split may both select and report.
        where: the study file, for the message.

    Raises:
        DataError: two splits share a picture; names the first pairs of files and counts all.
    """
    if data.upstream_detection is not None:
        require_disjoint(data.upstream_detection, f"{where}: data.upstream_detection")
    refresh_splits(data)
    if data.duplicates == "drop":
        return
    leaks = find_leaks(data)
    if leaks:
        must = "must show no picture in two of the splits it uses (files are equal byte for byte)"
        shown = "; ".join(_describe_leak(leak) for leak in leaks)
        losers = dict.fromkeys(leak.loser for leak in leaks)
        remedy = (
            "Take one of the two out of its split, or set data.duplicates: drop, which leaves the "
            f"first of each pair out (of {' and '.join(losers)})."
        )
        raise DataError(explain(f"{where}: data", must, shown, remedy))


def refresh_splits(data: DataSpec) -> None:
    """Brings the indexes of all splits in use, and of a pool, up to date with the picture files."""
    pool = [] if data.unlabelled is None else ["unlabelled"]
    for split in dict.fromkeys(("train", data.select_split, data.report_split, *pool)):
        if split not in HOLDOUTS:
            refresh_split(data, split)


def find_leaks(data: DataSpec) -> list[Leak]:
    """Returns a ``Leak`` for each pair of splits in use that share a picture.

    Train is compared without its hold-outs.
    """
    train = open_split(data, "train")
    pictures = {"train": train.pictures(trainable_image_ids(data))}
    for split in dict.fromkeys((data.select_split, data.report_split)):
        pictures[split] = open_split(data, split).pictures()
    leaks = []
    for (split, first), (other, second) in combinations(pictures.items(), 2):
        rows = find_same_pictures(first, second)
        pairs = tuple(sorted((first.paths[row], second.paths[twin]) for row, twin in rows))
        leaks += [Leak(split=split, other=other, pairs=pairs)] if pairs else []
    return leaks


def count_dropped(data: DataSpec) -> dict[str, int]:
    """Returns split -> number of images that ``data.duplicates: drop`` leaves out.

    Splits that lose no image are not listed. The reporting split keeps all images. The
    hold-out is taken from the images that are left.
    """
    if data.duplicates != "drop":
        return {}
    losing = {"train", data.select_split} - HOLDOUTS
    num_listed = {split: len(open_listed(data, split)) for split in losing}
    num_left = {split: len(open_split(data, split)) for split in losing}
    num_in_use = len(trainable_image_ids(data)) + len(holdout_image_ids(data))
    num_left["train"] = num_in_use + count_empty(data)
    dropped = {split: num - num_left[split] for split, num in sorted(num_listed.items())}
    return {split: num for split, num in dropped.items() if num > 0}


def require_unseen(data: DataSpec, learned_from: Pictures, where: str) -> None:
    """Refuses training pictures that are in the selecting or the reporting split.

    Args:
        data: the data set.
        learned_from: the training pictures.
        where: what is trained on them, for the message: ``asset x``.

    Raises:
        DataError: a picture is in both; names its two files.
    """
    for split in dict.fromkeys((data.select_split, data.report_split)):
        scored = open_split(data, split).pictures()
        for row, twin in find_same_pictures(learned_from, scored)[:1]:
            must = f"must learn from no picture of split {split}"
            shown = f"{learned_from.paths[row]}, the same picture as {scored.paths[twin]}"
            remedy = "Take one of the two out of its split, then start a new study."
            raise DataError(explain(where, must, shown, remedy))


def _describe_leak(leak: Leak) -> str:
    named = [
        f"{path} = {twin}" if path != twin else f"{path} (the same file)"
        for path, twin in leak.pairs[:SHOWN_PAIRS]
    ]
    rest = len(leak.pairs) - len(named)
    text = ", ".join(named) + (f" and {rest} more" if rest else "")
    return f"{len(leak.pairs)} of {leak.split} in {leak.other}: {text}"
