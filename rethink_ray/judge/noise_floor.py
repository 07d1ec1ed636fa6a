"""What chance alone does in this study: how far twins, one contender under two names, differ.

Not told apart is no proof of sameness: every comparison of two arms carries its twins' difference.
"""

import math
from collections.abc import Iterator, Mapping

from scipy.special import chdtri

from rethink_ray.analysis.pairs import PairAt, build_pair, twins
from rethink_ray.analysis.read.curves import CellResult
from rethink_ray.judge.statistics import MIN_REPLICATES
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import metric_name, signed, span, times
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

PREFIX = "twins:"
ENOUGH = 5
"""Replicates from which on the spread they find is worth taking at its word."""


def twin_caveats(study: Study, results: Mapping[Cell, CellResult]) -> Iterator[Caveat]:
    """One per regime, pair of twins and length that both have replicates at."""
    for regime in study.regimes:
        for arm, first in twins(study).items():
            pair = build_pair(study, results[Cell(regime, first)], results[Cell(regime, arm)])
            for rung in pair.rungs:
                if rung.lead is not None:
                    yield _caveat(study, regime, (first, arm), rung)


def thin_spread(results: Mapping[Cell, CellResult]) -> Iterator[Caveat]:
    """What a handful of replicates or searches says of the spread that intervals are made of."""
    points = [point for result in results.values() for point in result.points]
    nums = [len(point.values) for point in points]
    num = min((n for n in nums if n >= MIN_REPLICATES), default=ENOUGH)
    if num < ENOUGH:
        low, high = (math.sqrt(chdtri(num - 1, p) / (num - 1)) for p in (0.975, 0.025))
        unit = "searches" if any(point.of_searches for point in points) else "replicates"
        text = (
            f"{num} {unit} find {low:.2f} to {high:.1f} times the true spread (95 times in "
            "100), so a single interval may be much too narrow or too wide; they cover on average."
        )
        yield Caveat(key="thin-spread", text=text)


def _caveat(study: Study, regime: str, names: tuple[str, str], rung: PairAt) -> Caveat:
    assert rung.lead is not None
    size = f"{signed(rung.lead.value)} {metric_name(study)} {span(rung.lead.interval())}".rstrip()
    first, arm = names
    return Caveat(
        key=f"{PREFIX}{regime}/{first}={arm}@{times(rung.length)}",
        regime=regime,
        between_arms_at=rung.length,
        text=(
            f"{first} and {arm}, one contender under two names, differ by {size} on {regime} at "
            f"{times(rung.length)} by chance: distrust differences of that size."
        ),
    )
