"""How often intervals hold and verdicts err, on simulated studies whose truth is planted.

Only the replicates are made up: they go through the functions that findings use. Every noise has
mean 0, so that the planted means are the truth whatever the noise looks like.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.random import Generator

from rethink_ray.judge.catch_up import find_bracket
from rethink_ray.judge.judging import judge_questions
from rethink_ray.judge.measurements import Difference
from rethink_ray.judge.questions import ask_lead
from rethink_ray.judge.ranks import explained_shares, regression_columns
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import Estimate, contrast
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study

Noise = Callable[[Generator, int], Sequence[float]]
"""(generator, number of replicates) -> deviations of mean 0."""
CRASHED = 0.05
CRASH_COSTS = 10.0
"""Standard deviations by which a crashed replicate falls short."""
SKEWED_SHAPE = 4.0
"""Of a gamma distribution: skewness 1."""
SHORT = 2.0
"""The one schedule length of simulated families."""


def normal(rng: Generator, num: int) -> Sequence[float]:
    """Sd 1."""
    return [float(v) for v in rng.normal(size=num)]


def student4(rng: Generator, num: int) -> Sequence[float]:
    """Student's t with 4 degrees of freedom: heavy tails, sd 1.4."""
    return [float(v) for v in rng.standard_t(4, size=num)]


def skewed(rng: Generator, num: int) -> Sequence[float]:
    """A gamma distribution of skewness 1, sd 1, its long tail below."""
    drawn = rng.gamma(SKEWED_SHAPE, size=num)
    return [float((SKEWED_SHAPE - v) / SKEWED_SHAPE**0.5) for v in drawn]


def strongly_skewed(rng: Generator, num: int) -> Sequence[float]:
    """An exponential distribution (skewness 2, sd 1), its long tail below."""
    return [float(1.0 - v) for v in rng.exponential(size=num)]


def crashing(rng: Generator, num: int) -> Sequence[float]:
    """Sd 1, but one replicate in twenty falls ten such deviations short."""
    fell = rng.random(num) < CRASHED
    drawn = rng.normal(size=num) - CRASH_COSTS * (fell - CRASHED)
    return [float(v) for v in drawn]


NOISES: Mapping[str, Noise] = {
    "normal": normal,
    "t4": student4,
    "skewed": skewed,
    "5 % crashes": crashing,
}


def welch_coverage(
    noises: tuple[Noise, Noise], sds: tuple[float, float], num: int, studies: int, rng: Generator
) -> float:
    """Share of 95 % intervals between two arms that hold the planted difference of 1.

    Args:
        noises: of the first and the second arm.
        sds: what their deviations are multiplied by.
        num: replicates an arm.
        studies: how many to simulate.
        rng: source of all chance.
    """
    held = 0
    for _ in range(studies):
        first = [1.0 + sds[0] * v for v in noises[0](rng, num)]
        second = [sds[1] * v for v in noises[1](rng, num)]
        held += _holds(contrast(((1.0, first), (-1.0, second))), 1.0)
    return held / studies


def paired_coverage(noise: Noise, num: int, studies: int, rng: Generator) -> float:
    """Share of 95 % intervals between two rungs of one configuration that hold a gain of 1.

    Both rungs share their trunk's deviation; each branch adds one of its own.
    """
    held = 0
    for _ in range(studies):
        trunk, short, long = (noise(rng, num) for _ in range(3))
        first = [t + 0.5 * v for t, v in zip(trunk, short, strict=True)]
        second = [1.0 + t + 0.5 * v for t, v in zip(trunk, long, strict=True)]
        gains = [b - a for a, b in zip(first, second, strict=True)]
        held += _holds(contrast(((1.0, gains),)), 1.0)
    return held / studies


