"""How much equal runs scatter, before any run of a study: a range that depends on the data's size.

A study measures its own scatter. Until then a plan needs one, and the honest one is a range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ANCHORS: Sequence[tuple[int, float, float]] = (
    (100, 1.0, 3.0),
    (1_000, 1.0, 2.0),
    (10_000, 0.4, 0.5),
    (118_000, 0.1, 0.2),
)
"""Training images, and the lowest and highest standard deviation of AP between runs that differ in
nothing but their seed. Planning numbers: 0.1 to 0.2 on COCO, 0.4 to 0.5 on VOC, 1 and more on small
data; on 60 to 800 drawn images we measured 0.3 to 2.8 (docs/benchmarks.md, ``shapes_demo``)."""
NOISE_SOURCE = "0.1 to 0.2 AP on COCO, 0.4 to 0.5 on VOC, 1 and more on small data"
"""The planning numbers in words."""
LUCK_OF_A_SEARCH = 1.27
"""How much the best configuration of one search is worth more or less than that of another, as a
standard deviation in units of that between runs. With it 25 % of equal arms are told apart after
one search and 3 replicates, and 44 % after 5; we measured 25.0 and 43.5 % (docs/benchmarks.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisePrior:
    """The standard deviation that a plan expects between results of one arm, as a range."""

    low: float
    """In points of the metric, as ``high``."""
    high: float

    @property
    def middle(self) -> float:
        """The geometric mean of both ends."""
        return math.sqrt(self.low * self.high)

    def between_searches(self) -> "NoisePrior":
        """The same between results of whole searches."""
        factor = math.hypot(1.0, LUCK_OF_A_SEARCH)
        return NoisePrior(low=self.low * factor, high=self.high * factor)


def expect_noise(num_images: int) -> NoisePrior:
    """The scatter between equal runs on so many training images; between anchors it is a power of
    their number."""
    first, last = ANCHORS[0], ANCHORS[-1]
    num = min(max(num_images, first[0]), last[0])
    pairs = pairwise(ANCHORS)
    below, above = next(pair for pair in pairs if num <= pair[1][0])
    share = math.log(num / below[0]) / math.log(above[0] / below[0])
    low, high = (
        math.exp((1.0 - share) * math.log(below[end]) + share * math.log(above[end]))
        for end in (1, 2)
    )
    return NoisePrior(low=low, high=high)
