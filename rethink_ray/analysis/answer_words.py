"""The answer of one regime as a paragraph: what to train with, how sure it is, what is open."""

from collections.abc import Iterable, Iterator, Sequence

from rethink_ray.analysis.answer import OpenQuestion, RankedArm, Recommendation, RegimeAnswer
from rethink_ray.analysis.read.prices import time_unit
from rethink_ray.judge.look_stop import LookStop, say_stop
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES
from rethink_ray.judge.verdicts import Finding
from rethink_ray.judge.wording import (
    counted,
    listed,
    metric_name,
    signed,
    span,
    times,
    unit_name,
    value_text,
)
from rethink_ray.spec.number_text import say_number
from rethink_ray.spec.study import Study


def say_regime(study: Study, answer: RegimeAnswer, *, varies: bool) -> tuple[str, ...]:
    """The sentences of the paragraph, the headline first.

    Args:
        study: its margin, metric and splits.
        answer: of one regime; its own words are not read.
        varies: each replicate trains on another draw of the regime's images.
    """
    head = f"{answer.regime} ({counted(answer.num_images, 'image')})"
    chosen = answer.recommended
    if chosen is None:
        return (f"{head}: {_say_nothing(answer)}",)
    return (
        f"{head}: train with {_say_run(chosen)}.",
        *_say_why(study, answer, chosen),
        _say_expected(study, chosen, varies=varies),
        *(one.sentence for one in answer.open),
        *answer.looks,
        *_say_left_out(answer),
    )


def _say_run(chosen: Recommendation) -> str:
    """``pretrained at 6x (360 updates, 14.4 passes over the images), optimizer.lr 0.02``."""
    passes = f", {say_number(chosen.passes)} passes over the images" if chosen.passes else ""
    values = {"optimizer.lr": chosen.rate, **chosen.params}
    tuned = ", ".join(f"{path} {value_text(value)}" for path, value in values.items())
    return f"{chosen.arm} at {times(chosen.length)} ({chosen.updates} updates{passes}), {tuned}"


def _say_why(study: Study, answer: RegimeAnswer, chosen: Recommendation) -> Iterator[str]:
    arm, tied, metric = chosen.arm, answer.tied, metric_name(study)
    outside = [a for a in answer.arms if a.may_be_best is False]
    match answer.why:
        case "one_arm" if len(answer.arms) > 1:
            yield f"It is the only arm with {MIN_REPLICATES} {unit_name(study)} or more."
        case "one_arm" | "unreplicated":
            yield "It is the study's only arm, so it was compared with none."
        case "alone":
            yield f"It is the best of {len(outside) + 1} arms."
            yield from _say_outside(outside)
        case "no_interval":
            few = f"No arm has {MIN_REPLICATES} {unit_name(study)}, so nothing is shown"
            yield f"{few}: {arm} has the highest mean so far."
        case _:
            none = "neither" if len(tied) == 1 else "none of them"
            yield f"{listed([arm, *tied])} may each be the best: {none} is shown to be worse."
            yield from _say_outside(outside)
            behind = _behind(answer, arm)
            if answer.why == "cheapest":
                within = f"shown to be less than {study.margin:g} {metric} behind the best"
                yield f"{arm} is the cheapest of them, and {within} (at most {behind:.2f})."
            else:
                most = f"; it is at most {behind:.1f} {metric} behind the best of them"
                yield f"{arm} has the highest mean{most if behind >= 0.05 else ''}."


def _say_outside(outside: Sequence[RankedArm]) -> Iterator[str]:
    if outside:
        names = listed([a.arm for a in outside])
        yield f"{names} {_are(outside)} shown to be worse."


def _are(arms: Sequence[RankedArm]) -> str:
    return "is" if len(arms) == 1 else "are"


def _behind(answer: RegimeAnswer, arm: str) -> float:
    return next((a.behind for a in answer.arms if a.arm == arm and a.behind is not None), 0.0)


def _say_expected(study: Study, chosen: Recommendation, *, varies: bool) -> str:
    mean, metric, split = chosen.mean, metric_name(study), study.data.report_split
    if mean is None:
        return (
            "What to expect of it is not known: it has no replicates, and its search trial was "
            "chosen because it scored well."
        )
    over = _say_values(study, mean.nums[0], varies=varies)
    if chosen.expected is None:
        return (
            f"Expect about {mean.value:.1f} {metric} on {split} ({over}: too few for an interval)."
        )
    reasons = [f"the choice among {chosen.num_arms} arms"] if chosen.num_arms > 1 else []
    reasons += ["a stop before the last look"] if chosen.before_last_look else []
    adjusted = f"; the interval allows for {' and for '.join(reasons)}" if reasons else ""
    size = f"{mean.value:.1f} {metric} {span(chosen.expected, sign=False)}"
    return f"Expect {size} on {split} ({over}{adjusted})."


