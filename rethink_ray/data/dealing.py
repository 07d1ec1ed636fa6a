"""Deals groups of pictures out to splits, so that rare classes occur in all of them.

Every group begins in train. Test and then val take groups in an order of their own, a hash of each
group's key, class by class from the rarest on (iterative stratification, Sechidis et al. 2011). One
group more moves few others, because an order of hashes stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.spec.hashing import digest_of_parts

GIVER = "train"
TAKERS = ("test", "val")
"""Splits that take groups from train; a class of two groups occurs in train and the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGroup:
    """Pictures that one split gets together."""

    key: str
    """A text that depends on the pictures alone."""
    num_images: int
    images_with: Mapping[str, int]
    """Class -> number of the group's pictures that show it; the empty text: those without any."""


def deal_groups(
    groups: Sequence[PictureGroup], shares: Mapping[str, float], seed: int
) -> list[str]:
    """Returns the split of each group.

    A class that occurs in as many groups as there are splits, or more, occurs in every split,
    unless groups of several classes make that impossible; one of two groups occurs in train and
    test, one of a single group in train. Within that, sizes and numbers of each class are as near
    to the shares as groups allow.

    Args:
        groups: in any order, on which nothing depends.
        shares: split but train -> its share of the pictures.
        seed: of the orders in which splits take groups.
    """
    deal = _Deal(groups, shares, seed)
    names = {name for group in groups for name in group.images_with}
    rarest_first = sorted(names, key=lambda name: (deal.num_groups(name), name))
    for name in rarest_first:
        deal.give_class(name)
    deal.fill_up()
    deal.give_back()
    for name in rarest_first:
        deal.mend_class(name)
    return deal.split_of


class _Deal:
    """Which split has which group, with counts of groups and pictures by split and class."""

    def __init__(
        self, groups: Sequence[PictureGroup], shares: Mapping[str, float], seed: int
    ) -> None:
        self._groups = groups
        self._takers = [split for split in TAKERS if split in shares]
        self._shares = shares
        self.split_of = [GIVER] * len(groups)
        splits = (GIVER, *self._takers)
        self._num_images = dict.fromkeys(splits, 0)
        self._groups_with: dict[str, dict[str, int]] = {split: {} for split in splits}
        self._images_with: dict[str, dict[str, int]] = {split: {} for split in splits}
        for number in range(len(groups)):
            self._count(number, GIVER, 1)
        self._total = self._num_images[GIVER]
        self._all_groups_with = dict(self._groups_with[GIVER])
        self._all_images_with = dict(self._images_with[GIVER])
        self._orders: dict[str, list[int]] = {}
        self._orders_with: dict[str, dict[str, list[int]]] = {}
        for split in self._takers:
            self._order(split, seed)

    def _order(self, split: str, seed: int) -> None:
        """Sorts all groups, and those of each class, as ``split`` takes them."""
        hashes = [digest_of_parts("deal", split, seed, group.key) for group in self._groups]
        order = sorted(range(len(hashes)), key=lambda number: hashes[number])
        of_classes: dict[str, list[int]] = {name: [] for name in self._all_groups_with}
        for number in order:
            for name in self._groups[number].images_with:
                of_classes[name].append(number)
        self._orders[split], self._orders_with[split] = order, of_classes

    def num_groups(self, name: str) -> int:
        """Counts the groups that show a class."""
        return self._all_groups_with[name]

    def give_class(self, name: str) -> None:
        """Gives each split its share of the pictures of a class, and at least one group."""
        for split in self._takers:
            target = self._shares[split] * self._all_images_with[name]
            for number in self._orders_with[split][name]:
                num_with = self._groups[number].images_with[name]
                fits = self._images_with[split].get(name, 0) + num_with / 2 <= target
                if fits and self._has_room(split, number) and self._is_free(number):
                    self._move(number, split)
            if self._must_have(split, name) and not self._has(split, name):
                free = filter(self._is_free, self._orders_with[split][name])
                sizes = [(self._groups[number].num_images, number) for number in free]
                if sizes:  # the smallest; of several the first in the order
                    self._move(min(sizes, key=lambda pair: pair[0])[1], split)

    def fill_up(self) -> None:
        """Gives each split groups of any class until it has its share of all pictures."""
        for split in self._takers:
            for number in self._orders[split]:
                if self._has_room(split, number) and self._is_free(number):
                    self._move(number, split)

    def give_back(self) -> None:
        """Returns groups to train of a split that has more than its share, the last ones first."""
        for split in self._takers:
            for number in reversed(self._orders[split]):
                surplus = self._num_images[split] - self._shares[split] * self._total
                is_surplus = self._groups[number].num_images / 2 <= surplus
                if self.split_of[number] == split and is_surplus and self._may_leave(number):
                    self._move(number, GIVER)

    def mend_class(self, name: str) -> None:
        """Moves a group, or exchanges two, for each split that must have a class and lacks it."""
        for split in (GIVER, *self._takers):
            if self._must_have(split, name) and not self._has(split, name):
                order = self._orders_with[self._takers[-1] if split == GIVER else split][name]
                any(self._hand_over(number, split) for number in order)

    def _hand_over(self, number: int, split: str) -> bool:
        """Moves a group to a split; a second group replaces it where it came from, if needed.

        Returns whether each split still has every class that it must have.
        """
        former = self.split_of[number]
        self._move(number, split)
        lost = [
            name
            for name in self._groups[number].images_with
            if self._must_have(former, name) and not self._has(former, name)
        ]
        if not lost:
            return True
        for other in self._orders_with[self._takers[0]][lost[0]]:
            is_elsewhere = other != number and self.split_of[other] != former
            replaces = set(lost) <= self._groups[other].images_with.keys()
            if is_elsewhere and replaces and self._may_leave(other):
                self._move(other, former)
                return True
        self._move(number, former)
        return False

    def _must_have(self, split: str, name: str) -> bool:
        """Returns whether a class has enough groups for this split to have one."""
        return split in (GIVER, *self._takers)[: self._all_groups_with[name]]

    def _has(self, split: str, name: str) -> bool:
        return self._groups_with[split].get(name, 0) > 0

    def _is_free(self, number: int) -> bool:
        """Returns whether train has a group and can do without it."""
        return self.split_of[number] == GIVER and self._may_leave(number)

    def _may_leave(self, number: int) -> bool:
        """Returns whether the split of a group keeps every class that it must have without it."""
        split = self.split_of[number]
        return all(
            self._groups_with[split][name] > 1 or not self._must_have(split, name)
            for name in self._groups[number].images_with
        )

    def _has_room(self, split: str, number: int) -> bool:
        """Returns whether a group brings a split nearer to its share of all pictures."""
        half = self._groups[number].num_images / 2
        return self._num_images[split] + half <= self._shares[split] * self._total

    def _move(self, number: int, split: str) -> None:
        self._count(number, self.split_of[number], -1)
        self._count(number, split, 1)
        self.split_of[number] = split

    def _count(self, number: int, split: str, sign: int) -> None:
        group = self._groups[number]
        self._num_images[split] += sign * group.num_images
        of_split, images = self._groups_with[split], self._images_with[split]
        for name, num_images in group.images_with.items():
            of_split[name] = of_split.get(name, 0) + sign
            images[name] = images.get(name, 0) + sign * num_images
