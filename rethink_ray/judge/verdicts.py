"""The types of the results: ``Finding`` (a claim with verdict and numbers) and ``Caveat``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.statistics import Estimate

FindingKind = Literal["arms", "same", "catch_up", "length", "claim"]
"""``arms``: one arm against another. ``same``: twins. ``length``: two lengths of one arm.
``claim``: declared by a study file or a paper."""
FindingFamily = Literal["primary", "secondary", "check", "descriptive"]


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
    """A claim that can be true or false, its verdict, and the numbers behind it."""

    key: str
    kind: FindingKind
    family: FindingFamily
    """``primary``: corrected together. ``secondary``: two arms of which neither is the
    reference, corrected among themselves. ``check``: whether the study can be trusted."""
    regime: str
    arms: tuple[str, ...]
    lengths: tuple[float, ...]
    claim: str
    sentence: str
    verdict: Verdict
    effect: Estimate | None = None
    """The difference that the claim is about, positive where its first side is better. Kinds
    ``catch_up`` and ``length``: how far the chaser, or the shorter schedule, is behind."""
    ratio: tuple[float, tuple[float, float] | None] | None = None
    """Claims about ratios only: one side as a multiple of the other, and its interval; ``effect``
    is its logarithm."""
    p_adjusted: float | None = None
    """p of the null that the claim expects to be wrong, corrected if the study corrects it."""
    needed: int | None = None
    """Replicates per side that would decide, 4 times in 5, at the observed difference."""
    bracket: tuple[float | None, float | None] | None = None
    """Catch-up only: (behind up to, caught up from), lengths in units of 1x."""
    evidence: tuple[str, ...] = ()
    """Trial ids."""
    caveats: tuple[str, ...] = ()
    """Keys into ``Findings.caveats``; kind ``claim``: the texts themselves."""
    agrees: bool | None = None
    """Published numbers: whether they are in line with the claim; None: too close to say."""
    post_hoc: bool = False
    """A claim that was written after the first result: outside the corrected family."""
    stop: LookStop | None = None
    """Primary comparisons of a study that stops when it has decided: the look whose numbers these
    are. None: the number of replicates was fixed."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the effect, not corrected for the number of comparisons; of a
        comparison with looks, it holds whichever look stops it."""
        return self.effect.interval() if self.effect else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """Something a reader must know before believing a finding."""

    key: str
    text: str
    regime: str | None = None
    arm: str | None = None
    """The arm that it is about; None: every arm."""
    between_arms_at: float | None = None
    """It is about comparisons of two arms at this length only; None: about every finding."""
    pair: tuple[str, str] | None = None
    """It is about comparisons of these two arms only."""
    groups: Mapping[str, str] | None = None
    """Arm -> group. It is about comparisons of arms of different groups only."""
    of: str | None = None
    """Key of the one finding it belongs to; None: regime and arm decide."""

    def touches(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
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
        if self.groups is not None and len({self.groups.get(arm) for arm in finding.arms}) < 2:
            return False
        in_regime = self.regime in (None, finding.regime)
        return in_regime and (self.arm is None or self.arm in finding.arms)
