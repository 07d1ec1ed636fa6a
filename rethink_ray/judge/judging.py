"""Judges a study: ``judge_study`` turns its samples into findings.

    samples = ...                                     # ScoreSample, from a study's tables
    judged = judge_study(study, samples)
    judged.findings[0].sentence
    # 'On full, pretrained ends above scratch at 6x: +10.0 AP [+7.7, +12.3].'

Headlines and primary claims are corrected together, and so are the secondary comparisons (pairs of
arms without the reference) among themselves. Any other finding that tests one of their null
hypotheses uses the corrected p too, so that no report calls one difference both open and decided.

In a study that stops when it has decided, headlines and primary claims are judged at its looks
(``looks``), and are frozen there. All other findings are about the replicates that there are.
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
from rethink_ray.judge.look_tests import PrimaryComparison
from rethink_ray.judge.looks import LookDecisions, name_claim, name_headline
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import JudgedQuestion, Question, ask_about_arms, ask_about_lengths
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.twin_words import check_twins
from rethink_ray.judge.verdicts import Caveat, Finding, FindingFamily
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
    study: Study,
    samples: Iterable[ScoreSample],
    own_claims: Sequence[MeasuredClaim] = (),
    looks: LookDecisions | None = None,
) -> Judged:
    """The findings of a study.

    Args:
        study: its margin, metric, arms and regimes.
        samples: scores of its objective, one sample per arm, regime and length; twins too.
        own_claims: the measured claims of the study file.
        looks: taken so far (``take_look``); None: the study has a plain number of replicates.
    """
    known = list(samples)
    questions = (*ask_about_arms(study), *ask_about_lengths(study, known))
    return judge_questions(study, questions, known, own_claims, looks)


def judge_questions(
    study: Study,
    questions: Iterable[Question],
    samples: Sequence[ScoreSample],
    own_claims: Sequence[MeasuredClaim] = (),
    looks: LookDecisions | None = None,
) -> Judged:
    """As ``judge_study``, with given questions: simulations judge many studies of one design."""
    measured = [(question, question.measure(samples, study.margin)) for question in questions]
    headlines = [(q, rungs) for q, rungs in measured if q.family == "primary"]
    if looks is None:
        primary_claims = [one for claim in own_claims for one in claim.primary]
        family = [rung for _, rungs in headlines for rung in rungs]
        primary = correct_together([*family, *primary_claims])
    else:
        known = looks.with_all(_list_primary(headlines, own_claims))
        primary = known.corrections
        headlines = _freeze_headlines(known, headlines)
        own_claims = _freeze_claims(known, own_claims)
    secondary = _select(measured, "secondary", primary)
    corrections = add_secondary(primary, [m for _, rungs in secondary for m in rungs])
    declared = judge_own_claims(study, own_claims, corrections)
    descriptive = _select(measured, "descriptive", primary)
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


def _select(
    measured: Iterable[Measured], family: FindingFamily, corrections: Corrections
) -> list[Measured]:
    """The questions of one family; primary differences among them have the numbers of the looks."""
    return [
        (question, tuple(corrections.freeze(rung) for rung in rungs))
        for question, rungs in measured
        if question.family == family
    ]


def _list_primary(
    headlines: Iterable[Measured], claims: Iterable[MeasuredClaim]
) -> tuple[PrimaryComparison, ...]:
    """The primary comparisons with all replicates that there are, as ``looks`` names them."""
    of_headlines = (
        PrimaryComparison(key=name_headline(question, index), measured=rung)
        for question, rungs in headlines
        for index, rung in enumerate(rungs)
    )
    of_claims = (
        PrimaryComparison(key=name_claim(claim.name, index), measured=one)
        for claim in claims
        for index, one in enumerate(claim.primary)
    )
    return (*of_headlines, *of_claims)


def _freeze_headlines(looks: LookDecisions, headlines: Iterable[Measured]) -> list[Measured]:
    """The headlines with the numbers of the looks that stopped them."""
    return [
        (q, tuple(looks.freeze(name_headline(q, i), rung) for i, rung in enumerate(rungs)))
        for q, rungs in headlines
    ]


def _freeze_claims(
    looks: LookDecisions, claims: Iterable[MeasuredClaim]
) -> tuple[MeasuredClaim, ...]:
    """The claims; primary ones with the numbers of the looks that stopped them."""
    return tuple(
        replace(
            claim,
            measured=tuple(
                looks.freeze(name_claim(claim.name, index), one)
                for index, one in enumerate(claim.measured)
            ),
        )
        if claim.is_primary
        else claim
        for claim in claims
    )


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
