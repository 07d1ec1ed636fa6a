"""Where a comparison stands after the looks so far, and how sentences say it."""

from dataclasses import dataclass

from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.wording import listed, signed, span
from rethink_ray.protocol.look_words import Standing, say_standing
from rethink_ray.records.types import ComparisonVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LookStop:
    """What the looks say of one comparison: its numbers are those of the look that stopped it.

    Three statements stand apart. The interval of the finding holds whichever look stops the
    comparison. ``family_interval`` holds together with those of all other primary comparisons.
    ``unbiased`` is an estimate that is about as often too high as too low over all studies of one
    truth, whenever they stop. Of those that stop early it is too large, as the plain difference is.
    """

    verdict: ComparisonVerdict
    number: int
    """Replicates (or searches) of each arm at the look; 0 before the first."""
    most: int
    """How many the last look would have had."""
    more: int | None = None
    """Of an open one: so many more replicates per arm decide it, four times in five, if the
    difference is as observed; None: the looks to come do not reach that."""
    p: float | None = None
    """Sequential p of the null that the claim expects to be wrong, before correction."""
    family_interval: tuple[float, float] | None = None
    unbiased: float | None = None
    later: Estimate | None = None
    """The difference with all later replicates, which describes and decides nothing; None where
    there are none."""

    @property
    def is_decided(self) -> bool:
        """Whether a look gave the verdict."""
        return self.verdict in ("supported", "contradicted", "equivalent")

    @property
    def needed(self) -> int | None:
        """Of an open one: replicates per arm at the look that decides it, four times in five."""
        return self.number + self.more if self.more is not None else None

    @property
    def is_over(self) -> bool:
        """Whether no look is to come."""
        return self.verdict != "open" or self.number >= self.most


def say_stop(stop: LookStop, unit: str) -> str:
    """Where a comparison stands, as a clause: ``stopped at 5 of 9 replicates: decided``.

    Args:
        stop: of the comparison.
        unit: ``replicates`` or ``searches``.
    """
    standing = Standing(verdict=stop.verdict, number=stop.number, most=stop.most, more=stop.more)
    return say_standing(standing, unit)


def say_later(stop: LookStop | None, metric: str) -> str:
    """The difference with all later replicates, as a sentence; empty where there are none."""
    if stop is None or stop.later is None:
        return ""
    later = stop.later
    size = f"{signed(later.value)} {metric} {span(later.interval())}".rstrip()
    nums = listed([str(num) for num in later.nums])
    return f" All replicates so far ({nums}) make it {size}; that describes and decides nothing."
