"""Findings about one arm along its ladder: how long a schedule it needs.

One configuration at two rungs shares seeds and a trunk, so its difference is paired by seed; two
different incumbents are compared by Welch's t. Which of the two it is, is fixed by the incumbents,
never by the replicates' scores. Several searches of a cell are always paired, search by search.
"""

import math
from dataclasses import dataclass

from rethink_ray.analysis.comparisons import needed_words
from rethink_ray.analysis.read.curves import CellResult, CurvePoint
from rethink_ray.judge.statistics import (
    EQUIVALENCE_LEVEL,
    MIN_REPLICATES,
    Estimate,
    paired,
    replicates_needed,
    sample_sd,
    welch,
)
from rethink_ray.judge.verdicts import Finding, Verdict, judge
from rethink_ray.judge.wording import metric_name, signed, span, times, unit_name
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """A claim and its denial, as the middle of a sentence."""

    yes: str
    no: str


def length_finding(study: Study, result: CellResult) -> Finding | None:
    """Whether the shortest length within the margin is enough, or each rung still pays.

    None for a cell with one length or without a finished search trial.
    """
    best, short = result.best_length, result.shortest_within
    reached = [p.length for p in result.points]
    if best is None or short is None or len(reached) < 2:
        return None
    if short < best:
        return _enough(study, result, short, best)
    if best == reached[0]:
        return _enough(study, result, best, reached[-1])
    return _still_gains(study, result, reached[reached.index(best) - 1], best)


def gain(study: Study, shorter: CurvePoint, longer: CurvePoint) -> Estimate | None:
    """How much better the longer rung is: paired for one configuration, and search by search;
    Welch for two configurations."""
    sign = 1.0 if study.objective.goal == "maximize" else -1.0
    looks = max(shorter.looks, longer.looks)
    if shorter.pairs_with(longer):
        seeds = [seed for seed in shorter.values if seed in longer.values]
        return paired(
            [sign * longer.values[s] for s in seeds],
            [sign * shorter.values[s] for s in seeds],
            looks,
        )
    return welch(
        [sign * v for v in longer.values.values()],
        [sign * v for v in shorter.values.values()],
        looks,
    )


def _enough(study: Study, result: CellResult, short: float, long: float) -> Finding:
    """Claim: the short length is not worse than the long one by the margin or more."""
    left, right = result.point(short), result.point(long)
    assert left is not None
    assert right is not None
    effect = gain(study, left, right)
    verdict = Verdict.NOT_TESTED if effect is None else Verdict.INCONCLUSIVE
    ninety = effect.interval(EQUIVALENCE_LEVEL) if effect else None
    whole = effect.interval() if effect else None
    if ninety and ninety[1] < study.margin:
        verdict = Verdict.SUPPORTED
    elif whole and whole[0] > 0.0:
        verdict = Verdict.CONTRADICTED
    return _finding(
        study,
        result,
        (left, right),
        effect,
        verdict,
        key="enough",
        words=_Words(
            yes=f"{times(short)} is enough for {result.arm}",
            no=f"{times(short)} is not enough for {result.arm}",
        ),
    )


def _still_gains(study: Study, result: CellResult, short: float, long: float) -> Finding:
    """Claim: the best length beats the rung before it."""
    left, right = result.point(short), result.point(long)
    assert left is not None
    assert right is not None
    effect = gain(study, left, right)
    verdict = judge(effect, effect.p_value if effect else None, study.margin)
    return _finding(
        study,
        result,
        (left, right),
        effect,
        verdict,
        key="gains",
        words=_Words(
            yes=f"{result.arm} still gains from {times(short)} to {times(long)}",
            no=f"{result.arm} does not gain from {times(short)} to {times(long)}",
        ),
    )


def _finding(
    study: Study,
    result: CellResult,
    rungs: tuple[CurvePoint, CurvePoint],
    effect: Estimate | None,
    verdict: Verdict,
    *,
    key: str,
    words: _Words,
) -> Finding:
    not_behind = EQUIVALENCE_LEVEL if key == "enough" else None
    needed = None
    if verdict is Verdict.INCONCLUSIVE:
        needed = _needed(study, rungs, effect, not_behind)
    return Finding(
        key=f"{result.regime}/{result.arm}-{key}@{times(rungs[0].length)}",
        kind="length",
        family="descriptive",
        regime=result.regime,
        arms=(result.arm,),
        lengths=(rungs[0].length, rungs[1].length),
        claim=f"on {result.regime}, {words.yes}",
        sentence=_sentence(
            study, result, rungs, effect, verdict, words, needed, one_sided=key == "enough"
        ),
        verdict=verdict,
        needed=needed,
        evidence=tuple(dict.fromkeys((*rungs[0].trial_ids, *rungs[1].trial_ids))),
        effect=effect,
    )


def _sentence(
    study: Study,
    result: CellResult,
    rungs: tuple[CurvePoint, CurvePoint],
    effect: Estimate | None,
    verdict: Verdict,
    words: _Words,
    needed: int | None,
    *,
    one_sided: bool,
) -> str:
    on, metric = f"On {result.regime}", metric_name(study)
    if effect is None:
        return f"{on}, whether {words.yes} is not tested: no replicates at both lengths."
    unit = "search" if rungs[0].of_searches else "seed"
    design = f"paired by {unit}" if rungs[0].pairs_with(rungs[1]) else "Welch"
    size = f"{signed(effect.value)} {metric} {span(effect.interval())}".rstrip()
    if one_sided and verdict is not Verdict.CONTRADICTED:
        size = f"{signed(effect.value)} {metric}{_at_most(study, effect, verdict)}"
    detail = f"{times(rungs[1].length)} minus {times(rungs[0].length)} is {size}, {design}"
    match verdict:
        case Verdict.SUPPORTED:
            return f"{on}, {words.yes}: {detail}."
        case Verdict.CONTRADICTED:
            return f"{on}, {words.no}: {detail}."
        case Verdict.EQUIVALENT:
            return f"{on}, {words.no} by {study.margin:g} {metric} or more: {detail}."
    decide = needed_words(needed, unit_name(study))
    return f"{on}, whether {words.yes} is open: {detail}; {decide} would decide."


def _at_most(study: Study, effect: Estimate, verdict: Verdict) -> str:
    """The upper end that "enough" rests on, beside the margin it must stay below."""
    found = effect.interval(EQUIVALENCE_LEVEL)
    if found is None:
        return ""
    level = 100.0 * (1.0 - (1.0 - EQUIVALENCE_LEVEL) / (2.0 * effect.looks))
    side = "below" if verdict is Verdict.SUPPORTED else "not below"
    near = abs(found[1] - study.margin) < 0.05  # one decimal would print the margin itself
    most = f"{found[1]:+.2f}" if near else signed(found[1])
    end = f"at most {most} (one-sided {level:.3g} %)"
    return f" and {end}, {side} the margin of {study.margin:g}"


def _needed(
    study: Study,
    rungs: tuple[CurvePoint, CurvePoint],
    effect: Estimate | None,
    not_behind: float | None,
) -> int | None:
    if effect is None:
        return None
    if effect.se is None:
        return MIN_REPLICATES
    sds = (sample_sd(list(rungs[0].values.values())), sample_sd(list(rungs[1].values.values())))
    if rungs[0].pairs_with(rungs[1]):
        sds = (effect.se * math.sqrt(effect.nums[0]), 0.0)
    return replicates_needed(
        effect.value, sds, study.margin, more_than=max(effect.nums), not_behind=not_behind
    )