def _say_values(study: Study, num: int, *, varies: bool) -> str:
    """What the mean is taken over."""
    if unit_name(study) == "searches":
        return f"mean of {counted(num, 'search', 'searches')}, each tuned anew"
    draws = ", each on another draw of the images" if varies else ""
    return f"mean of {counted(num, 'fresh replicate')}{draws}"


def say_open(study: Study, regime: str, question: OpenQuestion) -> str:
    """What is not decided between the recommended arm and another, and what would decide it."""
    (chosen, other), metric = question.arms, metric_name(study)
    size = f"{signed(question.lead)} {metric}"
    if question.is_equal:
        within = f"within {study.margin:g} {metric} of each other"
        return f"{chosen} and {other} are shown to be {within} ({size}): choose either."
    head = f"Open: whether {chosen} ends above {other} ({size} so far)"
    unit = f"{unit_name(study)} per arm"
    if question.stop is not None and not question.stop.is_decided:
        return f"{head}; {_say_after_looks(study, question.stop, question.needed)}."
    if question.needed is None:
        return f"{head}; more than 100 {unit} would be needed."
    hours = f", {say_hours(study, question.hours)} more" if question.hours else ""
    return f"{head}; about {question.needed} {unit} would decide{hours}."


def _say_after_looks(study: Study, stop: LookStop, needed: int | None) -> str:
    """Where the looks leave an open question; after the last one, what a new study would need."""
    clause = say_stop(stop, unit_name(study))
    if not stop.is_over:
        return clause
    num = f"about {needed}" if needed else "more than 100"
    return f"{clause}; {num} per arm would"


def say_looks(
    study: Study, findings: Iterable[Finding], regime: str, known: Iterable[OpenQuestion]
) -> Iterator[str]:
    """Where the looks leave each headline of a regime; those that ``known`` names are left out."""
    said = {frozenset(one.arms) for one in known if one.stop and not one.stop.is_decided}
    for finding in findings:
        is_headline = (finding.family, finding.kind, finding.regime) == ("primary", "arms", regime)
        if finding.stop is None or not is_headline or frozenset(finding.arms) in said:
            continue
        (reference, other), stopped = finding.arms, say_stop(finding.stop, unit_name(study))
        at = f"at {times(finding.lengths[-1])}" if len(finding.lengths) == 1 else "at its best"
        if finding.stop.is_decided:
            yield f"The comparison of {other} with {reference} {at} {stopped}."
        else:
            yield f"Whether {other} ends above {reference} {at} is open ({stopped})."


def say_hours(study: Study, hours: float) -> str:
    """``about 2.1 slot-hours``, in the unit that reads well."""
    unit, factor = time_unit(study, hours)
    return f"about {say_number(hours * factor, 2)} {unit}"


def _say_left_out(answer: RegimeAnswer) -> Iterator[str]:
    """The arms that were not compared, and why; of a study's only arm it has been said."""
    for ranked in answer.arms:
        if ranked.why_not and answer.why != "unreplicated":
            yield f"Not compared: {ranked.arm}, because {ranked.why_not}."


def say_why_not_compared(sample: ScoreSample, num_unscored: int) -> str:
    """Why an arm took no part in the comparison, as a clause."""
    if sample.absent:
        return sample.absent
    if num_unscored and not sample.values:
        return "none of its replicates has a score: the split has no object that it counts"
    if not sample.values:
        return "it has no replicates yet"
    return f"it has {len(sample.values)} of the {MIN_REPLICATES} values that an interval needs"


def _say_nothing(answer: RegimeAnswer) -> str:
    """Why nothing is recommended."""
    if any(a.mean for a in answer.arms):
        return "nothing can be recommended, because the method itself ended every replicate."
    if any(a.length is not None for a in answer.arms):
        return (
            "nothing can be recommended yet, because no arm has replicates: of single search "
            "trials the luckiest leads."
        )
    return "nothing can be recommended yet, because no search trial has a score."
