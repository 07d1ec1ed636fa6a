"""Findings about catching up: from which length on the reference is not behind any more."""

from rethink_ray.judge.lead_words import evidence_of, say_what_decides, say_why_untested
from rethink_ray.judge.measurements import turn_round
from rethink_ray.judge.questions import JudgedQuestion
from rethink_ray.judge.verdicts import Finding, Verdict
from rethink_ray.judge.wording import counted, metric_name, times
from rethink_ray.spec.study import Study


def state_catch_up(study: Study, answer: JudgedQuestion) -> Finding:
    """``scratch catches up with pretrained by 6x``, and between which lengths it does."""
    question, decision, measured = answer.question, answer.decision, answer.measured
    reference, other = question.arms
    lengths = measured.comparison.lengths
    last = times(lengths[-1])
    return Finding(
        key=f"{question.regime}/{reference}-catches-{other}",
        kind="catch_up",
        family=question.family,
        regime=question.regime,
        arms=question.arms,
        lengths=lengths,
        claim=f"on {question.regime}, {reference} catches up with {other} by {last}",
        sentence=_sentence(study, answer) + _remark(study, answer),
        verdict=decision.verdict,
        p_adjusted=decision.p,
        needed=decision.needed,
        bracket=decision.bracket,
        evidence=evidence_of(measured, against_first=False),
        effect=turn_round(measured.effect),
    )


def _sentence(study: Study, answer: JudgedQuestion) -> str:
    (reference, other), decision = answer.question.arms, answer.decision
    lengths = answer.measured.comparison.lengths
    (behind, caught), last = decision.bracket or (None, None), times(lengths[-1])
    margin = f"{study.margin:g} {metric_name(study)}"
    head = f"On {answer.question.regime}, {reference}"
    if decision.verdict is Verdict.NOT_TESTED:
        why = say_why_untested(answer.measured, against_first=False)
        return f"{head} catching up with {other} is not tested: {why}."
    ahead = f", and ahead at {last}" if decision.facts.is_ahead else ""
    if caught == lengths[0]:
        tail = f"less than {margin} behind {other} at every rung{ahead}"
        return f"{head} has nothing to catch up: {tail}."
    if caught is not None and behind is not None:
        since = f"less than {margin} behind from {times(caught)} on{ahead}"
        tail = f"behind up to {times(behind)}, {since}"
        return (
            f"{head} catches up with {other} between {times(behind)} and {times(caught)}: {tail}."
        )
    if caught is not None:
        tail = f"less than {margin} behind from there on{ahead}; the shorter lengths are undecided"
        return f"{head} has caught up with {other} by {times(caught)}: {tail}."
    if decision.verdict is Verdict.CONTRADICTED:
        return f"{head} has not caught up with {other} by {last}: it is still behind there."
    # the test starts at the longest rung: of those before it, nothing is said
    since = f"behind up to {times(behind)}, " if behind is not None else ""
    needed = say_what_decides(study, decision.needed, answer.measured.stop)
    return (
        f"{head} catching up with {other} by {last} is undecided: {since}open at {last}; {needed}."
    )


def _remark(study: Study, answer: JudgedQuestion) -> str:
    """Why the verdict differs from the headline at the last length; empty if that is plain."""
    decision, last = answer.decision, times(answer.measured.comparison.lengths[-1])
    num = counted(decision.num_corrected, "headline comparison")
    if decision.is_difference_corrected_away:
        return f" At {last} the two are apart by themselves, but not after correcting for {num}."
    if decision.verdict is Verdict.SUPPORTED:
        return ""
    if decision.verdict_alone is Verdict.SUPPORTED:
        return f" By itself it has caught up, but not after correcting for {num}."
    if decision.verdict is Verdict.INCONCLUSIVE and decision.facts.is_inside:
        return (
            f" At {last} the two are within {study.margin:g} {metric_name(study)} of each other "
            "at the 5 % of an equivalence, but not yet at the 2.5 % of a catch-up."
        )
    return ""
