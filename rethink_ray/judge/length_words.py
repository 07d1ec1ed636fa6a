"""Findings about one arm along its ladder: how long a schedule it needs."""

from dataclasses import dataclass

from rethink_ray.judge.lead_words import both_of, say_needed
from rethink_ray.judge.measurements import turn_round
from rethink_ray.judge.questions import JudgedQuestion
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, Estimate
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.judge.wording import metric_name, signed, span, times, unit_name
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class _TwoLengths:
    """Two lengths of one arm, and the claim about them in words."""

    short: ScoreSample
    long: ScoreSample
    is_enough: bool
    """The claim is that the short one is enough; else that the long one gains."""
    yes: str
    no: str
    gain: Estimate | None
    """Long minus short."""


def _order_lengths(answer: JudgedQuestion) -> _TwoLengths:
    side, against = both_of(answer.measured.comparison.matched_pairs[0])
    (arm,) = answer.question.arms
    if answer.measured.expects == "not_below":
        short = times(side.length or 0.0)
        return _TwoLengths(
            short=side,
            long=against,
            is_enough=True,
            yes=f"{short} is enough for {arm}",
            no=f"{short} is not enough for {arm}",
            gain=turn_round(answer.measured.effect),
        )
    steps = f"from {times(against.length or 0.0)} to {times(side.length or 0.0)}"
    return _TwoLengths(
        short=against,
        long=side,
        is_enough=False,
        yes=f"{arm} still gains {steps}",
        no=f"{arm} does not gain {steps}",
        gain=answer.measured.effect,
    )


def state_length(study: Study, answer: JudgedQuestion) -> Finding:
    """``2x is enough for scratch``, or ``scratch still gains from 2x to 4x``."""
    question, decision, pair = answer.question, answer.decision, _order_lengths(answer)
    (arm,) = question.arms
    statement = "enough" if pair.is_enough else "gains"
    short, long = pair.short.length or 0.0, pair.long.length or 0.0
    return Finding(
        key=f"{question.regime}/{arm}-{statement}@{times(short)}",
        kind="length",
        family=question.family,
        regime=question.regime,
        arms=question.arms,
        lengths=(short, long),
        claim=question.claim.says,
        sentence=_sentence(study, answer, pair),
        verdict=decision.verdict,
        p_adjusted=decision.p,
        needed=decision.needed,
        evidence=tuple(dict.fromkeys((*pair.short.evidence, *pair.long.evidence))),
        effect=pair.gain,
    )


def _sentence(study: Study, answer: JudgedQuestion, pair: _TwoLengths) -> str:
    on, metric, verdict = (
        f"On {answer.question.regime}",
        metric_name(study),
        answer.decision.verdict,
    )
    gain = pair.gain
    if gain is None:
        return f"{on}, whether {pair.yes} is not tested: {_say_why_untested(pair)}."
    size = f"{signed(gain.value)} {metric} {span(gain.interval())}".rstrip()
    if pair.is_enough and verdict is not Verdict.CONTRADICTED:
        size = f"{signed(gain.value)} {metric}{_say_at_most(study, gain, verdict)}"
    lengths = f"{times(pair.long.length or 0.0)} minus {times(pair.short.length or 0.0)}"
    detail = f"{lengths} is {size}, {_say_design(study, pair)}"
    match verdict:
        case Verdict.SUPPORTED:
            return f"{on}, {pair.yes}: {detail}."
        case Verdict.CONTRADICTED:
            return f"{on}, {pair.no}: {detail}."
        case Verdict.EQUIVALENT:
            return f"{on}, {pair.no} by {study.margin:g} {metric} or more: {detail}."
    decide = say_needed(study, answer.decision.needed).removesuffix(" per arm")
    return f"{on}, whether {pair.yes} is open: {detail}; {decide} would decide."


def _say_why_untested(pair: _TwoLengths) -> str:
    """Why the two lengths have no difference, as a clause."""
    if pair.short.all_failed and pair.long.all_failed:
        return "the method ended every replicate at both lengths"
    return "no replicates at both lengths"


def _say_design(study: Study, pair: _TwoLengths) -> str:
    """Whether values pair, and by what."""
    if pair.short.configuration != pair.long.configuration:
        return "Welch"
    return "paired by search" if unit_name(study) == "searches" else "paired by seed"


def _say_at_most(study: Study, gain: Estimate, verdict: Verdict) -> str:
    """The upper end that "enough" rests on, beside the margin it must stay below."""
    interval = gain.interval(EQUIVALENCE_LEVEL)
    if interval is None:
        return ""
    level = 100.0 * (1.0 - (1.0 - EQUIVALENCE_LEVEL) / (2.0 * gain.looks))
    side = "below" if verdict is Verdict.SUPPORTED else "not below"
    near = abs(interval[1] - study.margin) < 0.05  # one decimal would print the margin itself
    most = f"{interval[1]:+.2f}" if near else signed(interval[1])
    end = f"at most {most} (one-sided {level:.3g} %)"
    return f" and {end}, {side} the margin of {study.margin:g}"
