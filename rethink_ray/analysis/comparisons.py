"""Findings about two arms: does the other one end ahead, and does the reference catch up.

The comparison at the longest shared rung is a headline; headlines of all regimes are corrected
together (Holm), each declared one counted whether or not it could be tested. The other rungs, and
catch-up, are descriptive.
"""

from collections.abc import Sequence
from dataclasses import replace

from rethink_ray.analysis.pairs import Pair, PairAt
from rethink_ray.analysis.read.curves import CellResult
from rethink_ray.judge.crossover import Bracket, catch_up
from rethink_ray.judge.statistics import (
    EQUIVALENCE_LEVEL,
    LEVEL,
    MIN_REPLICATES,
    Estimate,
    holm,
    replicates_needed,
)
from rethink_ray.judge.verdicts import ALPHA, Family, Finding, Verdict, judge
from rethink_ray.judge.wording import counted, metric_name, signed, span, times, unit_name
from rethink_ray.spec.study import Study


def primary_p_values(pairs: Sequence[Pair], also: Sequence[float | None] = ()) -> list[float]:
    """Holm's p value of each headline, and of other primary comparisons, corrected together.

    What could not be tested counts all the same, with p = 1.
    """
    headlines = [headline for pair in pairs if (headline := pair.headline)]
    raw = [rung.lead.p_value if rung.lead else None for rung in headlines]
    return holm([1.0 if p is None else p for p in (*raw, *also)])


def arm_findings(
    study: Study, pairs: Sequence[Pair], adjusted: Sequence[float] | None = None
) -> list[Finding]:
    """One headline per pair, then every other shared rung of it.

    Args:
        study: the study.
        pairs: what is compared.
        adjusted: p values of the whole family, the pairs' own first; None: they are the family.
    """
    headlines = [headline for pair in pairs if (headline := pair.headline)]
    family = primary_p_values(pairs) if adjusted is None else adjusted
    found = []
    own = family[: len(headlines)]
    for pair, headline, p in zip((p for p in pairs if p.headline), headlines, own, strict=True):
        found.append(_arm_finding(study, pair, headline, "primary", p, len(family)))
        for rung in reversed([rung for rung in pair.rungs if rung is not headline]):
            plain = rung.lead.p_value if rung.lead else None
            found.append(_arm_finding(study, pair, rung, "descriptive", plain, 1))
    return found


def _arm_finding(
    study: Study, pair: Pair, rung: PairAt, family: Family, p: float | None, num: int
) -> Finding:
    lead = rung.lead
    raw = lead.p_value if lead else None
    adjusted = None if raw is None else p
    verdict = judge(lead, adjusted, study.margin)
    factor = adjusted / raw if adjusted and raw else float(num)
    needed = needed_for(study, rung, verdict, max(1.0, factor))
    reference, other = pair.names
    where = f"on {pair.regime} {_at(pair, rung)}"
    pays = pair.reference.source == "random" and pair.other.source != "random"
    pays = pays and pair.start_alone
    prefix = f"pre-training pays {where}: " if pays else f"{where}, "
    return Finding(
        key=f"{pair.regime}/{other}-vs-{reference}@{'best' if rung.best else times(rung.length)}",
        kind="arms",
        family=family,
        regime=pair.regime,
        arms=(reference, other),
        lengths=rung.best or (rung.length,),
        claim=f"{prefix}{other} ends above {reference}",
        sentence=_arm_sentence(study, pair, rung, verdict, needed, num),
        verdict=verdict,
        p_adjusted=adjusted,
        needed=needed,
        evidence=rung.evidence,
        effect=lead,
    )


def _at(pair: Pair, rung: PairAt) -> str:
    """``at 6x``, or both lengths where each arm is judged at its best."""
    if rung.best is None:
        return f"at {times(rung.length)}"
    ends = zip(pair.names, rung.best, strict=True)
    return f"at their best lengths ({', '.join(f'{arm} {times(n)}' for arm, n in ends)})"


def needed_for(
    study: Study,
    rung: PairAt,
    verdict: Verdict,
    factor: float,
    not_behind: float | None = None,
) -> int | None:
    """Replicates per arm that would decide; None where decided, or if above the cap."""
    if rung.lead is None or verdict is not Verdict.INCONCLUSIVE:
        return None
    if rung.lead.se is None:
        return MIN_REPLICATES
    return replicates_needed(
        rung.lead.value,
        rung.sds,
        study.margin,
        more_than=max(rung.lead.nums),
        level=1.0 - ALPHA / (factor * rung.lead.looks),
        not_behind=not_behind,
    )


def needed_words(needed: int | None, noun: str) -> str:
    """``about 14 replicates per arm``."""
    return f"about {needed} {noun}" if needed else f"more than 100 {noun}"


