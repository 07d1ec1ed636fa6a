"""What this program's findings say today of an answer with fixed replicates.

They correct differences for the family, but not equalities: an arm may be called equal at 5 % each
time. The one rule of this benchmark corrects both, so these verdicts stand in rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from rethink_ray.judge.corrections import correct_together
from rethink_ray.judge.decisions import decide
from rethink_ray.judge.matching import Comparison, MatchedPair
from rethink_ray.judge.measurements import Measurement, measure
from rethink_ray.judge.questions import ask_rungs
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import Claim
from verdicts.answers import Answer
from verdicts.one_rule import LONGEST_QUESTIONS
from verdicts.program import build_study
from verdicts.surfaces import ARMS, MARGIN, QUESTIONS, Question

FINDINGS = "the same, as findings say today"


def answer_as_findings(answer: Answer) -> Answer:
    """An answer with fixed replicates, with the verdicts of today's findings."""
    return replace(
        answer,
        policy=FINDINGS,
        verdicts=judge_as_findings(answer, QUESTIONS),
        verdicts_longest=judge_as_findings(answer, LONGEST_QUESTIONS),
    )


def judge_as_findings(answer: Answer, questions: Sequence[Question]) -> Mapping[Question, Verdict]:
    """The verdict on each question, as primary comparisons of one study."""
    measured = {question: _measure(answer, question) for question in questions}
    corrections = correct_together(list(measured.values()))
    return {question: decide(one, corrections).verdict for question, one in measured.items()}


def _measure(answer: Answer, question: Question) -> Measurement:
    side, against = (_sample(answer, question, arm) for arm in (question.arm, ARMS[0]))
    pair = MatchedPair(weight=1.0, label="", side=side, against=against)
    comparison = Comparison(labels={"regime": question.regime}, matched_pairs=(pair,))
    return measure(_claim(question), comparison, MARGIN)


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
