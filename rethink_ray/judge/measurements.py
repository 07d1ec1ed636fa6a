"""Measures the difference that a claim is about: an estimate from its matched pairs.

Two lengths of one configuration share seeds and a trunk, so their difference is taken seed by seed
(paired t). Different configurations are compared by Welch's t. Configurations alone decide which of
the two it is, never the scores.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.matching import Comparison, MatchedPair
from rethink_ray.judge.samples import SampleKey, ScoreSample
from rethink_ray.judge.statistics import Estimate, contrast
from rethink_ray.spec.claim import Claim

Terms = tuple[tuple[SampleKey, float], ...]
"""A weighted sum: each sample with its weight, in a fixed order. Equal terms, equal difference."""
Expectation = Literal["above", "not_below", "equal", "catches_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A weighted sum of samples, positive where the claim's first side is better."""

    terms: Terms
    scale: str
    """``points``, or ``ratio``: a difference of logarithms."""
    effect: Estimate | None
    """The estimate; None if one side has no values, or if every replicate of both sides failed."""

    @property
    def is_paired(self) -> bool:
        """Whether differences were taken seed by seed, or search by search, and then averaged."""
        return self.effect is not None and len(self.effect.nums) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A claim, one comparison that tests it, and the difference measured there."""

    claim: Claim
    comparison: Comparison
    margin: float
    """What counts as equal, on the claim's scale."""
    difference: Difference
    """The difference that the claim is about; of a catch-up, the one at the longest length."""
    rungs: tuple[tuple[float, Difference], ...] = ()
    """Catch-ups only: (length, difference) at every length, shortest first."""
    stop: LookStop | None = None
    """Where the difference stands after the looks; None: no look decides about it."""

    @property
    def effect(self) -> Estimate | None:
        """The estimate of the difference."""
        return self.difference.effect

    @property
    def expects(self) -> Expectation:
        """What the claim expects of the difference."""
        return expectation_of(self.claim)


def expectation_of(claim: Claim) -> Expectation:
    """What a claim expects of its difference; a claim of a flat trend expects equality."""
    is_flat = claim.along is not None and claim.along.trend == "flat"
    return "equal" if is_flat else claim.expect


def measure(claim: Claim, comparison: Comparison, margin: float) -> Measurement:
    """The claim's difference in one comparison; ``margin`` is the study's."""
    pairs, rungs = comparison.matched_pairs, []
    if claim.expect == "catches_up":
        pairs = pairs[-1:]
        for pair in comparison.matched_pairs:
            rungs.append((pair.side.length or 0.0, measure_difference([pair], claim)))
    return Measurement(
        claim=claim,
        comparison=comparison,
        margin=claim.margin_within(margin),
        difference=measure_difference(pairs, claim),
        rungs=tuple(rungs),
    )


def measure_difference(
    matched_pairs: Iterable[MatchedPair], claim: Claim | None = None
) -> Difference:
    """The differences of these pairs, added up with their weights.

    Args:
        matched_pairs: one or more.
        claim: says which direction is better, and the scale; None: points, higher is better.
    """
    sign = -1.0 if claim is not None and claim.goal == "minimize" else 1.0
    scale = "points" if claim is None else claim.scale
    weighted = [
        (weight * pair.weight, sample)
        for pair in matched_pairs
        for weight, sample in ((sign, pair.side), (-sign, pair.against))
        if sample is not None
    ]
    terms: dict[SampleKey, float] = {}
    for weight, sample in weighted:
        terms[sample.key] = terms.get(sample.key, 0.0) + weight
    effect = None
    if not all(sample.all_failed for _, sample in weighted):
        effect = _estimate(weighted, math.log if scale == "ratio" else float)
    return Difference(terms=tuple(sorted(terms.items())), scale=scale, effect=effect)


def _estimate(
    weighted: Iterable[tuple[float, ScoreSample]], scaled: Callable[[float], float]
) -> Estimate | None:
    """The estimate; None if a group is empty, or if a logarithm of zero would be taken."""
    by_configuration: dict[str, list[tuple[float, ScoreSample]]] = {}
    for weight, sample in weighted:
        by_configuration.setdefault(sample.configuration, []).append((weight, sample))
    groups, looks = list(by_configuration.values()), 1
    terms: list[tuple[float, list[float]]] = []
    for group in groups:
        looks = max(looks, *(sample.looks for _, sample in group))
        first = group[0][1].values
        seeds = [s for s in first if all(s in sample.values for _, sample in group)]
        if scaled is math.log and any(x.values[s] <= 0.0 for _, x in group for s in seeds):
            return None
        terms.append(_term(group, seeds, scaled))
    return contrast(terms, looks)


def _term(
    group: list[tuple[float, ScoreSample]], seeds: list[int], scaled: Callable[[float], float]
) -> tuple[float, list[float]]:
    """(weight, values) of the samples of one configuration; several are added seed by seed."""
    if len(group) == 1:
        weight, sample = group[0]
        return weight, [scaled(sample.values[seed]) for seed in seeds]
    return 1.0, [sum(w * scaled(sample.values[seed]) for w, sample in group) for seed in seeds]


def turn_round(effect: Estimate | None) -> Estimate | None:
    """The same estimate with the sides swapped: the other side minus the first."""
    return replace(effect, value=0.0 - effect.value, nums=effect.nums[::-1]) if effect else None
