"""What a finding is, and how a difference becomes a verdict.

A difference is always oriented: positive means that the claim's first side is better, whether the
metric is to be maximised or minimised.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from rethink_ray.judge.statistics import Estimate, lies_within

ALPHA = 0.05
Kind = Literal["arms", "same", "catch_up", "length", "claim"]
Family = Literal["primary", "check", "descriptive"]


class Verdict(StrEnum):
    """What the data say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"
    AS_REPORTED = "as reported"
    """A published number: single, so neither tested nor given an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A sentence one could disagree with, and all it rests on."""

    key: str
    kind: Kind
    family: Family
    """``primary``: corrected together (Holm). ``check``: of the instrument, not of the world."""
    regime: str
    arms: tuple[str, ...]
    lengths: tuple[float, ...]
    claim: str
    sentence: str
    verdict: Verdict
    effect: Estimate | None = None
    """The difference the claim is about, positive where the claim's first side is better."""
    ratio: tuple[float, tuple[float, float] | None] | None = None
    """Of a claim about ratios: one side as a multiple of the other, and its interval; ``effect`` is
    its logarithm."""
    p_adjusted: float | None = None
    needed: int | None = None
    """Replicates per side that would decide, 4 times in 5, at the observed difference."""
    bracket: tuple[float | None, float | None] | None = None
    """Catch-up only: (behind up to, caught up from), lengths in units of 1x."""
    evidence: tuple[str, ...] = ()
    """Trial ids."""
    caveats: tuple[str, ...] = ()
    """Keys into ``Findings.caveats``; of a claim, whole sentences."""
    agrees: bool | None = None
    """As reported: whether the number is in line with the claim; None inside the margin."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, not corrected for the family."""
        return self.effect.interval() if self.effect else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """Something a reader must know before believing a finding; found automatically."""

    key: str
    text: str
    regime: str | None = None
    arm: str | None = None
    """None = every one."""
    between_arms_at: float | None = None
    """It bears on comparisons of two arms at this length only; None = on every finding."""
    pair: tuple[str, str] | None = None
    """It bears on comparisons of these two arms only."""
    of: str | None = None
    """Key of the one finding it belongs to; None = whatever regime and arm say."""

    def touches(self, finding: Finding) -> bool:
        """Whether it bears on this finding."""
        if self.of is not None:
            return self.of == finding.key
        if self.between_arms_at is not None:
            judged_there = finding.lengths[-1:] == (self.between_arms_at,)
            if finding.kind == "same" or len(finding.arms) != 2 or not judged_there:
                return False
        if self.pair is not None and (
            finding.kind == "claim" or set(finding.arms) != set(self.pair)
        ):
            return False  # a claim names what its own two sides differ in
        in_regime = self.regime in (None, finding.regime)
        return in_regime and (self.arm is None or self.arm in finding.arms)


def judge(estimate: Estimate | None, p_adjusted: float | None, margin: float) -> Verdict:
    """The verdict on "the first side is better".

    A difference shown to be smaller than the margin is ``equivalent`` even where it is shown not
    to be zero: the margin says what is worth caring about.
    """
    if estimate is None:
        return Verdict.NOT_TESTED
    if p_adjusted is None:
        return Verdict.INCONCLUSIVE
    if lies_within(estimate, margin):
        return Verdict.EQUIVALENT
    if p_adjusted < ALPHA:
        return Verdict.SUPPORTED if estimate.value > 0 else Verdict.CONTRADICTED
    return Verdict.INCONCLUSIVE
