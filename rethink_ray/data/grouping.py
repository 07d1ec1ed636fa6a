"""Groups pictures that one split must get together.

Files that are equal byte for byte belong together in every grouping. A chain of pictures that look
alike, such as the frames of a long video, is parted only as far as splits need it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from rethink_ray.data.near_duplicates import Likeness
from rethink_ray.spec.data_split import DataSplit, RegexGroups
from rethink_ray.spec.errors import DataError, explain

ROBOFLOW_EXPORT = re.compile(r"(.+)\.rf\.[0-9A-Za-z]{8,}\.\w+$")
"""Name of a picture that Roboflow exported, augmented or not; its group names the source."""
SMALLEST_PIECE = 0.1
"""Share of a chain that each of its two pieces has at least, where it is parted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPicture:
    """A picture that can be read, and what decides to which split it goes."""

    image_id: int
    path: Path
    file_name: str
    """Below the folder of images, as the annotations name it."""
    digest: bytes
    """SHA-256 of the file."""
    classes: frozenset[str]
    """Of its objects that can be found: no crowds, and none without pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which pictures belong together."""

    group_of: tuple[int, ...]
    """The group of each picture, counted from 0."""
    parted: tuple[tuple[int, int], ...] = ()
    """Number of pictures and of pieces of each chain that was parted."""

    @property
    def groups(self) -> list[list[int]]:
        """The rows of each group's pictures."""
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(self.group_of):
            rows[group].append(row)
        return [rows[group] for group in sorted(rows)]


def name_group(picture: SplitPicture, split: DataSplit) -> Hashable | None:
    """Returns what pictures of one group share by name; ``None``: nothing, by its name alone."""
    match split.group:
        case "folder":
            return picture.path.parent
        case RegexGroups(regex=regex):
            matched = re.search(regex, PurePath(picture.file_name).as_posix())
            return matched and (matched.groups() or matched.group())
        case "near_duplicates":
            exported = ROBOFLOW_EXPORT.match(picture.path.name)
            return exported and exported.group(1)
    return None


def group_pictures(
    pictures: Sequence[SplitPicture], split: DataSplit, likeness: Likeness | None, most: float
) -> Grouping:
    """Returns the groups of pictures under ``split.group``.

    Args:
        pictures: in an order that depends on their content alone.
        split: how to group them.
        likeness: which look alike; ``None`` for another grouping.
        most: pictures that a chain may have; a longer one is parted where that leaves both pieces
            a tenth of it.

    Raises:
        DataError: no name fits the regular expression.
    """
    names = [name_group(picture, split) for picture in pictures]
    if isinstance(split.group, RegexGroups) and not any(name is not None for name in names):
        must = "must match a file name of this data set"
        remedy = f"File names are such as {pictures[0].file_name}." if pictures else ""
        raise DataError(explain("data.split.group.regex", must, split.group.regex, remedy))
    equal = _link_equal([picture.digest for picture in pictures])
    firm = label_components(len(pictures), [*equal, *_link_equal(names)])
    if likeness is None:
        return Grouping(group_of=tuple(firm))
    num_images = Counter(firm)
    links = zip(likeness.distance, likeness.first, likeness.second, strict=True)
    chains = _Chains(
        [num_images[node] for node in range(len(num_images))],
        sorted((int(far), firm[one], firm[other]) for far, one, other in links),
    )
    whole = chains.label()
    chains.part(most)
    pieces = chains.label()
    pieces_of: defaultdict[int, set[int]] = defaultdict(set)
    for chain, piece in zip(whole, pieces, strict=True):
        pieces_of[chain].add(piece)
    sizes = Counter(whole[node] for node in firm)
    return Grouping(
        group_of=tuple(pieces[node] for node in firm),
        parted=tuple((sizes[c], len(those)) for c, those in pieces_of.items() if len(those) > 1),
    )


def label_components(num: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Returns a number for each of ``num`` nodes, the same for nodes that links connect."""
    parent = list(range(num))
    for one, other in links:
        roots = sorted((_find_root(parent, one), _find_root(parent, other)))
        parent[roots[1]] = roots[0]
    number_of: dict[int, int] = {}
    return [number_of.setdefault(_find_root(parent, node), len(number_of)) for node in range(num)]


def _find_root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _link_equal(keys: Sequence[Hashable | None]) -> list[tuple[int, int]]:
    """Links each row whose key occurred before with the first such row; ``None`` is no key."""
    first: dict[Hashable, int] = {}
    rows = [(row, key) for row, key in enumerate(keys) if key is not None]
    return [(first.setdefault(key, row), row) for row, key in rows]


class _Chains:
    """Trees of firm groups, whose links are the nearest pairs of pictures that look alike."""

    def __init__(self, num_images: Sequence[int], links: Iterable[tuple[int, int, int]]) -> None:
        """Keeps the links that connect something.

        Args:
            num_images: pictures of each firm group.
            links: distance and two firm groups, the nearest first.
        """
        self._num_images = num_images
        self._links: list[dict[int, int]] = [{} for _ in num_images]
        parent = list(range(len(num_images)))
        for distance, one, other in links:
            root, other_root = _find_root(parent, one), _find_root(parent, other)
            if root != other_root:
                parent[root] = other_root
                self._links[one][other] = self._links[other][one] = distance

    def label(self) -> list[int]:
        """Returns the number of each firm group's chain."""
        links = [(node, other) for node, others in enumerate(self._links) for other in others]
        return label_components(len(self._links), links)

    def part(self, most: float) -> None:
        """Cuts chains of more than ``most`` pictures in two, and their pieces likewise.

        A chain is cut at its longest link among those that leave both pieces a tenth of it, or not
        at all.
        """
        open_ends, seen = list(range(len(self._links))), set[int]()
        while open_ends:
            start = open_ends.pop()
            if start in seen:
                continue
            order = self._walk(start)
            link = self._find_link(order, most)
            if link is None:
                seen.update(node for node, _ in order)
                continue
            one, other = link
            del self._links[one][other], self._links[other][one]
            open_ends += [one, other]

    def _walk(self, start: int) -> list[tuple[int, int]]:
        """Returns each firm group of a chain and the one from which the walk comes to it."""
        order, position = [(start, -1)], 0
        while position < len(order):
            node, origin = order[position]
            order += [(other, node) for other in self._links[node] if other != origin]
            position += 1
        return order

    def _find_link(self, order: list[tuple[int, int]], most: float) -> tuple[int, int] | None:
        """Returns the link at which to cut a chain; ``None`` to leave it whole."""
        behind = {node: self._num_images[node] for node, _ in order}
        for node, origin in reversed(order):
            if origin >= 0:
                behind[origin] += behind[node]
        total = behind[order[0][0]]
        if total <= most:
            return None
        best, link = (0, 0, 0, 0), None
        for node, origin in order[1:]:
            smaller = min(behind[node], total - behind[node])
            sides = sorted((node, origin))
            rank = (self._links[node][origin], smaller, -sides[0], -sides[1])
            if smaller >= SMALLEST_PIECE * total and (link is None or rank > best):
                best, link = rank, (node, origin)
        return link
