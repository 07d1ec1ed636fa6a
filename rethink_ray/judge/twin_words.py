"""Findings about twins, two arms with the same settings: a sound study cannot tell them apart.

All lengths of all regimes answer one question, whether comparisons here can be trusted, so they are
corrected together (Holm). A test that does not tell twins apart is no proof that they are equal:
the sentence says how far apart the data still allow them to be.
"""

from collections.abc import Iterator, Sequence

from rethink_ray.judge.corrections import null_apart
from rethink_ray.judge.lead_words import evidence_of
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import Question
from rethink_ray.judge.rules import ALPHA
from rethink_ray.judge.step_down import holm
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.judge.wording import counted, metric_name, signed, span, times
from rethink_ray.spec.study import Study

Rung = tuple[Measurement, float]
"""The difference of twins at one length, and its corrected p value."""


def check_twins(
    study: Study, measured: Sequence[tuple[Question, tuple[Measurement, ...]]]
) -> Iterator[Finding]:
    """One finding per regime and pair of twins that share a length."""
    alone = {
        null_apart(m.difference): m.effect.p_value
        for _, rungs in measured
        for m in rungs
        if m.effect and m.effect.p_value is not None
    }
    corrected = dict(zip(alone, holm(list(alone.values())), strict=True))
    for question, rungs in measured:
        known = [
            (m, p) for m in rungs if (p := corrected.get(null_apart(m.difference))) is not None
        ]
        if rungs:
            yield _state_twins(study, question, rungs, known, len(corrected))


def _state_twins(
    study: Study,
    question: Question,
    rungs: Sequence[Measurement],
    tested: Sequence[Rung],
    num: int,
) -> Finding:
    first, second = question.arms
    head = f"On {question.regime}, {first} and {second}, one contender under two names,"
    return Finding(
        key=f"{question.regime}/{second}-is-{first}",
        kind="same",
        family=question.family,
        regime=question.regime,
        arms=question.arms,
        lengths=tuple(m.comparison.lengths[0] for m in rungs),
        claim=f"on {question.regime}, {first} and {second} cannot be told apart",
        sentence=f"{head} {_say_verdict(study, tested, num)}.",
        verdict=_verdict(tested),
        p_adjusted=min((p for _, p in tested), default=None),
        evidence=tuple(t for m, _ in tested for t in evidence_of(m, against_first=True)),
        effect=rungs[-1].effect,
    )


def _verdict(tested: Sequence[Rung]) -> Verdict:
    if not tested:
        return Verdict.NOT_TESTED
    is_apart = any(p < ALPHA for _, p in tested)
    return Verdict.CONTRADICTED if is_apart else Verdict.SUPPORTED


def _say_verdict(study: Study, tested: Sequence[Rung], num: int) -> str:
    if not tested:
        return "have no replicates to be told apart by"
    apart = [_at(m) for m, p in tested if p < ALPHA]
    if apart:
        return f"ARE told apart at {', '.join(apart)}: distrust every other comparison here"
    measured, p = min(tested, key=lambda rung: rung[1])
    assert measured.effect is not None, "it was tested"
    size = (
        f"{signed(measured.effect.value)} {metric_name(study)} {span(measured.effect.interval())}"
    )
    least = f"{size} at {_at(measured)}, p {p:.2f} corrected for {num} comparisons"
    head = f"are not told apart at {counted(len(tested), 'rung')}: the least alike are {least}"
    return f"{head}{_say_still_allowed(study, [m for m, _ in tested])}"


def _say_still_allowed(study: Study, rungs: Sequence[Measurement]) -> str:
    """How far apart twins may truly be."""
    ends = [
        (max(abs(end) for end in interval), measured.comparison.lengths[0])
        for measured in rungs
        if measured.effect and (interval := measured.effect.interval())
    ]
    if not ends:
        return ""
    most, length = max(ends)
    at = f"by up to {most:.1f} {metric_name(study)} ({times(length)})"
    return f"; the data still allow them to be apart {at}"


def _at(measured: Measurement) -> str:
    return times(measured.comparison.lengths[0])
