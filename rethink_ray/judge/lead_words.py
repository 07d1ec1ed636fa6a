"""Findings about two arms at one length: the claim, and its verdict as a sentence."""

from collections.abc import Sequence

from rethink_ray.judge.decisions import Judgement
from rethink_ray.judge.look_stop import LookStop, say_later, say_stop
from rethink_ray.judge.matching import MatchedPair
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import JudgedQuestion
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import EQUIVALENCE_LEVEL, Estimate
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.judge.wording import metric_name, signed, span, times, unit_name
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.spec.study import Study


def state_lead(study: Study, answer: JudgedQuestion) -> Finding:
    """``pretrained ends above scratch at 6x``, with its verdict."""
    question, decision = answer.question, answer.decision
    reference, other = question.arms
    at_best, lengths = _lengths(answer)
    where = f"on {question.regime} {_at(question.arms, at_best, lengths)}"
    prefix = f"pre-training pays {where}: " if question.is_about_start else f"{where}, "
    effect = answer.measured.effect
    stop = _own_stop(answer)
    return Finding(
        key=f"{question.regime}/{other}-vs-{reference}@{'best' if at_best else times(lengths[0])}",
        kind="arms",
        family=question.family,
        regime=question.regime,
        arms=question.arms,
        lengths=lengths,
        claim=f"{prefix}{other} ends above {reference}",
        sentence=_sentence(study, answer) + say_later(stop, metric_name(study)),
        verdict=decision.verdict,
        p_adjusted=decision.p,
        needed=decision.needed,
        evidence=evidence_of(answer.measured, against_first=True),
        effect=effect,
        stop=stop,
    )


def _lengths(answer: JudgedQuestion) -> tuple[bool, tuple[float, ...]]:
    """(is each arm at its own best length, the length or the two: the reference's first)."""
    other, reference = both_of(answer.measured.comparison.matched_pairs[-1])
    if answer.question.claim.rung == "best":
        return True, (reference.length or 0.0, other.length or 0.0)
    return False, (other.length or 0.0,)


def _at(arms: Sequence[str], at_best: bool, lengths: Sequence[float]) -> str:
    """``at 6x``, or both lengths where each arm is judged at its best."""
    if not at_best:
        return f"at {times(lengths[0])}"
    ends = zip(arms, lengths, strict=True)
    return f"at their best lengths ({', '.join(f'{arm} {times(n)}' for arm, n in ends)})"


def _sentence(study: Study, answer: JudgedQuestion) -> str:
    (reference, other), metric = answer.question.arms, metric_name(study)
    effect, decision = answer.measured.effect, answer.decision
    on, at = f"On {answer.question.regime}", _at(answer.question.arms, *_lengths(answer))
    if effect is None:
        why = say_why_untested(answer.measured, against_first=True)
        return f"{on}, {other} is not compared with {reference} {at}: {why}."
    size = f"{signed(effect.value)} {metric} {span(effect.interval())}".rstrip()
    stop = _own_stop(answer)
    end = f"; {say_stop(stop, unit_name(study))}" if stop else ""
    if decision.verdict_alone is Verdict.EQUIVALENT and decision.is_corrected_away:
        end = f"; {_say_within_alone(decision)}{end}"
    match decision.verdict:
        case Verdict.SUPPORTED:
            return f"{on}, {other} ends above {reference} {at}: {size}{end}."
        case Verdict.CONTRADICTED:
            return f"{on}, {other} ends below {reference} {at}: {size}{end}."
        case Verdict.EQUIVALENT:
            ninety = span(effect.interval(EQUIVALENCE_LEVEL))
            inner = f"{signed(effect.value)} {metric}, 90 % {ninety}"
            within = f"within {study.margin:g} {metric} of each other"
            return f"{on}, {other} and {reference} end {within} {at}: {inner}{end}."
    why = _why_open(study, effect, decision)
    needed = say_what_decides(study, decision.needed, answer.measured.stop)
    return f"{on}, whether {other} ends above {reference} {at} is open: {size}; {why}{needed}."


def _own_stop(answer: JudgedQuestion) -> LookStop | None:
    """Where the looks leave a headline; None for a question that no look decides about."""
    return answer.measured.stop if answer.question.family == "primary" else None


def say_what_decides(study: Study, needed: int | None, stop: LookStop | None) -> str:
    """``about 14 replicates per arm would decide``, or what the looks say of it, as a clause."""
    if stop is None or stop.is_decided:
        return f"{say_needed(study, needed)} would decide"
    return say_stop(stop, unit_name(study))


def say_needed(study: Study, needed: int | None) -> str:
    """``about 14 replicates per arm``."""
    noun = f"{unit_name(study)} per arm"
    return f"about {needed} {noun}" if needed else f"more than 100 {noun}"


def _why_open(study: Study, effect: Estimate, decision: Judgement) -> str:
    """Why a comparison is open, unless its interval shows it; ends with a semicolon."""
    if effect.se is None:
        of_what = " searches" if num_searches(study) > 1 else ""
        return f"with {effect.nums[0]} and {effect.nums[1]}{of_what} there is no interval; "
    if decision.verdict_alone is Verdict.EQUIVALENT:
        return f"{_say_within_alone(decision)}; "
    if decision.is_corrected_away:
        num = decision.num_corrected
        return f"zero is left out, but no longer after correcting for {num} comparisons; "
    return ""


def _say_within_alone(decision: Judgement) -> str:
    """That an interval inside the margin does not make two arms equal in their family."""
    num = decision.num_corrected
    return f"within the margin by itself, but no longer after correcting for {num} comparisons"


def say_why_untested(measured: Measurement, *, against_first: bool) -> str:
    """Why two arms have no difference, as a clause."""
    pair = measured.comparison.matched_pairs[-1]
    samples = _in_order(pair, against_first)
    for sample in samples:
        if sample.absent:
            return sample.absent
    if not all(sample.values for sample in samples):
        counts = ", ".join(f"{len(sample.values)} of {sample.arm}" for sample in samples)
        return f"no replicates yet ({counts})"
    return "the method ended every replicate of both"


def evidence_of(measured: Measurement, *, against_first: bool) -> tuple[str, ...]:
    """Trial ids of all pairs, each once; ``against_first`` orders the two sides of a pair."""
    samples = (
        sample
        for pair in measured.comparison.matched_pairs
        for sample in _in_order(pair, against_first)
    )
    return tuple(dict.fromkeys(trial for sample in samples for trial in sample.evidence))


def _in_order(pair: MatchedPair, against_first: bool) -> tuple[ScoreSample, ScoreSample]:
    side, against = both_of(pair)
    return (against, side) if against_first else (side, against)


def both_of(pair: MatchedPair) -> tuple[ScoreSample, ScoreSample]:
    """(side, against) of a pair whose claim has two sides."""
    assert pair.against is not None, "a question about two sides"
    return pair.side, pair.against
