"""Corrects comparisons that can each err in one of two ways, so that few families err at all.

A comparison has two null hypotheses that cannot both be true, such as "the difference is zero" and
"the two differ by the margin or more". To reject the true one is an error, whichever it is. So with
``m`` comparisons each p value is multiplied by ``m`` (Bonferroni), and not by ``2 m``.

As in Holm's procedure the multiplier falls while comparisons leave the count. A comparison may not
leave as soon as one of its nulls is rejected: the other may be the true one. If it left then, 19 of
100 families of five would err where 5 are allowed (six arms, all equal or all at the margin). It
leaves once neither error is possible any more (Shaffer 1986, JASA 81, 826):

- both nulls are rejected, or
- the difference is shown to be larger than the margin: on such numbers nothing shows the two equal.

Example with two comparisons: p of zero 0.001 and 0.03, and nothing shows either pair equal. If the
first difference is clear of the margin it leaves at 2 x 0.001, and the second one keeps its 0.03;
else the second one's p is 2 x 0.03.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NullPair:
    """p values of one comparison by itself."""

    first: float
    second: float
    """Of its two nulls."""
    beyond: float
    """Two-sided p of "the difference is the margin or less"."""

    @property
    def leaving(self) -> float:
        """The p value at which the comparison leaves the count."""
        return min(self.beyond, max(self.first, self.second))


def correct_pairs(pairs: Sequence[NullPair]) -> list[tuple[float, float]]:
    """Corrected p values of both nulls of each comparison, in the order given.

    Args:
        pairs: of all comparisons that are corrected together.
    """
    queue = _Queue([pair.leaving for pair in pairs])
    return [
        (queue.correct(pair.first, pair.leaving), queue.correct(pair.second, pair.leaving))
        for pair in pairs
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given: comparisons that have one null each."""
    pairs = [NullPair(first=p, second=0.0, beyond=1.0) for p in p_values]
    return [first for first, _ in correct_pairs(pairs)]


class _Queue:
    """The comparisons of a family in the order in which they leave the count."""

    def __init__(self, leaving: Sequence[float]) -> None:
        self._leaving = sorted(leaving)
        self._until_left = [0.0]
        """``[k]``: the smallest error of the family at which the first ``k`` have left."""
        for before, p in enumerate(self._leaving):
            self._until_left.append(max(self._until_left[-1], (len(leaving) - before) * p))

    def correct(self, p: float, leaving: float) -> float:
        """The smallest error of the family at which a null is rejected.

        Comparisons that leave before the null's own one does are no longer counted.

        Args:
            p: of the null alone.
            leaving: the p value at which its comparison leaves.
        """
        num, most = len(self._leaving), bisect_right(self._leaving, leaving) - 1

        def error(num_left: int) -> float:
            return max(self._until_left[num_left], (num - num_left) * p)

        enough = bisect_left(range(most), True, key=lambda k: self._until_left[k] >= (num - k) * p)
        return min(1.0, error(enough), error(max(0, enough - 1)))
