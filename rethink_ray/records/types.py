"""What happened, as data: the events of a study's log and the state they fold to.

Events are facts, appended once and never edited; everything else in a study directory can be
rebuilt from them. *Diverged*, *infeasible* and *misconfigured* are results of the method;
a *failure* is the machine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.space import Value

Purpose = Literal["search", "replicate"]
Outcome = Literal["diverged", "infeasible", "misconfigured", "refused"]
"""How a method's own failure ended a trial (``refused``: its asset was not fit to start from)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One trial of a round: its id and what was sampled for it."""

    trial_id: str
    params: Mapping[str, Value]
    """Dotted path -> sampled value, floats already rounded to 6 significant digits."""
    seed: int
    of: str | None = None
    """Replicates: the trial id of the incumbent this one repeats."""
    asset_seed: int | None = None
    """Of the assets it learned from its regime's images; ``None``: it starts from none such."""
    teacher: str | None = None
    """The search trial of another arm that taught it; ``None``: nobody did."""
    teacher_length: float | None = None
    """How long the teacher was trained, in units of 1x."""
    draw: int = 0
    """Of its regime's images: 0 is the regime itself, which every search trial has."""
    assets: tuple[str, ...] | None = None
    """Keys of the assets it starts from, each after those it needs, so that no reader hashes them
    again; ``None``: recorded before this was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProposed:
    """The configurations a cell proposed together, recorded before the first of them runs."""

    regime: str
    arm: str
    number: int
    """Counts the rounds of one cell and purpose from zero."""
    purpose: Purpose
    members: tuple[Member, ...]
    at: float = 0.0
    """Unix time, seconds. No decision reads it."""
    search: int = 0
    """Which of the cell's searches."""
    searches: int = 1
    """How many of them the study asked for then: searches added later are another look."""

    @property
    def cell(self) -> Cell:
        """Whose round it is: one search of one cell."""
        return Cell(self.regime, self.arm, self.search)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A cluster slot took a job. For people watching; no decision reads it."""

    job_id: str
    trial_id: str | None
    asset: str | None
    host: str
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RungDone:
    """One trial finished one schedule length with its full decay, and was scored."""

    trial_id: str
    length: float
    """In units of 1x."""
    steps: int
    """Updates in a stand-alone run of this length."""
    metrics: Mapping[str, float]
    """``<split>/<name>``: the 12 COCO numbers in AP points (0..100), e.g. ``val/ap``; also
    ``train/loss`` (mean over the branch) and ``train/backbone_drift`` (|w - w0| / |w0|)."""
    seconds_train: float
    """Wall seconds spent on updates new to this rung: trunk since the last rung, and branch."""
    seconds_score: float
    steps_new: int
    """Updates actually run for this rung (trunk part + branch)."""
    peak_memory_bytes: int = 0
    peak_memory_of: str = ""
    """``gpu``: what the rung allocated there; ``process``: its whole size, since it began."""
    trained_share: float | None = None
    """Of the detector's parameters, those that move; ``None``: recorded before this was."""
    step_flops: float | None = None
    """Floating-point operations of one update, whole batch, largest image size."""
    data_faults: Mapping[str, int] = field(default_factory=dict)
    """Boxes clamped or dropped in the regime's training images, by kind."""
    host: str = ""
    instruction_set: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The method itself ended a trial before its next rung. A result, never retried."""

    trial_id: str
    outcome: Outcome
    reason: str
    step: int = -1
    seconds: float = 0.0
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDone:
    """An asset stands in ``assets/<key>/``."""

    key: str
    kind: str
    metrics: Mapping[str, float]
    """For a classifier ``accuracy`` and ``chance``, both in 0..1; for a detector ``train/loss``."""
    seconds: float
    refused: str = ""
    """Why no trial may start from it; empty if it is fit."""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed:
    """The machine lost a job: a killed process, a lost node, a full disk."""

    job_id: str
    reason: str
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Someone continued the study, perhaps with a larger budget or longer lengths."""

    trials: int
    replicates: int
    lengths: tuple[float, ...]
    at: float = 0.0
    searches: int = 1


Event = RoundProposed | JobStarted | RungDone | TrialEnded | AssetDone | JobFailed | Resumed
