"""Deals the pictures of train out to train, val and test (``data.split``).

The result depends on the content of the pictures, the classes of their objects, and the keys of
``data.split``. File names count only where the grouping reads them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rethink_ray.data.dealing import GIVER, PictureGroup, deal_groups
from rethink_ray.data.grouping import Grouping, SplitPicture, group_pictures
from rethink_ray.data.near_duplicates import Likeness
from rethink_ray.spec.data_split import DataSplit, RegexGroups
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.facts import CutFacts

FULL_ENOUGH = 0.5
"""Chains are parted until each split has at least this share of the pictures it asks for."""
NUM_SHOWN = 3
"""Groups that ``data check`` shows, and pictures of each."""
REMEDIES = {
    "near_duplicates": "The pictures look alike, as frames of one video do. Add others, say by "
    "name what belongs together (data.split.group: {regex: PATTERN}), or set data.split.group: "
    "none, under which scores are too high.",
    "folder": "Set data.split.group: near_duplicates, or put the pictures into more folders.",
    "regex": "Let the groups in brackets tell more names apart, or set data.split.group: "
    "near_duplicates.",
    "none": "Add pictures, or cut fewer splits.",
}
"""Grouping -> what to do if it leaves too few groups."""


def deal_pictures(
    pictures: Sequence[SplitPicture], split: DataSplit, likeness: Likeness | None
) -> tuple[Grouping, list[str]]:
    """Returns the groups of pictures, and the split of each picture.

    Chains of pictures that look alike are parted as little as possible: no more than it takes for
    each split to get half of its share.

    Args:
        pictures: in an order that depends on their content alone.
        split: shares, seed and grouping.
        likeness: which look alike, under ``group: near_duplicates``.

    Raises:
        DataError: there are fewer groups than splits, or a split would have no object.
    """
    shares = {GIVER: 1 - sum(split.shares.values()), **split.shares}
    most, fullest = float(len(pictures)), -1.0
    grouping, dealt = Grouping(group_of=()), list[str]()
    while most >= 1 and fullest < FULL_ENOUGH:
        tried = group_pictures(pictures, split, likeness, most)
        splits = deal_groups(_describe_groups(pictures, tried), split.shares, split.seed)
        by_picture = [splits[group] for group in tried.group_of]
        num_images = Counter(by_picture)
        least = min(num_images[name] / (share * len(pictures)) for name, share in shares.items())
        if least > fullest:
            grouping, dealt, fullest = tried, by_picture, least
        most = most / 2 if likeness is not None else 0
    if not pictures:  # the index of train says why
        return grouping, dealt
    _require_groups(grouping, shares, split)
    _require_object_in_each(pictures, dealt, shares)
    return grouping, dealt


def _require_groups(grouping: Grouping, shares: Mapping[str, float], split: DataSplit) -> None:
    """Refuses fewer groups than splits."""
    num, name = len(set(grouping.group_of)), _name_grouping(split)
    if num < len(shares):
        must = f"must leave a group of pictures for each of {_list_words(shares)}"
        num_pictures = len(grouping.group_of)
        groups, pictures = (
            f"{count} {word}{'s' * (count != 1)}"
            for count, word in ((num, "group"), (num_pictures, "picture"))
        )
        remedy = REMEDIES["none" if num == num_pictures else name]
        shown = f"{groups} of {pictures} (group: {name})"
        raise DataError(explain("data.split", must, shown, remedy))


def _require_object_in_each(
    pictures: Sequence[SplitPicture], dealt: Sequence[str], shares: Mapping[str, float]
) -> None:
    """Refuses a split without an object that can be found."""
    filled = {split for picture, split in zip(pictures, dealt, strict=True) if picture.classes}
    for split in shares:
        if split not in filled:
            must = f"must leave an object that can be found for each of {_list_words(shares)}"
            num = sum(bool(picture.classes) for picture in pictures)
            shown = f"{num} pictures with one" if num != 1 else "1 picture with one"
            remedy = (
                "Crowds and boxes without pixels do not count. Check the annotations with "
                "`rethink-ray data check`, or cut fewer splits."
            )
            raise DataError(explain("data.split", must, shown, remedy))


def _list_words(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"


def _name_grouping(split: DataSplit) -> str:
    return "regex" if isinstance(split.group, RegexGroups) else split.group


def _describe_groups(pictures: Sequence[SplitPicture], grouping: Grouping) -> list[PictureGroup]:
    groups = []
    for rows in grouping.groups:
        shown = Counter(name for row in rows for name in pictures[row].classes or ("",))
        key = min(pictures[row].digest for row in rows).hex()
        groups.append(PictureGroup(key=key, num_images=len(rows), images_with=shown))
    return groups


def count_groups(grouping: Grouping, dealt: Sequence[str], split: DataSplit) -> CutFacts:
    """Returns how many groups there are, and how many pictures each split has."""
    sizes, num_images = [len(rows) for rows in grouping.groups], Counter(dealt)
    together = [size for size in sizes if size > 1]
    return CutFacts(
        grouping=_name_grouping(split),
        shares=split.shares,
        split_sizes={name: num_images[name] for name in (GIVER, *split.shares)},
        num_groups=len(sizes),
        num_together=len(together),
        num_images_together=sum(together),
        largest=max(sizes, default=0),
        num_parted=len(grouping.parted),
        num_images_parted=sum(size for size, _ in grouping.parted),
        num_pieces=sum(pieces for _, pieces in grouping.parted),
    )


def name_examples(pictures: Sequence[SplitPicture], grouping: Grouping) -> list[list[str]]:
    """Returns the first names of the pictures in the largest groups of two or more."""
    groups = [
        sorted(pictures[row].file_name for row in rows) for rows in grouping.groups if len(rows) > 1
    ]
    groups.sort(key=lambda names: (-len(names), names))
    return [names[:NUM_SHOWN] for names in groups[:NUM_SHOWN]]
