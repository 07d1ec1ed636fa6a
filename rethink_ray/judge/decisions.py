"""From a measured difference to a verdict: ``decide`` is the only function that makes one.

First, tests show facts about the difference (``Facts``): the first side is ahead, is behind, is not
behind by the margin, or differs by less than the margin. Then the claim says which of these facts
support it and which contradict it. Facts use one p value for each null hypothesis
(``corrections``), so two verdicts about one difference cannot contradict each other:

- a claim about a margin (not below, equal, catches up) is supported by the test of that margin;
- it is contradicted only if the corrected test against zero shows the other side ahead (a closed
  test).
"""

from dataclasses import dataclass, replace

from rethink_ray.judge.catch_up import Bracket, find_bracket, find_reported_bracket
from rethink_ray.judge.corrections import (
    UNCORRECTED,
    Corrections,
    null_above,
    null_below,
    nulls_of,
)
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.power import count_replicates_needed
from rethink_ray.judge.rules import ALPHA, DecisionRule, rule_of
from rethink_ray.judge.statistics import MIN_REPLICATES, sample_sd
from rethink_ray.judge.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the tests show of one difference. False means not shown, not shown to be wrong."""

    is_ahead: bool
    is_behind: bool
    is_not_below: bool
    """Not behind by the margin or more."""
    is_inside: bool
    """The difference is smaller than the margin, whichever side is ahead."""
    is_beyond: bool
    """The difference is larger than the margin, whichever side is ahead."""
    bracket: Bracket | None
    """Catch-ups only."""

    @property
    def is_apart(self) -> bool:
        """Whether the difference is shown not to be zero."""
        return self.is_ahead or self.is_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one measurement, and everything else that sentences say about it."""

    verdict: Verdict
    facts: Facts
    alone: tuple[Verdict, Facts]
    """Verdict and facts before correction, as if nothing else had been compared."""
    p: float | None = None
    """p of the null that the claim expects to be wrong, corrected if the study corrects it."""
    num_corrected: int = 1
    """How many comparisons were corrected together; 1 if none were."""
    needed: int | None = None
    """Inconclusive verdicts: replicates per side that would decide; None: unknown, or above 100."""
    agrees: bool | None = None
    """Published numbers: whether they are in line with the claim; None: too close to say."""

    @property
    def verdict_alone(self) -> Verdict:
        """The verdict before correction."""
        return self.alone[0]

    @property
    def is_corrected_away(self) -> bool:
        """Whether the verdict was another one before correction."""
        return self.verdict_alone is not self.verdict

    @property
    def is_difference_corrected_away(self) -> bool:
        """Whether the difference is shown not to be zero only before correction."""
        is_left = self.facts.is_apart or self.facts.is_inside
        return self.alone[1].is_apart and not is_left

    @property
    def bracket(self) -> tuple[float | None, float | None] | None:
        """Catch-ups only: (behind up to, caught up from)."""
        bracket = self.facts.bracket
        return (bracket.behind_up_to, bracket.caught_up_from) if bracket else None


def decide(measured: Measurement, corrections: Corrections = UNCORRECTED) -> Judgement:
    """The verdict on a study's measurement."""
    facts, facts_alone = (derive_facts(measured, c) for c in (corrections, corrections.alone))
    verdict = _verdict(measured, facts)
    return Judgement(
        verdict=verdict,
        facts=facts,
        alone=(_verdict(measured, facts_alone), facts_alone),
        p=corrections.p_expected(measured),
        num_corrected=corrections.num_with(measured.difference),
        needed=_needed(measured, corrections) if verdict is Verdict.INCONCLUSIVE else None,
    )


def decide_reported(measured: Measurement) -> Judgement:
    """The plain comparison of published numbers with a claim: single numbers allow no test."""
    bracket = find_reported_bracket(measured.rungs) if measured.rungs else None
    facts = replace(derive_facts(measured, UNCORRECTED), bracket=bracket)
    return Judgement(
        verdict=Verdict.AS_REPORTED,
        facts=facts,
        alone=(Verdict.AS_REPORTED, facts),
        agrees=_agrees(measured, bracket),
    )


