"""The events of a study's log.

An event is appended once and never edited; everything else in a study directory can be rebuilt from
the events. *Diverged*, *infeasible* and *misconfigured* are results of the method; a *failure* is
the machine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.space import Value

Purpose = Literal["search", "replicate"]
Outcome = Literal["diverged", "infeasible", "misconfigured", "refused"]
"""How the method itself ended a trial (``refused``: its asset was not fit to start from)."""

ComparisonVerdict = Literal["open", "supported", "contradicted", "equivalent", "futile"]
"""``futile``: more replicates up to the last look have no chance to decide it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One trial of a round: its id and its sampled values."""

    trial_id: str
    params: Mapping[str, Value]
    """Dotted path -> sampled value, floats already rounded to 6 significant digits."""
    seed: int
    of: str | None = None
    """Replicates: the trial id of the incumbent this one repeats."""
    asset_seed: int | None = None
    """Seed of the assets that learn from its regime's images; ``None``: it starts from none."""
    teacher: str | None = None
    """The search trial of another arm that taught it; ``None``: it has no teacher."""
    teacher_length: float | None = None
    """How long the teacher was trained, in units of 1x."""
    draw: int = 0
    """Which draw of its regime's images; 0 is the regime itself, as in every search trial."""
    assets: tuple[str, ...] | None = None
    """Keys of the assets it starts from, each after those it needs, so that no reader hashes them
    again; ``None``: recorded by a version without this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProposed:
    """The configurations a cell proposed together, recorded before the first of them runs."""

    regime: str
    arm: str
    number: int
    """Number of the round in its cell and purpose, from zero."""
    purpose: Purpose
    members: tuple[Member, ...]
    at: float = 0.0
    """Unix time, seconds. No decision reads it."""
    search: int = 0
    """Index of the search among the cell's searches."""
    searches: int = 1
    """Searches per cell when this was proposed: later ones count as another look at the data."""

    @property
    def cell(self) -> Cell:
        """The cell and search of this round."""
        return Cell(self.regime, self.arm, self.search)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A cluster slot took a job. Shown to people; no decision reads it."""

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
    """Wall seconds of the updates that are new in this rung (see ``steps_new``)."""
    seconds_score: float
    steps_new: int
    """Updates run for this rung: trunk since the last rung, and branch."""
    peak_memory_bytes: int = 0
    peak_memory_of: str = ""
    """``gpu``: the peak allocated there in this rung; ``process``: its size since it began."""
    trained_share: float | None = None
    """Share of the detector's parameters that are trained; ``None``: an older version."""
    step_flops: float | None = None
    """Floating-point operations of one update, whole batch, largest image size; with
    ``init.unfreeze`` on average over all updates of this length."""
    data_faults: Mapping[str, int] = field(default_factory=dict)
    """``<split>/<kind>`` -> count: faults of the regime's training images, as
    ``train/box_degenerate``, of the splits that scored, and of ``unlabelled`` where a teacher
    labelled its images for the run. Kinds without a split are of training images, recorded by a
    version that counted no others."""
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
    """An asset is in ``assets/<key>/``."""

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
    """The study was continued, perhaps with a larger budget or longer lengths."""

    trials: int
    replicates: int
    lengths: tuple[float, ...]
    at: float = 0.0
    searches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCut:
    """A run had so many hours, and they ended before the study did. No decision reads it."""

    hours: float
    """Hours that the run was given (``--hours``)."""
    waiting: tuple[str, ...]
    """Ids of jobs that could have started, most urgent first, twenty at most."""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonState:
    """What the looks so far say about one primary comparison."""

    key: str
    """Names the comparison among those of its study."""
    cells: tuple[str, ...]
    """``regime/arm`` of the cells that it compares."""
    verdict: ComparisonVerdict
    stopped_at: int | None = None
    """Replicates at the look that decided it, or found it futile; ``None``: it is open."""
    more: int | None = None
    """Of an open one: so many more replicates would decide it, four times in five, if the
    difference is as it was seen; ``None``: the looks to come do not reach that."""
    p_value: float | None = None
    """The p value there, or at the last look; ``None``: it could not be tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTaken:
    """All replicates up to one number are in, and were looked at before any further one ran."""

    number: int
    """Number of the look in its study, from zero."""
    replicates: int
    """Replicates of each arm that ran up to this look; searches, where these are added."""
    comparisons: tuple[ComparisonState, ...]
    """Every primary comparison, in the order of the study."""
    running: tuple[str, ...]
    """``regime/arm`` of the cells that run on to the next look."""
    at: float = 0.0
    """Unix time, seconds. No decision reads it."""


Event = (
    RoundProposed
    | JobStarted
    | RungDone
    | TrialEnded
    | AssetDone
    | JobFailed
    | Resumed
    | RunCut
    | LookTaken
)