def bracket_coverage(
    leads: Sequence[float], sd: float, num: int, margin: float, studies: int, rng: Generator
) -> float:
    """Share of catch-up brackets of which both ends are true.

    The lower end says "behind up to here", the upper "less than the margin behind from here on".

    Args:
        leads: how far the chaser is behind at each rung, shortest first.
        sd: between replicates.
        num: replicates an arm and rung.
        margin: below which being behind does not count.
        studies: how many to simulate.
        rng: source of all chance.
    """
    lengths = [2.0 * (index + 1) for index in range(len(leads))]
    true = 0
    for _ in range(studies):
        rungs = [
            (length, _chase(lead, sd, num, rng))
            for length, lead in zip(lengths, leads, strict=True)
        ]
        found = find_bracket(rungs, margin)
        behind = [d for n, d in zip(lengths, leads, strict=True) if n <= (found.behind_up_to or 0)]
        caught = [
            d
            for n, d in zip(lengths, leads, strict=True)
            if found.caught_up_from is not None and n >= found.caught_up_from
        ]
        true += all(d > 0.0 for d in behind) and all(d < margin for d in caught)
    return true / studies


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRates:
    """What became of one family's comparisons over many simulated studies."""

    false_family: float
    """Share of studies with any wrong verdict: equal arms called supported or contradicted, a worse
    one called better, or arms that differ by the margin or more called equivalent."""
    found: float
    """Share of the truly better arms that were called supported."""
    equivalent: float
    """Share of the truly equal arms that were called equivalent."""
    needed: float | None
    """Median of "about n needed" over open comparisons of equal arms; None if none was open."""


def family_rates(
    study: Study,
    effects: Sequence[float],
    sd: float,
    num: int,
    studies: int,
    rng: Generator,
) -> FamilyRates:
    """Headlines of one family, corrected together as a study's are.

    Args:
        study: for its metric and margin.
        effects: how far each arm is ahead of the one reference they share; 0 for equal arms.
        sd: between replicates.
        num: replicates an arm.
        studies: how many to simulate.
        rng: source of all chance.
    """
    equal, better, false, open_for = Counter[str](), Counter[str](), 0, []
    for _ in range(studies):
        headlines = _headlines(study, effects, sd, num, rng)
        wrong = False
        for effect, found in zip(effects, headlines, strict=True):
            (better if effect else equal)[found.verdict] += 1
            wrong |= _is_wrong(found.verdict, effect, study.margin)
            if not effect and found.needed:
                open_for.append(found.needed)
        false += wrong
    return FamilyRates(
        false_family=false / studies,
        found=better[Verdict.SUPPORTED] / max(1, better.total()),
        equivalent=equal[Verdict.EQUIVALENT] / max(1, equal.total()),
        needed=statistics.median(open_for) if open_for else None,
    )


def _is_wrong(verdict: Verdict, effect: float, margin: float) -> bool:
    match verdict:
        case Verdict.SUPPORTED:
            return effect <= 0.0
        case Verdict.CONTRADICTED:
            return effect >= 0.0
        case Verdict.EQUIVALENT:
            return abs(effect) >= margin
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """How a search comes by its best configuration, in points."""

    trials: int
    """Configurations a search tries."""
    spread: float
    """Sd of what configurations truly are."""
    noise: float
    """Sd of one run of a configuration, in the search and in replicates."""


def false_by_luck(study: Study, luck: Luck, replicates: int, studies: int, rng: Generator) -> float:
    """Share of studies in which one of two arms that are tuned alike is called better.

    Both draw configurations of one and the same distribution, so as arms they are equal; what one
    search finds is better or worse by luck, and its replicates repeat that luck.

    Args:
        study: for its margin, and how often it searches a cell.
        luck: of every search.
        replicates: of what each search found.
        studies: how many to simulate.
        rng: source of all chance.
    """
    false, questions = 0, [ask_lead(study, "full", ("scratch", "arm"))]
    for _ in range(studies):
        samples = [_searched(study, arm, luck, replicates, rng) for arm in ("scratch", "arm")]
        (finding,) = judge_questions(study, questions, samples).findings
        false += finding.verdict in (Verdict.SUPPORTED, Verdict.CONTRADICTED)
    return false / studies