def derive_facts(measured: Measurement, corrections: Corrections) -> Facts:
    """What the corrected p values show of the claim's difference."""
    difference, margin = measured.difference, measured.margin
    value = difference.effect.value if difference.effect else 0.0
    is_apart = _is_shown(corrections.p_apart(difference))
    return Facts(
        is_ahead=is_apart and value > 0.0,
        is_behind=is_apart and value < 0.0,
        is_not_below=_is_shown(corrections.p_not_below(difference, margin)),
        is_inside=_is_shown(corrections.p_inside(difference, margin)),
        is_beyond=_is_shown(corrections.p_beyond(difference, margin)),
        bracket=find_bracket(measured.rungs, margin, corrections) if measured.rungs else None,
    )


def _is_shown(p: float | None) -> bool:
    return p is not None and p < ALPHA


def _verdict(measured: Measurement, facts: Facts) -> Verdict:
    if measured.effect is None:
        return Verdict.NOT_TESTED
    supports, contradicts = _support(measured, facts)
    if supports:
        return Verdict.SUPPORTED
    if facts.is_inside and measured.expects == "above":
        return Verdict.EQUIVALENT
    return Verdict.CONTRADICTED if contradicts else Verdict.INCONCLUSIVE


def _support(measured: Measurement, facts: Facts) -> tuple[bool, bool]:
    """(do the facts support the claim, do they contradict it).

    A difference shown to be smaller than the margin shows no side ahead, even where it is shown not
    to be zero: the margin says how large a difference must be to matter.
    """
    is_behind = facts.is_behind and not facts.is_inside
    match measured.expects:
        case "above":
            return facts.is_ahead and not facts.is_inside, is_behind
        case "equal":
            return facts.is_inside, facts.is_apart and facts.is_beyond
        case "not_below":
            return facts.is_not_below, is_behind
        case "catches_up":
            has_caught_up = bool(facts.bracket and facts.bracket.caught_up_from is not None)
            return has_caught_up, is_behind


def _needed(measured: Measurement, corrections: Corrections) -> int | None:
    """Replicates per side that would decide; None above 100, or if it is no plain difference.

    It assumes that as many comparisons share the error then as now.
    """
    if measured.stop is not None and not measured.stop.is_over:
        return measured.stop.needed
    claim, effect, difference = measured.claim, measured.effect, measured.difference
    pair = measured.comparison.matched_pairs[-1]
    if effect is None or claim.more or claim.along or claim.scale != "points" or not pair.against:
        return None
    if effect.se is None:
        return MIN_REPLICATES
    sds = (sample_sd(pair.side.numbers), sample_sd(pair.against.numbers))
    if difference.is_paired:
        sds = (effect.se * effect.nums[0] ** 0.5, 0.0)
    rule = find_rule(measured, corrections)
    return count_replicates_needed(effect.value, sds, rule, max(effect.nums))


def find_rule(measured: Measurement, corrections: Corrections) -> DecisionRule:
    """The rule by which a claim is decided, at the levels that the corrections leave it."""
    difference, margin = measured.difference, measured.margin
    apart, of_margin = nulls_of(measured)
    tested = [of_margin]
    if of_margin.kind == "far":
        tested += [null_below(difference, margin), null_above(difference, margin)]
    looks = measured.effect.looks if measured.effect else 1
    return rule_of(
        measured.expects,
        margin,
        apart_by=looks * corrections.num_sharing(apart),
        margin_by=looks * max(map(corrections.num_sharing, tested)),
    )


def _agrees(measured: Measurement, bracket: Bracket | None) -> bool | None:
    """Whether a plain difference is as the claim says; None if it is too close to say."""
    if bracket is not None:
        return bracket.caught_up_from is not None
    if measured.effect is None:
        return None
    value, margin = round(measured.effect.value, 6), measured.margin
    if measured.expects == "equal":
        return abs(value) <= margin
    if measured.expects == "not_below":
        return value >= -margin
    return None if abs(value) <= margin and margin > 0.0 else value > 0.0
