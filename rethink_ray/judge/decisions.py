"""From a measured difference to a verdict: the one place where that is decided.

All verdicts are made of four facts about one difference: the first side is shown to be ahead, is
shown to be behind, is shown not to be behind by the margin, is shown not to be ahead by it. Claims
differ only in which facts support or contradict them. Since facts rest on one p value for each null
(``corrections``), verdicts of one difference cannot contradict each other:

- a claim about a margin (not below, equal, catches up) is supported by its own test alone;
- it is contradicted only where the corrected test shows the other side to be ahead (a closed test).
"""

from dataclasses import dataclass

from rethink_ray.judge.catch_up import Bracket, find_bracket, find_reported_bracket
from rethink_ray.judge.corrections import UNCORRECTED, Corrections
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.power import count_replicates_needed
from rethink_ray.judge.rules import ALPHA, rule_of
from rethink_ray.judge.statistics import MIN_REPLICATES, sample_sd
from rethink_ray.judge.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is shown of one difference."""

    is_ahead: bool
    is_behind: bool
    is_not_below: bool
    """Not behind by the margin or more."""
    is_not_above: bool

    @property
    def is_apart(self) -> bool:
        """Whether the difference is shown not to be zero."""
        return self.is_ahead or self.is_behind

    @property
    def is_inside(self) -> bool:
        """Whether the difference is shown to be smaller than the margin in both directions."""
        return self.is_not_below and self.is_not_above


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one measurement, and all that sentences say about it."""

    verdict: Verdict
    alone: Verdict
    """The verdict if nothing else had been compared."""
    facts: Facts
    facts_alone: Facts
    p: float | None
    """Of what the claim expects, corrected where its null is."""
    num_corrected: int
    """Comparisons that were corrected together; 1 where nothing was corrected."""
    bracket: Bracket | None = None
    needed: int | None = None
    agrees: bool | None = None
    """As reported: whether the number is in line with the claim; None inside the margin."""

    @property
    def is_corrected_away(self) -> bool:
        """Whether the verdict was another one before correction."""
        return self.alone is not self.verdict

    @property
    def is_difference_corrected_away(self) -> bool:
        """Whether a difference larger than nothing is shown alone, but not after correction."""
        is_left = self.facts.is_apart or self.facts.is_inside
        return self.facts_alone.is_apart and not is_left


def decide(measured: Measurement, corrections: Corrections = UNCORRECTED) -> Judgement:
    """The verdict on a study's measurement."""
    verdict, alone = (_verdict(measured, c) for c in (corrections, UNCORRECTED))
    bracket = None
    if measured.rungs:
        bracket = find_bracket(measured.rungs, measured.margin, corrections)
    return Judgement(
        verdict=verdict,
        alone=alone,
        facts=show_facts(measured, corrections),
        facts_alone=show_facts(measured, UNCORRECTED),
        p=corrections.p_expected(measured),
        num_corrected=corrections.num,
        bracket=bracket,
        needed=_needed(measured, corrections) if verdict is Verdict.INCONCLUSIVE else None,
    )


def decide_reported(measured: Measurement) -> Judgement:
    """Published numbers are single, so they are not tested: only compared with the claim."""
    bracket = find_reported_bracket(measured.rungs) if measured.rungs else None
    return Judgement(
        verdict=Verdict.AS_REPORTED,
        alone=Verdict.AS_REPORTED,
        facts=show_facts(measured, UNCORRECTED),
        facts_alone=show_facts(measured, UNCORRECTED),
        p=None,
        num_corrected=1,
        bracket=bracket,
        agrees=_agrees(measured, bracket),
    )


def show_facts(measured: Measurement, corrections: Corrections) -> Facts:
    """What the corrected p values show of the claim's difference."""
    difference, margin = measured.difference, measured.margin
    value = difference.effect.value if difference.effect else 0.0
    is_apart = _is_shown(corrections.p_apart(difference))
    return Facts(
        is_ahead=is_apart and value > 0.0,
        is_behind=is_apart and value < 0.0,
        is_not_below=_is_shown(corrections.p_not_below(difference, margin)),
        is_not_above=_is_shown(corrections.p_not_above(difference, margin)),
    )


def _is_shown(p: float | None) -> bool:
    return p is not None and p < ALPHA


def _verdict(measured: Measurement, corrections: Corrections) -> Verdict:
    if measured.effect is None:
        return Verdict.NOT_TESTED
    facts = show_facts(measured, corrections)
    supports, contradicts = _support(measured, corrections, facts)
    if supports:
        return Verdict.SUPPORTED
    if facts.is_inside and measured.expects == "above":
        return Verdict.EQUIVALENT
    return Verdict.CONTRADICTED if contradicts else Verdict.INCONCLUSIVE


def _support(measured: Measurement, corrections: Corrections, facts: Facts) -> tuple[bool, bool]:
    """(the facts support the claim, they contradict it).

    A difference shown to be smaller than the margin shows no side ahead, even where it is shown not
    to be zero: the margin says how large a difference must be to matter.
    """
    is_behind = facts.is_behind and not facts.is_inside
    match measured.expects:
        case "above":
            return facts.is_ahead and not facts.is_inside, is_behind
        case "equal":
            return facts.is_inside, facts.is_apart and _is_beyond_margin(measured)
        case "not_below":
            return facts.is_not_below, is_behind
        case "catches_up":
            bracket = find_bracket(measured.rungs, measured.margin, corrections)
            return bracket.caught_up_from is not None, is_behind


def _is_beyond_margin(measured: Measurement) -> bool:
    interval = measured.effect.interval() if measured.effect else None
    if interval is None:
        return False
    return interval[0] > measured.margin or interval[1] < -measured.margin


def _needed(measured: Measurement, corrections: Corrections) -> int | None:
    """Replicates a side that would decide a plain difference; None for any other, or above 100.

    Corrections count as they did here: a p value that was doubled is doubled with more replicates.
    """
    claim, effect, difference = measured.claim, measured.effect, measured.difference
    pair = measured.comparison.matched_pairs[-1]
    if effect is None or claim.more or claim.along or claim.scale != "points" or not pair.against:
        return None
    if effect.se is None:
        return MIN_REPLICATES
    sds = (sample_sd(pair.side.numbers), sample_sd(pair.against.numbers))
    if difference.is_paired:
        sds = (effect.se * effect.nums[0] ** 0.5, 0.0)
    apart_by = _factor(corrections.p_apart(difference), effect.p_value, corrections.num)
    margin_by = 1.0  # that a difference is smaller than the margin is not corrected
    if measured.expects != "above":
        alone = UNCORRECTED.p_expected(measured)
        margin_by = _factor(corrections.p_expected(measured), alone, corrections.num)
    rule = rule_of(
        measured.expects,
        measured.margin,
        apart_by=apart_by * effect.looks,
        margin_by=margin_by * effect.looks,
    )
    return count_replicates_needed(effect.value, sds, rule, max(effect.nums))


def _factor(corrected: float | None, alone: float | None, num: int) -> float:
    """By how much a correction multiplied a p value."""
    return max(1.0, corrected / alone) if corrected and alone else float(max(1, num))


def _agrees(measured: Measurement, bracket: Bracket | None) -> bool | None:
    """Whether a plain difference is as the claim says; None where it is inside the margin."""
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
