"""One rule of verdicts for every policy: that of a family in which either error is rare.

The chance of any wrong "above", "below" or "equal" among all comparisons of an answer is at most
5 % (``rethink_ray/judge/families.py``); what is not shown stays open. Where a policy has fewer than
three scores on a side, nothing says how far seeds scatter; there the rule gives it the true noise,
so that a single run may claim a lead that is large enough.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rethink_ray.judge.families import (
    FamilyDecision,
    FamilyMember,
    decide_family,
    is_clear_of_margin,
)
from rethink_ray.judge.statistics import Estimate, contrast, p_not_above, p_not_below
from rethink_ray.judge.verdicts import Verdict
from verdicts.answers import Answer
from verdicts.surfaces import ARMS, LENGTHS, MARGIN, QUESTIONS, Cell, Question, Surface

ALL_BUT_CERTAIN_DF = 1e6
"""Degrees of freedom of a noise that is known."""
LONGEST_QUESTIONS = tuple(q for q in QUESTIONS if q.length == max(LENGTHS))
"""The headlines of a study: four comparisons."""
DECIDED = (Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.EQUIVALENT)


def judge_answer(
    answer: Answer, sds: Mapping[Cell, float], questions: Sequence[Question] = QUESTIONS
) -> Mapping[Question, Verdict]:
    """The verdict on each question, all of them corrected together.

    Args:
        answer: the scores that are compared.
        sds: true noise of each cell; used where there are fewer than three scores.
        questions: that make one family.
    """
    looks = [_look(answer, sds, question) for question in questions]
    decisions = decide_family([member for member, _ in looks])
    return {
        question: verdict_of(decision, lead)
        for question, decision, (_, lead) in zip(questions, decisions, looks, strict=True)
    }


def verdict_of(decision: FamilyDecision, lead: float) -> Verdict:
    """The verdict that a decision of the family means for a measured lead."""
    if decision.rejects_far:
        return Verdict.EQUIVALENT
    if not decision.rejects_zero:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPPORTED if lead > 0.0 else Verdict.CONTRADICTED


def p_of_margin(effect: Estimate) -> float:
    """p of "the two differ by the margin or more": the larger of its two sides."""
    sides = (p_not_below(effect, MARGIN), p_not_above(effect, MARGIN))
    return max(p for p in sides if p is not None)


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
        planted_cell = (question.regime, arm, question.length)
        if planted_cell not in answer.winners:
            return 0.0
        true = surface.arms[question.regime, arm].true_ap(
            answer.winners[planted_cell].rate, question.length
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


def _look(
    answer: Answer, sds: Mapping[Cell, float], question: Question
) -> tuple[FamilyMember, float]:
    """What the family needs to know of a comparison, and the lead; nothing without scores."""
    cells = [(question.regime, arm) for arm in (question.arm, ARMS[0])]
    scores = [answer.scores(cell, question.length) for cell in cells]
    if not all(scores):
        return FamilyMember(), 0.0
    effect = contrast(((1.0, scores[0]), (-1.0, scores[1])))
    assert effect is not None, "both sides have scores"
    if effect.se is None:
        variance = sum(sds[cell] ** 2 / len(few) for cell, few in zip(cells, scores, strict=True))
        effect = replace(effect, se=math.sqrt(variance), df=ALL_BUT_CERTAIN_DF)
    assert effect.p_value is not None, "it has a standard error"
    member = FamilyMember(
        p_zero=effect.p_value,
        p_far=p_of_margin(effect),
        is_clear=is_clear_of_margin(effect, MARGIN),
    )
    return member, effect.value
