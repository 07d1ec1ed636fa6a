"""Claims held against numbers: the same code for a paper's table and for a study's replicates.

Published numbers are single, so they get the verdict *as reported* and no interval, and agree with
a claim by their plain difference. A study's claims are judged as its other findings are.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rethink_ray.judge.arms import START, group_of
from rethink_ray.judge.claim_words import (
    numbers_of,
    ratio_of,
    setting_of,
    told_apart_by,
    whole_sentence,
)
from rethink_ray.judge.crossover import Bracket, catch_up
from rethink_ray.judge.matching import Comparison, MatchedPair, comparisons
from rethink_ray.judge.samples import Sample
from rethink_ray.judge.statistics import (
    EQUIVALENCE_LEVEL,
    MIN_REPLICATES,
    Estimate,
    contrast,
    p_not_below,
    p_within,
    sample_sd,
)
from rethink_ray.judge.statistics import replicates_needed as needed_of
from rethink_ray.judge.verdicts import ALPHA, Family, Finding, Verdict, judge
from rethink_ray.spec.claim import Claim

MARGIN = 0.5
"""AP points that count as equal where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a claim is judged by: numbers of a paper or of a study, and its margin."""

    reported: bool
    margin: float = MARGIN
    unit: str = "replicates"
    """What a sample holds: replicates of one search's best, or searches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutcome:
    """A claim, and every place where it was held against numbers."""

    name: str
    claim: Claim
    findings: tuple[Finding, ...]
    untested: str
    """Why there is no place; empty where there is one."""


def evaluate(
    claims: Mapping[str, Claim], samples: Iterable[Sample], ground: Ground
) -> tuple[ClaimOutcome, ...]:
    """Every claim against every place in ``samples`` where it can be tested, in order."""
    known = list(samples)
    return tuple(_outcome(name, claim, known, ground) for name, claim in claims.items())


def _outcome(name: str, claim: Claim, samples: Sequence[Sample], ground: Ground) -> ClaimOutcome:
    found = comparisons(claim, samples)
    if isinstance(found, str):
        return ClaimOutcome(name=name, claim=claim, findings=(), untested=found)
    columns = told_apart_by(found)
    findings = tuple(_finding(name, claim, c, columns, ground) for c in found)
    return ClaimOutcome(name=name, claim=claim, findings=findings, untested="")


def difference(
    matched_pairs: Iterable[MatchedPair], goal: str = "maximize", scale: str = "points"
) -> Estimate | None:
    """The weighted sum of differences; samples of one configuration pair by seed.

    Which samples pair is fixed by the configurations, never by their scores. On the scale of
    ratios it is natural logarithms that are subtracted; None if one is of nothing.
    """
    sign = 1.0 if goal == "maximize" else -1.0
    by_configuration: dict[str, list[tuple[float, Sample]]] = {}
    looks = 1
    for met in matched_pairs:
        for weight, sample in ((sign, met.side), (-sign, met.against)):
            if sample is not None:
                inside = by_configuration.setdefault(sample.configuration, [])
                inside.append((weight * met.weight, sample))
                looks = max(looks, sample.looks)
    terms: list[tuple[float, list[float]]] = []
    for group in by_configuration.values():
        seeds = [s for s in group[0][1].values if all(s in other.values for _, other in group)]
        if scale == "ratio" and any(sample.values[s] <= 0.0 for _, sample in group for s in seeds):
            return None
        scaled: Callable[[float], float] = math.log if scale == "ratio" else float
        if len(group) == 1:
            terms.append((group[0][0], [scaled(group[0][1].values[s]) for s in seeds]))
        else:
            summed = [sum(w * scaled(sample.values[seed]) for w, sample in group) for seed in seeds]
            terms.append((1.0, summed))
    return contrast(terms, looks)


def _finding(
    name: str, claim: Claim, found: Comparison, columns: Sequence[str], ground: Ground
) -> Finding:
    margin = claim.margin_within(ground.margin)
    chase = claim.expect == "catches_up"
    met = found.matched_pairs[-1:] if chase else found.matched_pairs
    effect = difference(met, claim.goal, claim.scale)
    bracket = _bracket(claim, found, margin, ground) if chase else None
    family: Family = "primary" if claim.primary and not ground.reported else "descriptive"
    agrees = None
    if ground.reported:
        verdict = Verdict.AS_REPORTED
        agrees = _agrees(claim, effect, bracket, margin)
    else:
        verdict = verdict_of(claim, effect, bracket, margin)
    setting = setting_of(found, columns)
    numbers = numbers_of(claim, found, effect, bracket)
    needed = _needed(claim, found, effect, verdict, margin)
    return Finding(
        key=f"claim:{name}[{setting}]",
        kind="claim",
        family=family,
        regime=found.labels.get("regime", ""),
        arms=_arms(found),
        lengths=tuple(dict.fromkeys(m.side.length for m in found.matched_pairs if m.side.length)),
        claim=claim.says,
        sentence=whole_sentence(setting, numbers, verdict, agrees, needed, ground.unit),
        verdict=verdict,
        effect=effect,
        ratio=ratio_of(claim, effect),
        p_adjusted=p_of(claim, effect, margin),
        needed=needed,
        bracket=(bracket.behind_up_to, bracket.caught_up_from) if bracket else None,
        evidence=tuple(dict.fromkeys(e for s in found.samples for e in s.evidence)),
        caveats=tuple(dict.fromkeys((*claim.caveats, *_seen(found)))),
        agrees=agrees,
    )


