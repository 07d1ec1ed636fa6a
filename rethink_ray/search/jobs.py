"""What a decision consists of: jobs for cluster slots, and events that are recorded first."""

from dataclasses import dataclass
from typing import Literal

from rethink_ray.records.types import Event, LookTaken, Purpose, RoundProposed, TrialEnded
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for one slot: train a trial from its last rung to a longer one, or build an asset."""

    job_id: str
    """``<trial id>-<target length>x`` or ``asset-<key>``: the same for every attempt."""
    purpose: Literal["asset", "search", "replicate"]
    cell: str
    """``regime/arm`` of the first cell that needs it."""
    trial_id: str | None = None
    config: TrialConfig | None = None
    lengths: tuple[float, ...] = ()
    """Rungs to run, rising."""
    splits: tuple[str, ...] = ()
    """The splits that each rung is scored on."""
    asset: AssetSpec | None = None
    models: str | None = None
    """Folder below the root for the weights of every finished rung; None: they are not kept."""
    detections: str | None = None
    """Folder below the root for the detections of every finished rung in the report split."""

    @property
    def trial(self) -> tuple[str, TrialConfig]:
        """Trial id and configuration of a job that trains."""
        assert self.trial_id is not None, "an asset job trains no trial"
        assert self.config is not None, "an asset job has no trial configuration"
        return self.trial_id, self.config

    @property
    def run(self) -> TrialConfig | None:
        """The run that several workers can share; None: the job must be done by one process."""
        return self.config if self.asset is None else self.asset.run

    @property
    def folder(self) -> str:
        """The folder for the job's files, below the root."""
        return f"trials/{self.trial_id}" if self.asset is None else f"assets/{self.asset.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a study needs next. Its ``events`` are recorded before any job runs."""

    rounds: tuple[RoundProposed, ...]
    """Newly proposed; the decision after they were recorded has their jobs."""
    ends: tuple[TrialEnded, ...]
    """Trials that can never start, because their asset was refused."""
    jobs: tuple[Job, ...]
    """All that may run now, those that run already included, most urgent first."""
    done: bool
    blocked: tuple[str, ...]
    """Job ids over the retry limit. With nothing else to run, the study is incomplete."""
    unproposed: int = 0
    """Search trials that are due, where the decider only counts them; 0 otherwise."""
    look: LookTaken | None = None
    """A look at all replicates so far, once they are in and the study takes one."""

    @property
    def events(self) -> tuple[Event, ...]:
        """What to record before the study decides again."""
        looks = () if self.look is None else (self.look,)
        return (*self.rounds, *self.ends, *looks)

    @property
    def incomplete(self) -> bool:
        """All jobs that are left failed too often."""
        return bool(self.blocked) and not (self.jobs or self.events)


def asset_job(spec: AssetSpec, key: str, cell: str) -> Job:
    """The job that builds an asset."""
    return Job(job_id=f"asset-{key}", purpose="asset", cell=cell, asset=spec)


def models_folder(trial_id: str) -> str:
    """The folder for the weights of a trial's rungs, below the study's root."""
    return f"trials/{trial_id}/models"


def splits_to_score(study: Study, purpose: Purpose) -> tuple[str, ...]:
    """The splits that a rung is scored on; search trials are scored on the selection split only."""
    if purpose == "search":
        return (study.data.select_split,)
    return tuple(dict.fromkeys((study.data.select_split, study.data.report_split)))
