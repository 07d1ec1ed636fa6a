"""What a claim came to, in words: where it was tested, its numbers, and how they stand to it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from rethink_ray.judge.crossover import Bracket
from rethink_ray.judge.matching import SPELT, Comparison, MatchedPair
from rethink_ray.judge.samples import Sample
from rethink_ray.judge.statistics import Estimate
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.judge.wording import (
    METRIC_NAMES,
    UNITS,
    amount_text,
    signed,
    signed_text,
    span,
    span_text,
    times,
)
from rethink_ray.spec.claim import Claim

BINS = {"ap_rare": "AP (rare)", "ap_common": "AP (common)", "ap_frequent": "AP (frequent)"}

EXACT = 1e-9
"""Standard error of logarithms below which numbers are equal but for rounding."""


def metric_words(metric: str) -> str:
    """``ap_l`` -> ``AP (large)``."""
    return {**METRIC_NAMES, **BINS, **UNITS}.get(metric, metric)


def told_apart_by(found: Sequence[Comparison]) -> tuple[str, ...]:
    """The columns in which the places of one claim differ, and always the regime."""
    return tuple(
        column
        for column in SPELT
        if column == "regime" or len({c.labels.get(column, "-") for c in found}) > 1
    )


def setting_of(found: Comparison, columns: Sequence[str]) -> str:
    """``resnet50, coco_full``: where this comparison stands."""
    named = [
        f"tuned {found.labels[c]}" if c == "tuning" else found.labels[c]
        for c in columns
        if found.labels.get(c, "-") != "-"
    ]
    first = found.matched_pairs[0].side
    if not found.levels and len(found.matched_pairs) == 1 and first.labels.get("schedule"):
        other = found.matched_pairs[0].against
        schedules = dict.fromkeys([first.schedule, other.schedule if other else first.schedule])
        named.append(" against ".join(schedules))
    return ", ".join(named)


def numbers_of(
    claim: Claim, found: Comparison, effect: Estimate | None, bracket: Bracket | None
) -> str:
    """The numbers behind a verdict: ``+0.9 AP (+1.0 AP75, +0.1 AP50)``."""
    name = found.matched_pairs[0].side.metric
    metric = metric_words(name)
    if effect is None:
        return _no_scores(found, metric)
    if claim.scale == "ratio":
        return _ratio_words(claim, found.matched_pairs[0], effect)
    plain = as_measured(claim, effect)
    size = f"{signed_text(name, plain.value)} {metric} {span_text(name, plain.interval())}".rstrip()
    if bracket is not None:
        last = found.matched_pairs[-1].side.schedule
        return f"{_bracket_words(bracket, effect, last)}; {size} at {last}"
    if found.levels:
        steps = ", ".join(f"{m.label} {_level(claim, m)}" for m in found.levels)
        ends = f"from {found.levels[0].label} to {found.levels[-1].label}"
        return f"{size} {ends} ({steps})"
    if len(found.matched_pairs) == 2:
        return _one_more_than_the_other(claim, found, effect)
    met = found.matched_pairs[0]
    return f"{size} ({_both(met)})" if met.against else size


def ratio_of(
    claim: Claim, effect: Estimate | None
) -> tuple[float, tuple[float, float] | None] | None:
    """(side over against, its interval), of a claim about ratios; None for any other."""
    if effect is None or claim.scale != "ratio":
        return None
    found = (plain := as_measured(claim, effect)).interval()
    return math.exp(plain.value), (math.exp(found[0]), math.exp(found[1])) if found else None


def _ratio_words(claim: Claim, met: MatchedPair, effect: Estimate) -> str:
    """``0.75 times [0.74, 0.76] (3 against 4 GFLOP an update)``."""
    found = ratio_of(claim, effect)
    assert found is not None
    times_it, interval = found
    exact = effect.se is not None and effect.se < EXACT  # counted, as operations are
    shown = f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval and not exact else ""
    return f"{times_it:.3g} times{shown} ({_both(met)} {metric_words(met.side.metric)})"


def _both(met: MatchedPair) -> str:
    name = met.side.metric
    return f"{amount_text(name, _mean(met.side))} against {amount_text(name, _mean(met.against))}"


def _no_scores(found: Comparison, metric: str) -> str:
    """Nobody replicated, or the report split has nothing that this metric counts."""
    sides = [s for m in found.matched_pairs for s in (m.side, m.against) if s is not None]
    empty = [s for s in sides if not s.values]
    if len(found.matched_pairs) == 2 and empty:
        metric = metric_words(empty[0].metric)
    if any(s.evidence for s in empty):
        return f"no {metric} was measured: the split may hold nothing that it counts"
    return f"no replicate has {metric} yet"


def as_measured(claim: Claim, effect: Estimate) -> Estimate:
    """Side minus against, or last level minus first: with the sign of what was measured, where an
    effect has that of what was claimed."""
    turned = claim.along.trend != "rises" if claim.along else claim.goal == "minimize"
    return replace(effect, value=-effect.value) if turned else effect


def _one_more_than_the_other(claim: Claim, found: Comparison, effect: Estimate) -> str:
    """A difference of two differences; two losses are no gains, of which one is larger."""
    more, than = found.matched_pairs
    told = f"{_level(claim, more)} {metric_words(more.label)}"
    told += f", {_level(claim, than)} {metric_words(than.label)}"
    size = f"{signed(effect.value)} {span(effect.interval())}".rstrip()
    behind = all(_lead(claim, m) < 0.0 for m in (more, than))
    return f"behind in both; {size} between them ({told})" if behind else f"{size} more ({told})"


def _lead(claim: Claim, met: MatchedPair) -> float:
    sign = 1.0 if claim.goal == "maximize" else -1.0
    return sign * (_mean(met.side) - _mean(met.against)) if met.against else _mean(met.side)


def _level(claim: Claim, met: MatchedPair) -> str:
    """One difference by itself, or one side's own score."""
    if met.against is None:
        return amount_text(met.side.metric, _mean(met.side))
    return signed_text(met.side.metric, _lead(claim, met))