def _arms(found: Comparison) -> tuple[str, ...]:
    """The arms that met, the one measured against first; empty for published numbers."""
    met = found.matched_pairs[0]
    named = [s.labels.get("arm", frozenset()) for s in (met.against, met.side) if s]
    return tuple(dict.fromkeys(name for names in named for name in names))


def _bracket(claim: Claim, found: Comparison, margin: float, ground: Ground) -> Bracket:
    leads = []
    for met in found.matched_pairs:
        lead = difference([met], "minimize" if claim.goal == "maximize" else "maximize")
        nothing = Estimate(value=0.0, se=None, df=None, nums=(0, 0))
        leads.append((met.side.length or 0.0, lead or nothing))
    if not ground.reported:
        return catch_up(leads, margin)
    behind, caught = None, None
    for length, lead in leads:
        if round(lead.value, 6) <= 0.0:
            break
        behind = length
    for length, lead in reversed(leads):
        if round(lead.value, 6) > 0.0:
            break
        caught = length
    return Bracket(behind_up_to=behind, caught_up_from=caught)


def _agrees(
    claim: Claim, effect: Estimate | None, bracket: Bracket | None, margin: float
) -> bool | None:
    """Whether a plain difference is as the claim says; None where it is inside the margin."""
    if bracket is not None:
        return bracket.caught_up_from is not None
    if effect is None:
        return None
    value = round(effect.value, 6)
    trend_is_flat = claim.along is not None and claim.along.trend == "flat"
    if claim.expect == "equal" or trend_is_flat:
        return abs(value) <= margin
    if claim.expect == "not_below":
        return value >= -margin
    return None if abs(value) <= margin and margin > 0.0 else value > 0.0


def verdict_of(
    claim: Claim, effect: Estimate | None, bracket: Bracket | None, margin: float
) -> Verdict:
    """A study's verdict on a claim; the claim's own p stands for a corrected one."""
    return corrected_verdict(claim, effect, bracket, margin, p_of(claim, effect, margin))


def corrected_verdict(
    claim: Claim,
    effect: Estimate | None,
    bracket: Bracket | None,
    margin: float,
    p_adjusted: float | None,
) -> Verdict:
    """The verdict with a p value that was corrected for a family."""
    if effect is None:
        return Verdict.NOT_TESTED
    found = effect.interval()
    if found is None or p_adjusted is None:
        return Verdict.INCONCLUSIVE
    proven = p_adjusted < ALPHA
    if bracket is not None:
        if bracket.caught_up_from is not None and proven:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if found[1] < 0.0 else Verdict.INCONCLUSIVE
    if claim.expect == "equal" or (claim.along is not None and claim.along.trend == "flat"):
        if proven:
            return Verdict.SUPPORTED
        apart = found[0] > margin or found[1] < -margin
        return Verdict.CONTRADICTED if apart else Verdict.INCONCLUSIVE
    if claim.expect == "not_below":
        if proven:
            return Verdict.SUPPORTED
        return Verdict.CONTRADICTED if found[1] < 0.0 else Verdict.INCONCLUSIVE
    return judge(effect, p_adjusted, margin)


def p_of(claim: Claim, effect: Estimate | None, margin: float) -> float | None:
    """The p value of what the claim expects; None without an interval."""
    if effect is None:
        return None
    if claim.expect == "equal" or (claim.along is not None and claim.along.trend == "flat"):
        return p_within(effect, margin)
    if claim.expect in ("not_below", "catches_up"):
        return p_not_below(effect, margin)
    return effect.p_value


def _needed(
    claim: Claim, found: Comparison, effect: Estimate | None, verdict: Verdict, margin: float
) -> int | None:
    """Replicates a side that would decide a plain difference; None for anything larger."""
    plain = claim.more is None and claim.along is None and claim.scale == "points"
    if verdict is not Verdict.INCONCLUSIVE or effect is None or not plain:
        return None
    met = found.matched_pairs[-1]
    if effect.se is None or met.against is None:
        return MIN_REPLICATES
    sds = (sample_sd(list(met.side.values.values())), sample_sd(list(met.against.values.values())))
    one_sided = claim.expect in ("not_below", "catches_up")
    return needed_of(
        -effect.value if one_sided else effect.value,
        sds,
        margin,
        more_than=max(effect.nums),
        not_behind=EQUIVALENCE_LEVEL if one_sided else None,
    )


def _seen(found: Comparison) -> Iterable[str]:
    """Caveats read off the rows themselves."""
    for sample in found.samples:
        yield from sample.notes
    if found.ambiguous:
        yield "several rows fit one place of this comparison; the first was taken"
    for met in found.matched_pairs:
        if met.against and met.side.recipe and met.against.recipe:
            differ = [
                path
                for path, value in met.side.recipe.items()
                if value != met.against.recipe[path] and group_of(path) not in (START, "")
            ]
            if differ:
                yield f"the two sides differ in {', '.join(differ)} as well"
