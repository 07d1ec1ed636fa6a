"""A study for a budget of hours: lengths, trials, searches, replicates, regimes and arms.

Paces are data, so a study for a cluster can be designed on a laptop: no file and no clock is read.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from scipy.special import ndtr, stdtrit

from rethink_ray.judge.power import Simulation
from rethink_ray.judge.rules import ALPHA, rule_of
from rethink_ray.search.design_costs import (
    STUDY_START_SECONDS,
    CellWork,
    bound_makespan,
    count_chain_seconds,
    count_replicate_seconds,
    count_search_seconds,
)
from rethink_ray.search.noise_prior import LUCK_OF_A_SEARCH, NoisePrior
from rethink_ray.search.paces import Pace
from rethink_ray.spec.errors import SpecError, explain

SHARES: Sequence[tuple[float, ...]] = ((1.0,), (1.0, 0.5), (1.0, 0.5, 0.25))
"""Regimes of a design, as shares of the training pictures."""
SMALL_SHARES: Sequence[tuple[float, ...]] = ((0.25,), (0.1,), (0.01,))
"""Regimes where the hours do not reach for all pictures: the largest one that they reach for."""
REGIME_NAMES = {1.0: "all", 0.5: "half", 0.25: "quarter", 0.1: "tenth", 0.01: "hundredth"}
LEAST_IMAGES = 40
"""Training pictures of the smallest regime."""
LEAST_OF_A_SHARE = 500
"""Training pictures of a regime that stands for all of them."""
LADDERS: Sequence[tuple[float, ...]] = ((2.0, 4.0), (2.0, 4.0, 8.0))
"""Lengths in units of 1x. A length of 1x would be two thirds decay and say little about longer
ones."""
PASSES_OF_LONGEST = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Passes over all pictures in the longest length. Below eight no start is given a chance."""
LEAST_UPDATES = 120
"""Updates in the longest length."""
TRIALS = (2, 3, 4, 6, 8, 12, 16)
"""Search trials of a cell."""
REPEATS = ((1, 3), (1, 4), (1, 5), (1, 6), (1, 8), (1, 10), (3, 1), (4, 1), (5, 1), (8, 1), (12, 1))
"""(searches, replicates) of a cell. Three values of an arm are the fewest with an interval."""
FEWEST_WITH_LOOKS = 5
"""From so many values of an arm on, a study looks at them from three on and stops an arm that is
decided. Its cost is then at most that of the plain number, and so are its errors."""
FEWEST_TRIALS_WITH_LOOKS = 8
"""Trials of a cell that is searched once, where its results are added until they decide. Of equal
arms one search of four trials finds unequal configurations, and nine replicates show that: 28 % of
planted studies had a false verdict about arms, 12 % with eight trials (docs/benchmarks.md)."""
MEAN_EFFECT = 5.0
"""The true difference between two starts that a design expects, on average over studies, in
standard deviations between runs. An assumption; drawn shapes and BCCD show 3 to 8
(docs/benchmarks.md)."""
HALF_LEARNED_PASSES, HALF_LEARNED_UPDATES = 12.0, 200.0
"""Passes and updates after which training counts as half done. Twelve passes are Detectron's 1x;
tiny detectors find most shapes after 400 updates."""
NOISE_WEIGHTS = (0.25, 0.5, 0.25)
"""Of the low, middle and high end of the noise."""
MOST_RANKED = 40
"""Best designs that are returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignRequest:
    """Everything that a design depends on."""

    hours: float
    slots: int
    """Trials that run side by side."""
    paces: Sequence[tuple[str, Pace]]
    """Each arm with its pace, the most important arm first: later ones are left out first."""
    least_arms: int = 2
    num_images: int
    """Training pictures of the largest regime."""
    num_select: int
    """Pictures that every rung is scored on."""
    num_report: int
    """Pictures that replicates are scored on besides."""
    batch_size: int
    rate_range: float
    """The highest learning rate that is searched over the lowest."""
    noise: NoisePrior
    asset_seconds: float = 0.0
    """To build what several trials start from, on one slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The numbers of one study."""

    arms: tuple[str, ...]
    shares: tuple[float, ...]
    """Its regimes, as falling shares of the training pictures."""
    unit: int
    """Updates in 1x where a regime has all training pictures."""
    lengths: tuple[float, ...]
    trials: int
    searches: int
    replicates: int

    @property
    def keep(self) -> tuple[int, ...]:
        """Trials of a round at each length: half of them, rounded up, go on."""
        kept = [self.trials]
        while len(kept) < len(self.lengths):
            kept.append((kept[-1] + 1) // 2)
        return tuple(kept)

    @property
    def num_values(self) -> int:
        """Independent results of an arm in each regime: searches, or replicates of one search."""
        return self.searches if self.searches > 1 else self.replicates

    @property
    def stops_early(self) -> bool:
        """Whether the study adds values only until its comparisons are decided."""
        return self.num_values >= FEWEST_WITH_LOOKS

    @property
    def shows_luck_of_its_search(self) -> bool:
        """Whether one search of few trials is repeated so often that its luck may look like an
        arm's lead."""
        is_searched_once = self.searches == 1
        return self.stops_early and is_searched_once and self.trials < FEWEST_TRIALS_WITH_LOOKS

    @property
    def num_comparisons(self) -> int:
        """Pairs of arms, over all regimes."""
        return len(self.shares) * math.comb(len(self.arms), 2)

    def unit_of(self, share: float) -> int:
        """Updates in 1x of a regime: a quarter of the pictures gets half of the updates, and so
        twice the passes."""
        return max(1, round(self.unit * math.sqrt(share)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedDesign:
    """A design, what it costs at most, and what it can find."""

    design: Design
    hours: float
    """An upper bound."""
    worth: float
    """Expected number of comparisons that it decides and that one may believe."""


def design_study(request: DesignRequest) -> RatedDesign:
    """The design of the highest worth among those that fit the hours; see ``rank_designs``.

    Raises:
        SpecError: no sensible design fits; the message says how many hours the smallest one needs.
    """
    return rank_designs(request)[0]


def rank_designs(request: DesignRequest) -> tuple[RatedDesign, ...]:
    """The best designs that fit the hours, best first.

    Candidates are enumerated in this order, each from the smallest value up: arms (the first two of
    the list, the first three, ...), regimes, lengths of the ladder, passes in the longest length,
    trials, and repeats (replicates of one search, then several searches). A candidate fits if the
    upper bound of its cost does. One search of fewer than ``FEWEST_TRIALS_WITH_LOOKS`` trials has
    at most four replicates. Where no candidate on all pictures fits, the largest of
    ``SMALL_SHARES`` for which one does stands for all, if it has 500 pictures or more.

    The worth of a candidate is the sum, over regimes and pairs of arms, of

    - the chance that the pair is told apart: the smallest difference that is found at 80 % power,
      corrected for all pairs, as ``plan --noise`` computes it, against a true difference that is
      exponential with a mean of ``MEAN_EFFECT`` standard deviations; averaged over the noise;
    - times how far training comes: p / (p + 12) for the passes p of the longest length, times
      u / (u + 200) for its updates u;
    - times the chance that one of the tried rates is within a factor of two of the best;
    - times, if each cell is searched once, the chance that two equal arms are not told apart
      because one search was luckier (``LUCK_OF_A_SEARCH``): 75 % at 3 replicates, 56 % at 5.

    The highest worth is best; of equals the earlier candidate, which is the smaller one.

    Raises:
        SpecError: no candidate fits; the message says how many hours the smallest one needs.
    """
    for choices in (SHARES, *((one,) for one in SMALL_SHARES)):
        shares = list_shares(request.num_images, choices)
        rated = [r for r in _rate_all(request, shares) if r.hours <= request.hours]
        if rated:
            return tuple(sorted(rated, key=lambda one: -one.worth)[:MOST_RANKED])
    raise refuse_hours(request, find_smallest_design(request))


def find_smallest_design(request: DesignRequest) -> RatedDesign:
    """The design of the lowest cost, whatever the hours; of equals the earlier candidate."""
    return min(_rate_all(request, list_shares(request.num_images)), key=lambda one: one.hours)


def list_left_out(request: DesignRequest, design: Design) -> tuple[str, ...]:
    """Arms, regimes and searches that more hours would add to a design, one phrase each."""
    lines = [f"arm {name}" for name, _ in request.paces if name not in design.arms]
    possible = {share for shares in list_shares(request.num_images, SHARES) for share in shares}
    missing = [s for s in sorted(possible, reverse=True) if s not in design.shares]
    lines += [f"regime {REGIME_NAMES[share]}" for share in missing]
    if design.searches == 1:
        lines.append(
            "several searches of each cell (claims are about the configurations that one search "
            "finds)"
        )
    return tuple(lines)


def refuse_hours(request: DesignRequest, smallest: RatedDesign, slower: float = 1.0) -> SpecError:
    """The error that says how many hours the smallest sensible study needs.

    ``slower``: how much longer that study takes than its design's bound.
    """
    design, least = smallest.design, round_up(slower * smallest.hours)
    must = f"must be at least {least:g}, which the smallest sensible study needs"
    remedy = (
        f"That study compares {' and '.join(design.arms)} with {design.trials} trials and "
        f"{design.num_values} replicates each. Write --hours {least:g}, or take a machine with "
        "more slots."
    )
    return SpecError(explain("--hours", must, request.hours, remedy))


def round_up(hours: float) -> float:
    """The hours with two digits, never less: 0.231 becomes 0.24."""
    scale = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return math.ceil(hours / scale - 1e-9) * scale


def list_shares(
    num_images: int, choices: Sequence[tuple[float, ...]] = (*SHARES, *SMALL_SHARES)
) -> list[tuple[float, ...]]:
    """The regimes that the pictures suffice for; all pictures always do."""
    return [
        shares
        for shares in choices
        if shares == (1.0,)
        or shares[-1] * num_images >= (LEAST_IMAGES if 1.0 in shares else LEAST_OF_A_SHARE)
    ]


def _rate_all(request: DesignRequest, shares: Sequence[tuple[float, ...]]) -> Iterator[RatedDesign]:
    """Every candidate with its cost and worth, in the order of enumeration."""
    names = [name for name, _ in request.paces]
    prefixes = [tuple(names[:num]) for num in range(request.least_arms, len(names) + 1)]
    for arms, of_design, lengths in itertools.product(prefixes, shares, LADDERS):
        for unit in _list_units(request, lengths):
            for trials in TRIALS:
                yield from _rate_repeats(request, arms, of_design, (unit, lengths, trials))


def _list_units(request: DesignRequest, lengths: tuple[float, ...]) -> list[int]:
    """Updates in 1x for each number of passes, without those that train too little."""
    updates = (passes * request.num_images / request.batch_size for passes in PASSES_OF_LONGEST)
    least = [max(num, LEAST_UPDATES) for num in updates]
    return list(dict.fromkeys(math.ceil(num / lengths[-1]) for num in least))


def _rate_repeats(
    request: DesignRequest,
    arms: tuple[str, ...],
    shares: tuple[float, ...],
    ladder: tuple[int, tuple[float, ...], int],
) -> Iterator[RatedDesign]:
    """The candidates that differ in searches and replicates alone; ``ladder``: unit, lengths,
    trials."""
    unit, lengths, trials = ladder
    base = Design(
        arms=arms,
        shares=shares,
        unit=unit,
        lengths=lengths,
        trials=trials,
        searches=1,
        replicates=3,
    )
    search, replicate, chain = _sum_seconds(request, base)
    learned = sum(_share_learned(request, base, share) for share in shares)
    tuned = _chance_to_tune(request.rate_range, trials)
    for searches, replicates in REPEATS:
        design = Design(
            arms=arms,
            shares=shares,
            unit=unit,
            lengths=lengths,
            trials=trials,
            searches=searches,
            replicates=replicates,
        )
        if design.shows_luck_of_its_search:
            continue
        seconds = bound_makespan(searches * (search + replicates * replicate), chain, request.slots)
        believed = 1.0 if searches > 1 else _chance_of_no_false_lead(replicates)
        chance = _chance_to_decide(request.noise, design)
        yield RatedDesign(
            design=design,
            hours=(seconds + request.asset_seconds + STUDY_START_SECONDS) / 3600.0,
            worth=math.comb(len(arms), 2) * learned * tuned * believed * chance,
        )


def _sum_seconds(request: DesignRequest, design: Design) -> tuple[float, float, float]:
    """Slot seconds of one search of all cells, of one replicate of each, and the longest chain."""
    search = replicate = chain = 0.0
    for share in design.shares:
        work = CellWork(
            unit=design.unit_of(share),
            lengths=design.lengths,
            keep=design.keep,
            num_select=request.num_select,
            num_report=request.num_report,
        )
        for name, pace in request.paces:
            if name in design.arms:
                slower = math.exp(pace.spread)
                search += slower * count_search_seconds(work, pace)
                replicate += slower * count_replicate_seconds(work, pace)
                chain = max(chain, slower * count_chain_seconds(work, pace))
    return search, replicate, chain


def _share_learned(request: DesignRequest, design: Design, share: float) -> float:
    """The share of its training that the longest length of a regime gets through, 0 to 1."""
    updates = design.unit_of(share) * design.lengths[-1]
    passes = updates * request.batch_size / (share * request.num_images)
    return (passes / (passes + HALF_LEARNED_PASSES)) * (updates / (updates + HALF_LEARNED_UPDATES))


def _chance_to_tune(rate_range: float, trials: int) -> float:
    """The chance that one of the tried rates is within a factor of two of the best.

    Rates lie evenly on a logarithmic scale, and the best one anywhere on it.
    """
    if rate_range <= 4.0:
        return 1.0
    return 1.0 - (1.0 - math.log(4.0) / math.log(rate_range)) ** trials


@cache
def _chance_of_no_false_lead(replicates: int) -> float:
    """The chance that two equal arms, each searched once, are not told apart by their searches."""
    per_value = 2.0 / replicates
    threshold = stdtrit(2 * replicates - 2, 1.0 - ALPHA / 2.0) * math.sqrt(per_value)
    sd = math.sqrt(2.0 * LUCK_OF_A_SEARCH**2 + per_value)
    return float(1.0 - 2.0 * ndtr(-threshold / sd))


def _chance_to_decide(noise: NoisePrior, design: Design) -> float:
    """The chance that a pair of arms is told apart, over true differences and over the noise."""
    mean_effect = MEAN_EFFECT * noise.middle
    seen = noise.between_searches() if design.searches > 1 else noise
    smallest = _smallest_at_unit_noise(design.num_values, design.num_comparisons)
    ends = zip(NOISE_WEIGHTS, (seen.low, seen.middle, seen.high), strict=True)
    return sum(weight * math.exp(-smallest * sd / mean_effect) for weight, sd in ends)


@cache
def _smallest_at_unit_noise(num_values: int, num_comparisons: int) -> float:
    """The smallest difference found at 80 % power, in standard deviations between results."""
    rule = rule_of("above", 0.5, apart_by=num_comparisons)
    return Simulation(noise=1.0, seed=0).find_smallest(2, num_values, rule)
