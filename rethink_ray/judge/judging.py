"""Judges a study: ``judge_study`` turns its samples into findings.

    samples = ...                                     # ScoreSample, from a study's tables
    judged = judge_study(study, samples)
    judged.findings[0].sentence
    # 'On full, pretrained ends above scratch at 6x: +10.0 AP [+7.7, +12.3].'

Headlines and primary claims are corrected together, and so are the secondary comparisons (pairs of
arms without the reference) among themselves. Any other finding that tests one of their null
hypotheses uses the corrected p too, so that no report calls one difference both open and decided.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rethink_ray.judge.catch_up_words import state_catch_up
from rethink_ray.judge.claims import MeasuredClaim, judge_own_claims
from rethink_ray.judge.corrections import (
    UNCORRECTED,
    Corrections,
    add_secondary,
    correct_together,
)
from rethink_ray.judge.decisions import decide
from rethink_ray.judge.lead_words import state_lead
from rethink_ray.judge.length_words import state_length
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import JudgedQuestion, Question, ask_about_arms, ask_about_lengths
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.twin_words import check_twins
from rethink_ray.judge.verdicts import Caveat, Finding
from rethink_ray.protocol.cell_rules import may_end_early
from rethink_ray.spec.study import Study

STATE = {"arms": state_lead, "catch_up": state_catch_up, "length": state_length}
"""Kind of a question -> function that words its answer as a finding."""
Measured = tuple[Question, tuple[Measurement, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The findings of a study, and the corrected p values that later tests of it must use."""

    findings: tuple[Finding, ...]
    """Headlines, primary claims, secondary ones, checks, then the descriptive ones."""
    corrections: Corrections = UNCORRECTED


def judge_study(
    study: Study, samples: Iterable[ScoreSample], own_claims: Sequence[MeasuredClaim] = ()
) -> Judged:
    """The findings of a study.

    Args:
        study: its margin, metric, arms and regimes.
        samples: scores of its objective, one sample per arm, regime and length; twins too.
        own_claims: the measured claims of the study file.
    """
    known = list(samples)
    questions = (*ask_about_arms(study), *ask_about_lengths(study, known))
    return judge_questions(study, questions, known, own_claims)


def judge_questions(
    study: Study,
    questions: Iterable[Question],
    samples: Sequence[ScoreSample],
    own_claims: Sequence[MeasuredClaim] = (),
) -> Judged:
    """As ``judge_study``, with given questions: simulations judge many studies of one design."""
    measured = [(question, question.measure(samples, study.margin)) for question in questions]
    headlines = [(q, rungs) for q, rungs in measured if q.family == "primary"]
    family = [rung for _, rungs in headlines for rung in rungs]
    primary_claims = [one for claim in own_claims for one in claim.primary]
    secondary = [(q, rungs) for q, rungs in measured if q.family == "secondary"]
    corrections = add_secondary(
        correct_together([*family, *primary_claims]), [m for _, rungs in secondary for m in rungs]
    )
    declared = judge_own_claims(study, own_claims, corrections)
    descriptive = [(q, rungs) for q, rungs in measured if q.family == "descriptive"]
    catch_ups = [(q, rungs) for q, rungs in descriptive if q.kind == "catch_up"]
    lengths = [(q, rungs) for q, rungs in descriptive if q.kind == "length"]
    others = [_without_headline(q, rungs, study) for q, rungs in descriptive if q.kind == "arms"]
    findings = [
        *_answer(study, headlines, corrections),
        *(finding for finding in declared if finding.family == "primary"),
        *_answer(study, secondary, corrections),
        *check_twins(study, [(q, rungs) for q, rungs in measured if q.kind == "same"]),
        *(finding for finding in declared if finding.family != "primary"),
        *_answer(study, catch_ups, corrections),
        *_answer(study, lengths, corrections),
        *_answer(study, others, corrections),
    ]
    return Judged(findings=tuple(findings), corrections=corrections)


def _answer(
    study: Study, measured: Iterable[Measured], corrections: Corrections
) -> Iterable[Finding]:
    for question, rungs in measured:
        for rung in rungs:
            decision = decide(rung, corrections)
            answer = JudgedQuestion(question=question, measured=rung, decision=decision)
            yield STATE[question.kind](study, answer)


def _without_headline(question: Question, rungs: tuple[Measurement, ...], study: Study) -> Measured:
    """A question with its lengths from long to short, without the one that the headline tests."""
    return question, (rungs if may_end_early(study) else rungs[:-1])[::-1]


def attach_caveats(findings: Iterable[Finding], caveats: Sequence[Caveat]) -> tuple[Finding, ...]:
    """Each finding names the caveats that are about it."""
    return tuple(
        replace(f, caveats=tuple(c.key for c in caveats if c.touches(f))) for f in findings
    )