def _mean(sample: Sample | None) -> float:
    values = list(sample.values.values()) if sample else []
    return sum(values) / len(values) if values else float("nan")


def _bracket_words(bracket: Bracket, at_last: Estimate, last: str) -> str:
    """Where the chaser stands; ``at_last`` is its lead at the longest length.

    The test of catching up starts there and stops where it fails: of a length before, it says
    nothing.
    """
    behind, caught = bracket.behind_up_to, bracket.caught_up_from
    if behind is not None and caught is not None:
        return f"caught up between {times(behind)} and {times(caught)}"
    if caught is not None:
        return f"caught up from {times(caught)} on"
    found = at_last.interval()
    if found is not None and found[1] < 0.0:
        return f"still behind at {last}"
    if found is None and behind is not None:
        return f"behind up to {times(behind)}"
    return (f"behind up to {times(behind)}, " if behind is not None else "") + f"open at {last}"


def whole_sentence(
    setting: str,
    numbers: str,
    verdict: Verdict,
    agrees: bool | None,
    needed: int | None,
    unit: str = "replicates",
) -> str:
    """One place of a claim as a sentence."""
    tail = ""
    if verdict is Verdict.AS_REPORTED:
        tail = f"; {agreement(agrees)}"
    elif verdict is Verdict.INCONCLUSIVE and needed:
        tail = f"; about {needed} {unit} per arm would decide"
    where = f"{setting}: " if setting else ""
    return f"{where}{numbers}{tail}."


def agreement(agrees: bool | None) -> str:
    """How a reported number stands to the claim."""
    if agrees is None:
        return "too close to call"
    return "in line with the claim" if agrees else "against the claim"