def _arm_sentence(
    study: Study, pair: Pair, rung: PairAt, verdict: Verdict, needed: int | None, num: int
) -> str:
    (reference, other), lead, metric = pair.names, rung.lead, metric_name(study)
    on, at = f"On {pair.regime}", _at(pair, rung)
    if lead is None:
        why = _why_untested(pair, rung)
        return f"{on}, {other} is not compared with {reference} {at}: {why}."
    size = f"{signed(lead.value)} {metric} {span(lead.interval())}".rstrip()
    match verdict:
        case Verdict.SUPPORTED:
            return f"{on}, {other} ends above {reference} {at}: {size}."
        case Verdict.CONTRADICTED:
            return f"{on}, {other} ends below {reference} {at}: {size}."
        case Verdict.EQUIVALENT:
            inner = f"{signed(lead.value)} {metric}, 90 % {span(lead.interval(EQUIVALENCE_LEVEL))}"
            within = f"within {study.margin:g} {metric} of each other"
            return f"{on}, {other} and {reference} end {within} {at}: {inner}."
    return (
        f"{on}, whether {other} ends above {reference} {at} is open: {size}"
        + f"; {_why_open(study, lead, num)}{needed_words(needed, _per_arm(study))} would decide."
    )


def _per_arm(study: Study) -> str:
    return f"{unit_name(study)} per arm"


def _why_open(study: Study, lead: Estimate, num: int) -> str:
    if lead.se is None:
        of_what = " searches" if study.budget.searches > 1 else ""
        return f"with {lead.nums[0]} and {lead.nums[1]}{of_what} there is no interval; "
    found = lead.interval()
    if found and (found[0] > 0.0 or found[1] < 0.0):
        return f"zero is left out, but no longer after correcting for {num} headline comparisons; "
    return ""


def _why_untested(pair: Pair, rung: PairAt) -> str:
    ends = rung.best or (rung.length, rung.length)
    for result, point, length in (
        (pair.reference, rung.reference, ends[0]),
        (pair.other, rung.other, ends[1]),
    ):
        if point is None:
            return no_incumbent(result, length)
    assert rung.reference is not None
    assert rung.other is not None
    nums = (len(rung.reference.values), len(rung.other.values))
    if min(nums) == 0:
        return f"no replicates yet ({nums[0]} of {pair.names[0]}, {nums[1]} of {pair.names[1]})"
    return "the method ended every replicate of both"


def no_incumbent(result: CellResult, length: float) -> str:
    """Why a cell has no best configuration at a length."""
    ended = {state: n for state, n in result.states.items() if state not in ("waiting", "done")}
    shown = ", ".join(f"{n} {state}" for state, n in ended.items())
    total = sum(result.states.values())
    tail = f" ({counted(total, 'trial')}: {shown})" if shown else ""
    return f"no trial of {result.arm} has finished {times(length)}{tail}"


def twin_findings(study: Study, pairs: Sequence[Pair]) -> list[Finding]:
    """The A/A checks: one contender under two names must not be told apart at any rung.

    They ask one question, whether the instrument can be trusted, so all rungs of all regimes are
    corrected together.
    """
    raw = [
        [(r, p) for r in pair.rungs if r.lead and (p := r.lead.p_value) is not None]
        for pair in pairs
    ]
    corrected = holm([p for rungs in raw for _, p in rungs])
    next_one = iter(corrected)
    return [
        _twin_finding(study, pair, [(rung, next(next_one)) for rung, _ in rungs], len(corrected))
        for pair, rungs in zip(pairs, raw, strict=True)
    ]


def _twin_finding(
    study: Study, pair: Pair, tested: Sequence[tuple[PairAt, float]], num: int
) -> Finding:
    reference, other = pair.names
    head = f"On {pair.regime}, {reference} and {other}, one contender under two names,"
    apart = [times(rung.length) for rung, p in tested if p < ALPHA]
    if not tested:
        verdict, told = Verdict.NOT_TESTED, "have no replicates to be told apart by"
    elif apart:
        verdict = Verdict.CONTRADICTED
        told = f"ARE told apart at {', '.join(apart)}: distrust every other comparison here"
    else:
        verdict = Verdict.SUPPORTED
        told = _not_apart(study, tested, num)
    return Finding(
        key=f"{pair.regime}/{other}-is-{reference}",
        kind="same",
        family="check",
        regime=pair.regime,
        arms=(reference, other),
        lengths=tuple(r.length for r in pair.rungs),
        claim=f"on {pair.regime}, {reference} and {other} cannot be told apart",
        sentence=f"{head} {told}.",
        verdict=verdict,
        p_adjusted=min((p for _, p in tested), default=None),
        evidence=tuple(t for r, _ in tested for t in r.evidence),
        effect=pair.rungs[-1].lead if pair.rungs else None,
    )


