"""The answer of a study: per regime the arm to train with, how sure that is, and what is open.

Renderers and ``export`` read an ``Answer`` and nothing behind it. ``answering`` derives it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rethink_ray.judge.arm_choice import Why
from rethink_ray.judge.look_stop import LookStop
from rethink_ray.judge.statistics import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The configuration to train with in one regime."""

    arm: str
    length: float
    """In units of 1x: the best by the search's scores."""
    updates: int
    passes: float
    """How often a run of this length sees each of the regime's images."""
    trial_id: str
    """The search trial that has this configuration."""
    rate: float
    """The peak learning rate."""
    params: Mapping[str, Any]
    """Dotted path -> value that the search sampled."""
    file: str
    """Name of the file that ``export`` writes it to, beside those of all cells."""
    mean: Estimate | None
    """Over fresh replicates, on the report split; None without any."""
    expected: tuple[float, float] | None
    """95 % interval of the mean, within 0 to 100, that allows for the choice among ``num_arms``
    arms, and for a stop before the last look."""
    num_arms: int
    before_last_look: bool = False
    """The study stops when it has decided, and the arm has fewer replicates than its last look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedArm:
    """One arm at its best length, and whether it may be the best."""

    arm: str
    length: float | None
    """None before a search trial has a score."""
    mean: Estimate | None
    may_be_best: bool | None
    """It is not shown to be worse than another arm; None: it was not compared."""
    behind: float | None
    """It is at most so many points behind the best; None: it was not compared."""
    shown_behind: str
    """The arm that is shown to be ahead of it; empty for one that may be the best."""
    why_not: str
    """Why it was not compared, as a clause; empty for one that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """The recommended arm against another that may be the best."""

    arms: tuple[str, str]
    """The recommended arm, then the other."""
    lead: float
    """Of the recommended arm, in points."""
    is_equal: bool
    """They are shown to differ by less than the margin: there is nothing left to decide."""
    needed: int | None
    """Replicates (or searches) per arm that would decide; None: more than 100."""
    hours: float | None
    """Accelerator or slot hours that these would take in the whole study; None: not known."""
    sentence: str
    stop: LookStop | None = None
    """Where the looks of a study that stops when it has decided leave it; None: no look decides
    about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeAnswer:
    """What to train with in one regime."""

    regime: str
    num_images: int
    headline: str
    """What to train with, in one sentence."""
    paragraph: str
    """All of it in words, the headline first."""
    recommended: Recommendation | None
    why: Why
    arms: tuple[RankedArm, ...]
    """The highest mean first; arms that were not compared last."""
    open: tuple[OpenQuestion, ...]
    looks: tuple[str, ...] = ()
    """Where the looks leave the headlines that ``open`` does not name, in words; none without."""

    @property
    def tied(self) -> tuple[str, ...]:
        """The other arms that are not shown to be worse than another."""
        chosen = self.recommended.arm if self.recommended else ""
        return tuple(a.arm for a in self.arms if a.may_be_best and a.arm != chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What would decide the open question that takes least."""

    option: str
    """Of ``rethink-ray resume``: ``--replicates 17``."""
    hours: float | None
    decides: str
    """As a clause: ``whether a ends above b on full``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a study, regime by regime. Printed, it is one paragraph for each."""

    study: str
    regimes: tuple[RegimeAnswer, ...]
    next: NextStep | None = None
    """None if nothing is open, or if more than 100 replicates would be needed."""

    def of(self, regime: str) -> RegimeAnswer:
        """The answer for one regime.

        Raises:
            KeyError: the study has no such regime.
        """
        by_name = {answer.regime: answer for answer in self.regimes}
        return by_name[regime]

    def __str__(self) -> str:
        return "\n\n".join(answer.paragraph for answer in self.regimes)