def _searched(study: Study, arm: str, luck: Luck, replicates: int, rng: Generator) -> ScoreSample:
    """Replicates of what one search found; or one value per search, the mean of its replicates."""
    searches: list[list[float]] = []
    for _ in range(num_searches(study)):
        true = luck.spread * rng.normal(size=luck.trials)
        best = true[int(np.argmax(true + luck.noise * rng.normal(size=luck.trials)))]
        searches.append([float(best) + luck.noise * v for v in normal(rng, replicates)])
    return _sample(arm, [fmean(s) for s in searches] if len(searches) > 1 else searches[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceRates:
    """What became of one parameter that matters among others that do not."""

    first: float
    """Share of studies that rank it first."""
    clear: float
    """Share that call it clear."""
    shuffled: float
    """Share that call a shuffled copy of it clear."""


def importance_rates(noise: float, trials: int, studies: int, rng: Generator) -> ImportanceRates:
    """One cell's search over four parameters, of which only the rate matters.

    Args:
        noise: sd of a trial's score; one decade of the rate off its best costs 4.
        trials: finished ones.
        studies: how many to simulate.
        rng: source of all chance.
    """
    rate, weight = Parameter(log_uniform=(0.005, 0.2)), Parameter(log_uniform=(1e-5, 1e-2))
    momentum, norm = Parameter(uniform=(0.8, 0.95)), Parameter(choice=("gn", "bn"))
    first = clear = shuffled = 0
    for _ in range(studies):
        places = rng.uniform(np.log10(0.005), np.log10(0.2), trials)
        scores = 20.0 - 4.0 * (places + 1.5) ** 2 + noise * rng.normal(size=trials)
        rates = [float(10.0**place) for place in places]
        columns = [
            regression_columns(rate, rates),
            regression_columns(weight, [float(10.0**v) for v in rng.uniform(-5, -2, trials)]),
            regression_columns(momentum, [float(v) for v in rng.uniform(0.8, 0.95, trials)]),
            regression_columns(norm, [("gn", "bn")[i] for i in rng.integers(2, size=trials)]),
            regression_columns(rate, [rates[i] for i in rng.permutation(trials)]),
        ]
        shares = explained_shares(columns, [float(score) for score in scores], rng)
        first += shares[0][0] == max(share for share, _ in shares)
        clear += shares[0][0] > shares[0][1]
        shuffled += shares[4][0] > shares[4][1]
    return ImportanceRates(
        first=first / studies, clear=clear / studies, shuffled=shuffled / studies
    )


def _headlines(
    study: Study, effects: Sequence[float], sd: float, num: int, rng: Generator
) -> Sequence[Finding]:
    """One reference, and a headline for each arm that is ahead of it by an effect."""
    samples = [_sample("scratch", [sd * v for v in normal(rng, num)])]
    questions = []
    for index, effect in enumerate(effects):
        samples.append(_sample(f"arm{index}", [effect + sd * v for v in normal(rng, num)]))
        questions.append(ask_lead(study, "full", ("scratch", f"arm{index}")))
    return judge_questions(study, questions, samples).findings


def _sample(arm: str, values: Sequence[float]) -> ScoreSample:
    labels = {"arm": arm, "regime": "full", "metric": "ap", "schedule": f"{SHORT:g}x"}
    return ScoreSample(
        labels={column: frozenset({text}) for column, text in labels.items()},
        images=1000,
        length=SHORT,
        values=dict(enumerate(values)),
        evidence=tuple(f"{arm}-{seed}" for seed in range(len(values))),
        configuration=arm,
    )


def _chase(lead: float, sd: float, num: int, rng: Generator) -> Difference:
    """Chaser minus chased, which leads by this much."""
    ahead = [lead + sd * v for v in normal(rng, num)]
    chaser = [sd * v for v in normal(rng, num)]
    effect = contrast(((1.0, chaser), (-1.0, ahead)))
    return Difference(terms=(), scale="points", effect=effect)


def _holds(estimate: Estimate | None, truth: float) -> bool:
    found = estimate.interval() if estimate else None
    return found is not None and found[0] <= truth <= found[1]
