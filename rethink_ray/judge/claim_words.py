"""Declared claims in words: where they were tested, the numbers, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import replace

from rethink_ray.judge.decisions import Judgement
from rethink_ray.judge.look_stop import say_later, say_stop
from rethink_ray.judge.matching import SPELT, Comparison, MatchedPair
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.samples import ScoreSample
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
"""A ratio whose logarithm has a smaller standard error is printed without an interval: it counts
something exact, such as operations."""
HOLDS = {
    Verdict.SUPPORTED: "is supported",
    Verdict.CONTRADICTED: "is contradicted",
    Verdict.EQUIVALENT: "is true, if at all, by less than the margin",
    Verdict.INCONCLUSIVE: "is open",
    Verdict.NOT_TESTED: "is not tested",
}
"""Verdict -> how a sentence states it: "the claim that ... is supported"."""


def say_verdict(verdict: Verdict) -> str:
    """``is supported``."""
    return HOLDS[verdict]


def metric_words(metric: str) -> str:
    """``ap_l`` -> ``AP (large)``."""
    return {**METRIC_NAMES, **BINS, **UNITS}.get(metric, metric)


def find_varying_columns(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """The columns in which the comparisons of one claim differ, and always the regime."""
    return tuple(
        column
        for column in SPELT
        if column == "regime" or len({c.labels.get(column, "-") for c in comparisons}) > 1
    )


def say_setting(comparison: Comparison, columns: Sequence[str]) -> str:
    """``resnet50, coco_full``: names a comparison by ``columns``."""
    labels, pairs = comparison.labels, comparison.matched_pairs
    named = [
        f"tuned {labels[c]}" if c == "tuning" else labels[c]
        for c in columns
        if labels.get(c, "-") != "-"
    ]
    first = pairs[0].side
    if not comparison.levels and len(pairs) == 1 and first.labels.get("schedule"):
        other = pairs[0].against
        schedules = dict.fromkeys([first.schedule, other.schedule if other else first.schedule])
        named.append(" against ".join(schedules))
    return ", ".join(named)


def say_comparison(setting: str, measured: Measurement, decision: Judgement, unit: str) -> str:
    """One comparison of a claim as a sentence."""
    tail = ""
    if decision.verdict is Verdict.AS_REPORTED:
        tail = f"; {say_agreement(decision.agrees)}"
    elif measured.stop is not None and not measured.stop.is_decided:
        tail = f"; {say_stop(measured.stop, unit)}"
    elif decision.verdict is Verdict.INCONCLUSIVE and decision.needed:
        tail = f"; about {decision.needed} {unit} per arm would decide"
    elif measured.stop is not None and measured.claim.primary:
        tail = f"; {say_stop(measured.stop, unit)}"
    where = f"{setting}: " if setting else ""
    later = say_later(measured.stop if measured.claim.primary else None, _metric_of(measured))
    numbers = _say_numbers(measured, decision)
    return f"{where}{numbers}{tail}.{_say_corrected(decision)}{later}"


def _metric_of(measured: Measurement) -> str:
    """The name of the metric that a comparison is about."""
    return metric_words(measured.comparison.matched_pairs[0].side.metric)


def _say_corrected(decision: Judgement) -> str:
    if not decision.is_corrected_away:
        return ""
    num = decision.num_corrected
    return f" No longer {decision.verdict_alone} after correcting for {num} comparisons."


def _say_numbers(measured: Measurement, decision: Judgement) -> str:
    """The numbers of a comparison: ``+0.9 AP (+1.0 AP75, +0.1 AP50)``."""
    claim, comparison, effect = measured.claim, measured.comparison, measured.effect
    pairs = comparison.matched_pairs
    name = pairs[0].side.metric
    metric = metric_words(name)
    if effect is None:
        return _say_no_scores(comparison, metric)
    if claim.scale == "ratio":
        return _say_ratio(claim, pairs[0], effect)
    plain = orient_as_measured(claim, effect)
    size = f"{signed_text(name, plain.value)} {metric} {span_text(name, plain.interval())}".rstrip()
    if decision.bracket is not None:
        last = pairs[-1].side.schedule
        return f"{_say_bracket(measured, decision, last)}; {size} at {last}"
    if comparison.levels:
        levels = comparison.levels
        steps = ", ".join(f"{m.label} {_level(claim, m)}" for m in levels)
        return f"{size} from {levels[0].label} to {levels[-1].label} ({steps})"
    if len(pairs) == 2:
        return _say_difference_of_differences(claim, comparison, effect)
    return f"{size} ({_both(pairs[0])})" if pairs[0].against else size


def ratio_of(
    claim: Claim, effect: Estimate | None
) -> tuple[float, tuple[float, float] | None] | None:
    """(side over against, its interval), of a claim about ratios; None for any other."""
    if effect is None or claim.scale != "ratio":
        return None
    ends = (plain := orient_as_measured(claim, effect)).interval()
    return math.exp(plain.value), (math.exp(ends[0]), math.exp(ends[1])) if ends else None


def _say_ratio(claim: Claim, pair: MatchedPair, effect: Estimate) -> str:
    """``0.75 times [0.74, 0.76] (3 against 4 GFLOP an update)``."""
    ratio = ratio_of(claim, effect)
    assert ratio is not None, "a claim about a ratio"
    times_it, interval = ratio
    exact = effect.se is not None and effect.se < EXACT  # counted, as operations are
    interval_text = f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval and not exact else ""
    return f"{times_it:.3g} times{interval_text} ({_both(pair)} {metric_words(pair.side.metric)})"


def _both(pair: MatchedPair) -> str:
    name = pair.side.metric
    return f"{amount_text(name, _mean(pair.side))} against {amount_text(name, _mean(pair.against))}"


def _say_no_scores(comparison: Comparison, metric: str) -> str:
    """Why a comparison has no scores, as a clause."""
    pairs = comparison.matched_pairs
    sides = [s for m in pairs for s in (m.side, m.against) if s is not None]
    empty = [s for s in sides if not s.values]
    if not empty and all(s.all_failed for s in sides):
        return "the method ended every replicate of both"
    if absent := next((s.absent for s in empty if s.absent), ""):
        return absent
    if len(pairs) == 2 and empty:
        metric = metric_words(empty[0].metric)
    if any(s.evidence for s in empty):
        return f"no {metric} was measured: the split may hold nothing that it counts"
    return f"no replicate has {metric} yet"


def orient_as_measured(claim: Claim, effect: Estimate) -> Estimate:
    """``side`` minus ``against``, or last level minus first, in the units of the metric.

    The effect of a claim is positive where the claim is right. For a metric to minimize, or a trend
    that does not rise, its sign is turned back here.
    """
    turned = claim.along.trend != "rises" if claim.along else claim.goal == "minimize"
    return replace(effect, value=-effect.value) if turned else effect


def _say_difference_of_differences(claim: Claim, comparison: Comparison, effect: Estimate) -> str:
    """A difference of two differences; if both are negative, it says "behind in both"."""
    more, than = comparison.matched_pairs
    both = ", ".join(f"{_level(claim, m)} {metric_words(m.label)}" for m in (more, than))
    size = f"{signed(effect.value)} {span(effect.interval())}".rstrip()
    behind = all(_lead(claim, m) < 0.0 for m in (more, than))
    return f"behind in both; {size} between them ({both})" if behind else f"{size} more ({both})"


def _lead(claim: Claim, pair: MatchedPair) -> float:
    sign = 1.0 if claim.goal == "maximize" else -1.0
    return sign * (_mean(pair.side) - _mean(pair.against)) if pair.against else _mean(pair.side)


def _level(claim: Claim, pair: MatchedPair) -> str:
    """The difference of one pair, or the score of a side without another."""
    if pair.against is None:
        return amount_text(pair.side.metric, _mean(pair.side))
    return signed_text(pair.side.metric, _lead(claim, pair))


def _mean(sample: ScoreSample | None) -> float:
    values = sample.numbers if sample else ()
    return sum(values) / len(values) if values else float("nan")


def _say_bracket(measured: Measurement, decision: Judgement, last: str) -> str:
    """Between which lengths the chaser caught up, or how it stands at the longest length.

    The test of catching up starts at the longest length and stops where it fails, so it says
    nothing of shorter ones.
    """
    (behind, caught), effect = decision.bracket or (None, None), measured.effect
    if behind is not None and caught is not None:
        return f"caught up between {times(behind)} and {times(caught)}"
    if caught is not None:
        return f"caught up from {times(caught)} on"
    if decision.verdict is Verdict.CONTRADICTED:
        return f"still behind at {last}"
    if behind is None:
        return f"open at {last}"
    is_single = effect is not None and effect.se is None
    return f"behind up to {times(behind)}" + ("" if is_single else f", open at {last}")


def say_agreement(agrees: bool | None) -> str:
    """Whether a reported number is in line with the claim."""
    if agrees is None:
        return "too close to call"
    return "in line with the claim" if agrees else "against the claim"