def _not_apart(study: Study, tested: Sequence[tuple[PairAt, float]], num: int) -> str:
    rung, p = min(tested, key=lambda pair: pair[1])
    assert rung.lead is not None
    found = f"{signed(rung.lead.value)} {metric_name(study)} {span(rung.lead.interval())}"
    told = f"are not told apart at {counted(len(tested), 'rung')}: the least alike are "
    least = f"{found} at {times(rung.length)}, p {p:.2f} corrected for {num} comparisons"
    return f"{told}{least}{_still_allowed(study, [rung for rung, _ in tested])}"


def _still_allowed(study: Study, rungs: Sequence[PairAt]) -> str:
    """How far apart twins may truly be: what was not found is not shown to be absent."""
    ends = [
        (max(abs(end) for end in found), rung.length)
        for rung in rungs
        if rung.lead and (found := rung.lead.interval())
    ]
    if not ends:
        return ""
    most, length = max(ends)
    at = f"by up to {most:.1f} {metric_name(study)} ({times(length)})"
    return f"; the data still allow them to be apart {at}"


def catch_up_finding(study: Study, pair: Pair) -> Finding | None:
    """From which length on the reference has caught up with the other arm; None on one rung."""
    if len(pair.rungs) < 2:
        return None
    nothing = Estimate(value=0.0, se=None, df=None, nums=(0, 0))
    bracket = catch_up([(r.length, r.lead or nothing) for r in pair.rungs], study.margin)
    last = pair.rungs[-1]
    verdict = _catch_up_verdict(pair, bracket)
    needed = needed_for(study, last, verdict, 1.0, not_behind=LEVEL)
    reference, other = pair.names
    return Finding(
        key=f"{pair.regime}/{reference}-catches-{other}",
        kind="catch_up",
        family="descriptive",
        regime=pair.regime,
        arms=(reference, other),
        lengths=tuple(r.length for r in pair.rungs),
        claim=f"on {pair.regime}, {reference} catches up with {other} by {times(last.length)}",
        sentence=_catch_up_sentence(study, pair, bracket, verdict, needed),
        verdict=verdict,
        needed=needed,
        bracket=(bracket.behind_up_to, bracket.caught_up_from),
        evidence=tuple(dict.fromkeys(t for r in pair.rungs for t in r.evidence)),
        effect=last.lead,
    )


def beside_headline(found: Finding, headlines: Sequence[Finding], num: int) -> Finding:
    """A catch-up finding that says so where its headline, the same difference, is open only for
    being one of ``num``: two findings of one number must not read as if they disagreed."""
    headline = next(
        (h for h in headlines if (h.regime, h.arms) == (found.regime, found.arms)), None
    )
    interval = headline.interval if headline else None
    if headline is None or interval is None or headline.verdict is not Verdict.INCONCLUSIVE:
        return found
    if interval[0] <= 0.0 <= interval[1] or found.verdict is Verdict.INCONCLUSIVE:
        return found
    if headline.lengths != found.lengths[-1:]:  # each arm at its best: another difference
        return found
    told = (
        f"{found.sentence} At {times(headline.lengths[0])} the two are apart by themselves, but "
        f"not after correcting for {counted(num, 'headline comparison')}."
    )
    return replace(found, sentence=told)


def _catch_up_verdict(pair: Pair, bracket: Bracket) -> Verdict:
    lead = pair.rungs[-1].lead
    if lead is None:
        return Verdict.NOT_TESTED
    if bracket.caught_up_from is not None:
        return Verdict.SUPPORTED
    found = lead.interval()
    return Verdict.CONTRADICTED if found and found[0] > 0.0 else Verdict.INCONCLUSIVE


def _catch_up_sentence(
    study: Study, pair: Pair, bracket: Bracket, verdict: Verdict, needed: int | None
) -> str:
    reference, other = pair.names
    behind, caught, last = bracket.behind_up_to, bracket.caught_up_from, pair.rungs[-1].length
    margin = f"{study.margin:g} {metric_name(study)}"
    head, ahead = f"On {pair.regime}, {reference}", _ahead_at_last(pair)
    if verdict is Verdict.NOT_TESTED:
        return (
            f"{head} catching up with {other} is not tested: {_why_untested(pair, pair.rungs[-1])}."
        )
    if caught is not None and caught == pair.rungs[0].length:
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
    if verdict is Verdict.CONTRADICTED:
        return f"{head} has not caught up with {other} by {times(last)}: it is still behind there."
    # the test starts at the longest rung: of those before it, nothing is said
    since = f"behind up to {times(behind)}, " if behind is not None else ""
    return (
        f"{head} catching up with {other} by {times(last)} is undecided: {since}open there; "
        f"{needed_words(needed, _per_arm(study))} would decide."
    )


def _ahead_at_last(pair: Pair) -> str:
    """A remark where catching up was overtaking."""
    last = pair.rungs[-1]
    found = last.lead.interval() if last.lead else None
    return f", and ahead at {times(last.length)}" if found and found[1] < 0.0 else ""
