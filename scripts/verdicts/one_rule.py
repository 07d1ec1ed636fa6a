"""One rule of verdicts for every policy: this program's judge, which may say "inconclusive".

All comparisons of an answer are corrected together. Where a policy has fewer than three scores on a
side, nobody can say how far seeds scatter; there the rule gives it the true noise for nothing, so
that a single run may claim a lead that is large enough.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from rethink_ray.judge.corrections import correct_together
from rethink_ray.judge.decisions import decide
from rethink_ray.judge.matching import Comparison, MatchedPair
from rethink_ray.judge.measurements import Measurement, measure
from rethink_ray.judge.questions import ask_rungs
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES, Estimate
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import Claim
from verdicts.answers import Answer
from verdicts.program import build_study
from verdicts.surfaces import ARMS, LENGTHS, MARGIN, QUESTIONS, Question, Surface

ALL_BUT_CERTAIN_DF = 1e6
"""Degrees of freedom of a noise that is known."""
LONGEST_QUESTIONS = tuple(q for q in QUESTIONS if q.length == max(LENGTHS))
"""The headlines of a study: four comparisons."""
DECIDED = (Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.EQUIVALENT)


def judge_answer(
    answer: Answer, surface: Surface, questions: Sequence[Question] = QUESTIONS
) -> Mapping[Question, Verdict]:
    """The verdict on each question, all of them corrected together."""
    measured = {question: _measure(answer, surface, question) for question in questions}
    corrections = correct_together(list(measured.values()))
    return {
        question: Verdict.NOT_TESTED if one is None else decide(one, corrections).verdict
        for question, one in measured.items()
    }


def claim_from_means(
    answer: Answer, questions: Sequence[Question] = QUESTIONS
) -> Mapping[Question, Verdict]:
    """What a table without intervals claims: the sign of each lead, or equality inside the margin.

    A question without scores on both sides stays open.
    """
    verdicts = {}
    for question in questions:
        lead = _lead(answer, question)
        if lead is None:
            verdicts[question] = Verdict.NOT_TESTED
        elif abs(lead) < MARGIN:
            verdicts[question] = Verdict.EQUIVALENT
        else:
            verdicts[question] = Verdict.SUPPORTED if lead > 0.0 else Verdict.CONTRADICTED
    return verdicts


def is_true(verdict: Verdict, lead: float) -> bool:
    """Whether a verdict on a lead of this size says the truth."""
    match verdict:
        case Verdict.SUPPORTED:
            return lead > 0.0
        case Verdict.CONTRADICTED:
            return lead < 0.0
        case Verdict.EQUIVALENT:
            return abs(lead) < MARGIN
    return False


def lead_of_winners(answer: Answer, surface: Surface, question: Question) -> float:
    """True lead of the two configurations that the policy compared; 0 without both."""
    leads = []
    for arm in (question.arm, ARMS[0]):
        place = (question.regime, arm, question.length)
        if place not in answer.winners:
            return 0.0
        true = surface.arms[question.regime, arm].true_ap(
            answer.winners[place].rate, question.length
        )
        leads.append(true)
    return leads[0] - leads[1]


def _lead(answer: Answer, question: Question) -> float | None:
    sides = [
        answer.scores((question.regime, arm), question.length) for arm in (question.arm, ARMS[0])
    ]
    if not all(sides):
        return None
    side, against = (sum(scores) / len(scores) for scores in sides)
    return side - against


def _measure(answer: Answer, surface: Surface, question: Question) -> Measurement | None:
    samples = [_sample(answer, question, arm) for arm in (question.arm, ARMS[0])]
    if not all(sample.values for sample in samples):
        return None
    pair = MatchedPair(weight=1.0, label="", side=samples[0], against=samples[1])
    comparison = Comparison(labels={"regime": question.regime}, matched_pairs=(pair,))
    measured = measure(_claim(question), comparison, MARGIN)
    if min(len(sample.values) for sample in samples) >= MIN_REPLICATES:
        return measured
    effect = _with_known_noise(surface, question, samples)
    return replace(measured, difference=replace(measured.difference, effect=effect))


def _with_known_noise(
    surface: Surface, question: Question, samples: Sequence[ScoreSample]
) -> Estimate:
    """The difference of two means whose noise is given."""
    side, against = (sum(s.numbers) / len(s.numbers) for s in samples)
    variance = sum(
        surface.arms[question.regime, sample.arm].sd ** 2 / len(sample.numbers)
        for sample in samples
    )
    return Estimate(
        value=side - against,
        se=math.sqrt(variance),
        df=ALL_BUT_CERTAIN_DF,
        nums=tuple(len(sample.numbers) for sample in samples),
    )


@cache
def _claim(question: Question) -> Claim:
    return ask_rungs(build_study(1, 0), question.regime, (ARMS[0], question.arm)).claim


def _sample(answer: Answer, question: Question, arm: str) -> ScoreSample:
    labels = {
        "arm": arm,
        "regime": question.regime,
        "metric": "ap",
        "schedule": f"{question.length:g}x",
    }
    scores = answer.scores((question.regime, arm), question.length)
    return ScoreSample(
        labels={column: frozenset({text}) for column, text in labels.items()},
        images=600,
        length=question.length,
        values=dict(enumerate(scores)),
        evidence=(),
        configuration=f"{question.regime}/{arm}",
    )
