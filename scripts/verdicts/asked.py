"""The twelve questions, as a study of this program asks them, and the verdicts that it gives.

At 6x a question is a headline of the study. At 2x and 4x it is a claim of the study file that is
``primary``. So one family of twelve is corrected together, by the functions that print findings.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rethink_ray.judge.claims import measure_claims
from rethink_ray.judge.judging import judge_questions
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import ask_about_arms
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Verdict
from rethink_ray.spec.claim import about
from rethink_ray.spec.study import Study
from verdicts.surfaces import ARMS, LENGTHS, QUESTIONS, Question


def declare_claims(questions: Iterable[Question] = QUESTIONS) -> dict[str, dict[str, Any]]:
    """The claims of a study file that ask what no headline asks: the lengths below the longest."""
    return {
        f"{question.arm}_{question.regime}_{question.length:g}x": {
            "says": f"on {question.regime}, {question.arm} ends above {ARMS[0]}",
            "side": {"arm": question.arm},
            "against": {"arm": ARMS[0]},
            "where": {"regime": question.regime, "schedule": f"{question.length:g}x"},
            "primary": True,
        }
        for question in questions
        if question.length < max(LENGTHS)
    }


def judge_fixed(study: Study, samples: Sequence[ScoreSample]) -> Mapping[Question, Verdict]:
    """The verdicts of the findings of a study with a plain number of replicates.

    Args:
        study: with or without the claims of ``declare_claims``.
        samples: with the replicates that there are.
    """
    headlines = [q for q in ask_about_arms(study) if q.family == "primary"]
    declared = about(study.objective.metric, study.claims)
    claims = measure_claims(declared, samples, study.margin)
    judged = judge_questions(study, headlines, samples, claims)
    return {
        Question(regime=f.regime, arm=f.arms[1], length=f.lengths[-1]): f.verdict
        for f in judged.findings
        if f.family == "primary"
    }


def question_of(measured: Measurement) -> Question:
    """The question that a primary comparison of a study answers."""
    side = measured.comparison.matched_pairs[-1].side
    assert side.length is not None, "every schedule here has a length"
    return Question(regime=side.regime, arm=side.arm, length=side.length)
