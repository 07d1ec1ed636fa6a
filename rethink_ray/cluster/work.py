"""Runs one job and yields its events. The caller may be Ray Tune, Ray Train or a plain test.

A failure of the method (diverged, infeasible, misconfigured) is an event. A failure of the machine
leaves as an exception.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rethink_ray.records.failures import failure_file
from rethink_ray.records.losses import LOSS_FILE
from rethink_ray.records.types import Event, Outcome, TrialEnded
from rethink_ray.search.jobs import Job
from rethink_ray.spec.assets import ANY_ASSET
from rethink_ray.spec.errors import (
    DataError,
    Diverged,
    Infeasible,
    Misconfigured,
    RethinkError,
    SpecError,
)
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.loss_notes import LossNotes
from rethink_ray.training.repair import Repair
from rethink_ray.training.stopping import Interrupts, never_stop
from rethink_ray.training.trial_files import RunFolders
from rethink_ray.training.worker_context import WorkerContext

STOP_POLL_SECONDS = 0.5


def run_job(
    job: Job,
    data: DataSpec,
    root: Path,
    stop: Callable[[], bool],
    ctx: WorkerContext | None = None,
) -> Iterator[Event]:
    """Yield each rung of a job when it is finished, or its asset, or how the method ended it.

    An asset that turns out to be damaged is built again first, the same to the last bit.

    Args:
        job: the trial to train, or the asset to build.
        data: where an asset's upstream images come from.
        root: the study directory. Checkpoints are written and kept there.
        stop: called often. True means: write a checkpoint and raise ``Stopped``.
        ctx: this worker, if several run the job together.

    Raises:
        Stopped: after the checkpoint.
    """
    repair = Repair(
        data=data if job.config is None else job.config.data,
        assets=root / "assets",
        ctx=ctx,
        interrupts=Interrupts(stop=stop),
    )
    if job.asset is not None:
        yield repair.build(job.asset)
    else:
        yield from _train(job, root, repair)


def _train(job: Job, root: Path, repair: Repair) -> Iterator[Event]:
    """The rungs of a trial's job, or how the method ended the trial."""
    config = job.config
    assert config is not None, "a job is an asset or a trial"
    folders = RunFolders(
        trial=root / "trials" / config.trial_id,
        assets=repair.assets,
        models=root / job.models if job.models else None,
        detections=root / job.detections if job.detections else None,
    )
    is_main = repair.ctx is None or repair.ctx.is_main
    rungs = repair.run(
        lambda: train_ladder(
            config,
            job.lengths,
            folders,
            splits=job.splits,
            ctx=repair.ctx,
            interrupts=repair.interrupts,
            progress=LossNotes(folders.trial / LOSS_FILE) if is_main else None,
        )
    )
    started = time.monotonic()
    try:
        for rung in rungs:
            yield replace(rung, at=round(time.time(), 3))
            started = time.monotonic()
    except (Diverged, Infeasible, Misconfigured) as error:
        write_failure(failure_path(job, root), job.job_id, error)
        yield TrialEnded(
            trial_id=config.trial_id,
            outcome=_OUTCOMES[type(error)],
            reason=str(error),
            step=error.step if isinstance(error, Diverged) else -1,
            seconds=round(time.monotonic() - started, 3),
        )


_OUTCOMES: dict[type[Exception], Outcome] = {
    Diverged: "diverged",
    Infeasible: "infeasible",
    Misconfigured: "misconfigured",
}


class StopFile:
    """Checks at most twice a second whether a file requests a stop; works across machines."""

    def __init__(self, path: Path, elsewhere: Callable[[], bool] = never_stop) -> None:
        """``elsewhere``: another check, for machines that share no files."""
        self.path = path
        self._elsewhere = elsewhere
        self._checked_at = -STOP_POLL_SECONDS
        self._is_requested = False

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        now = time.monotonic()
        if not self._is_requested and now - self._checked_at >= STOP_POLL_SECONDS:
            self._checked_at = now
            self._is_requested = self.path.exists() or self._elsewhere()
        return self._is_requested


def write_failure(path: Path, job_id: str, error: BaseException) -> str:
    """``path`` holds the traceback, unless the disk refuses it; returns the error in one line."""
    text = "".join(traceback.format_exception(error))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{job_id}, process {os.getpid()}\n\n{text}")
    return last_line(error)


def last_line(error: BaseException) -> str:
    """The error's message in one line; with the name of its type unless it is one of ours."""
    text = str(error) if isinstance(error, RethinkError) else f"{type(error).__name__}: {error}"
    return next(iter(text.strip().splitlines()), type(error).__name__)[:300]


def encode_error(error: Exception) -> str:
    """An error as text, to pass it between processes: its type and its message."""
    is_ours = isinstance(error, RethinkError)
    return f"{type(error).__name__}|{error if is_ours else last_line(error)}"


def decode_error(text: str) -> RethinkError:
    """The error that ``encode_error`` wrote; mistakes of the user keep their type."""
    kind, _, message = text.partition("|")
    return {"DataError": DataError, "SpecError": SpecError}.get(kind, RethinkError)(message)


def failure_path(job: Job, root: Path) -> Path:
    """The file with the traceback of a job's last failure, or of the end of its trial."""
    return failure_file(root, job.job_id)


def encode_job(job: Job) -> str:
    """A job as JSON."""
    return json.dumps(
        {
            "job_id": job.job_id,
            "purpose": job.purpose,
            "cell": job.cell,
            "trial_id": job.trial_id,
            "config": job.config.model_dump(mode="json") if job.config else None,
            "lengths": list(job.lengths),
            "splits": list(job.splits),
            "asset": job.asset.model_dump(mode="json") if job.asset else None,
            "models": job.models,
            "detections": job.detections,
            "alone": job.alone,
        }
    )


def decode_job(text: str) -> Job:
    """The job that ``encode_job`` wrote."""
    tree: dict[str, Any] = json.loads(text)
    config, asset = tree.pop("config"), tree.pop("asset")
    return Job(
        **{
            **tree,
            "lengths": tuple(tree["lengths"]),
            "splits": tuple(tree["splits"]),
            "config": TrialConfig.model_validate_json(json.dumps(config)) if config else None,
            "asset": ANY_ASSET.validate_json(json.dumps(asset)) if asset else None,
        }
    )
