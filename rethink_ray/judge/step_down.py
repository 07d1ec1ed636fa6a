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
"""

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
    corrected = []
    for index, pair in enumerate(pairs):
        others = sorted(p.leaving for i, p in enumerate(pairs) if i != index)
        corrected.append((_correct(pair.first, others), _correct(pair.second, others)))
    return corrected


def _correct(p: float, others: Sequence[float]) -> float:
    """The smallest error of a family at which a null is rejected.

    Args:
        p: of the null alone.
        others: the p values at which the other comparisons leave, rising.
    """
    num = len(others) + 1
    smallest, until_left = num * p, 0.0
    for left, leaving in enumerate(others, start=1):
        until_left = max(until_left, (num - left + 1) * leaving)
        smallest = min(smallest, max(until_left, (num - left) * p))
    return min(1.0, smallest)
