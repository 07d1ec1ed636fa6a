"""One run: a ladder of schedule lengths that share a trunk, as a generator of finished rungs.

A rung leaves the trunk at its first decay point, ends with its full decay and is scored; the next
one goes on from the trunk's *file*. Nothing random depends on how the run came to where it stands,
so a branch equals a stand-alone run of its length, and a resumed run an uninterrupted one, bit for
bit (on one instruction set, torch build and thread count).
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rethink_ray.data.loader import TrainBatches
from rethink_ray.records.detections import file_name
from rethink_ray.records.types import RungDone
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import save_checkpoint, sweep, write_json
from rethink_ray.training.effective import describe, instruction_set, read_back, require_as_asked
from rethink_ray.training.effective_labels import read_joint, read_labels
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.inputs import TrialData, open_trial_data
from rethink_ray.training.live import Live
from rethink_ray.training.losses import LossTrace, require_finite
from rethink_ray.training.memory import peak_memory_bytes, start_counting
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.price import Price, memory_kind, price_of
from rethink_ray.training.schedule import RungSchedule, lr_at, schedule_of
from rethink_ray.training.starting import labels_of, start_of
from rethink_ray.training.stopping import SAVE_SECONDS, Stopped, Watch, never_stop
from rethink_ray.training.trial_files import TrialFiles, model_path
from rethink_ray.training.worker_context import WorkerContext

__all__ = ["Progress", "Stopped", "model_path", "never_stop", "train_ladder"]

PROGRESS_STEPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands, for people watching."""

    trial_id: str
    length: float
    step: int
    total_steps: int
    loss: float


def train_ladder(
    config: TrialConfig,
    lengths: Sequence[float],
    directory: Path,
    *,
    splits: Sequence[str],
    assets: Path,
    stop: Callable[[], bool] = never_stop,
    ctx: WorkerContext | None = None,
    progress: Callable[[Progress], None] | None = None,
    models: Path | None = None,
    detections: Path | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> Iterator[RungDone]:
    """Each wanted rung as it is finished; those finished before are yielded again, not run again.

    Args:
        config: the trial.
        lengths: the rungs still wanted, rising, in units of 1x.
        directory: the trial's folder; goes on from whatever checkpoints lie in it.
        splits: what each rung is scored on.
        assets: folder of the assets' folders.
        stop: asked before every update and every scored batch.
        ctx: this process alone, unless the caller has made a group of workers.
        progress: told the step and the loss now and then.
        models: folder that keeps each finished rung's weights as ``<length>x.pt``.
        detections: folder that keeps what each finished rung found in the report split.
        save_seconds: wall time between two checkpoints.

    Raises:
        Diverged: a loss or a weight stopped being a finite number.
        Infeasible: the method does not fit the device's memory.
        Misconfigured: something alive is not as asked.
        Stopped: ``stop`` turned true; a checkpoint was written.
    """
    ctx = ctx or WorkerContext.local(config)
    if ctx.is_main:
        sweep(directory)
    ladder = _Ladder(
        config=config,
        lengths=tuple(lengths),
        files=TrialFiles(directory, config.trial_id),
        splits=tuple(splits),
        assets=assets,
        watch=Watch(ctx=ctx, stop=stop, save_seconds=save_seconds),
        progress=progress,
        models=models,
        detections=detections,
    )
    with one_outcome(config, ctx):
        yield from ladder.climb()


@dataclass(slots=True, kw_only=True)
class _Ladder:
    """One climb: what is alive, and at which update it stands."""

    config: TrialConfig
    lengths: tuple[float, ...]
    files: TrialFiles
    splits: tuple[str, ...]
    assets: Path
    watch: Watch
    progress: Callable[[Progress], None] | None
    models: Path | None
    detections: Path | None
    step: int = 0
    seconds: float = 0.0
    """Wall time of the updates that are new to the rung under way."""
    broken: set[int] = field(default_factory=set)
    """Images whose files broke since the data set was indexed, as this worker met them."""
    _live: Live | None = None
    _trace: LossTrace | None = None
    _data: TrialData | None = None
    _price: Price | None = None
    _was_checked: bool = False

    @property
    def ctx(self) -> WorkerContext:
        return self.watch.ctx

    @property
    def live(self) -> Live:
        if self._live is None:
            config = self.config
            start = start_of(config, self.assets, self.ctx, stop=self.watch.stop)
            self._live = Live(
                config.recipe,
                config.num_categories,
                config.seed,
                self.ctx,
                start,
                config.resources.images_per_step,
            )
        return self._live

    @property
    def trace(self) -> LossTrace:
        if self._trace is None:
            self._trace = LossTrace(self.ctx)
        return self._trace

    @property
    def price(self) -> Price:
        if self._price is None:
            self._price = price_of(self.live)
        return self._price

    @property
    def data(self) -> TrialData:
        if self._data is None:
            labels = labels_of(self.config, self.assets, self.ctx, stop=self.watch.stop)
            self._data = open_trial_data(self.config, labels)
        return self._data

    def climb(self) -> Iterator[RungDone]:
        start_counting(self.ctx.device)
        for length in self.lengths:
            yield self.ctx.broadcast(self._finished(length)) or self._run(length)

    def _finished(self, length: float) -> RungDone | None:
        """The rung of an earlier job, if it has every number and file that is asked for."""
        rung = self.files.rung(length)
        if rung is None or not all(f"{split}/ap" in rung.metrics for split in self.splits):
            return None
        kept = self.models is None or model_path(self.models, rung.length).exists()
        return rung if kept else None

    def _run(self, length: float) -> RungDone:
        schedule = schedule_of(self.config.recipe.schedule, length)
        unfinished = self.files.branch(length)
        content = unfinished or self.files.trunk_at_most(schedule.branch_at)
        self._require_one_start(unfinished is not None, content)
        if unfinished is not None:
            self._load(unfinished)
        else:
            self._go_to_trunk(length, content)
            self._advance(length, schedule, schedule.branch_at, on_branch=False)
            self._save()
            self.trace.start_branch()
        self._advance(length, schedule, schedule.total_steps, on_branch=True)
        if not self.live.is_finite():
            require_finite(float("nan"), schedule.total_steps - 1)
        started = time.perf_counter()
        scores = self._score(length)
        return self._finish(length, schedule, scores, time.perf_counter() - started)

    def _go_to_trunk(self, length: float, content: dict[str, Any] | None) -> None:
        """Stand where the newest trunk file stands, or at the very beginning."""
        if content is None:
            self._live = self._trace = None
            self.step, self.seconds = 0, 0.0
            return
        self._load(content)
        if self.step <= self._shared_steps(length):
            self.seconds = 0.0

    def _require_one_start(self, on_branch: bool, content: dict[str, Any] | None) -> None:
        """All workers read the same files, or they would train different runs."""
        starts = self.ctx.gather([(on_branch, content["step"] if content else 0)])
        if len(set(starts)) > 1:
            raise RecordError(
                explain(
                    str(self.files.directory),
                    "must look the same to all workers of a run",
                    f"checkpoints (on a branch, update) {starts}",
                    "Put the study on one file system that all nodes share, and run again.",
                )
            )

    def _shared_steps(self, length: float) -> int:
        """Trunk updates that a shorter rung of the ladder has paid for."""
        schedule = self.config.recipe.schedule
        ladder = {*schedule.lengths, *self.lengths}
        points = [schedule.branch_at(other) for other in ladder if other < length]
        return max((p for p in points if p <= schedule.branch_at(length)), default=0)

    def _advance(self, length: float, schedule: RungSchedule, end: int, *, on_branch: bool) -> None:
        """Every update from here up to, not including, the one numbered ``end``."""
        if self.step >= end:
            return
        peak, _ = self.config.recipe.optimizer.lr, self.price  # counted off the clock
        started, before = time.perf_counter(), self.seconds
        batches = self.data.batches(self.step, self.ctx)
        for step in range(self.step, end):
            self.step = step
            stop, save = self.watch.ask()
            if save:
                self.seconds = before + time.perf_counter() - started
                self._save(length if on_branch else None)
            if stop:
                raise Stopped(f"{self.config.trial_id} stands at update {step} of {length:g}x")
            images, targets = next(batches)
            self.broken |= batches.broken
            self._check_once(schedule, batches, len(images))
            rate = lr_at(schedule, peak, step)
            beside = self.data.classified(step, self.ctx)
            loss = self.live.update(images, targets, rate=rate, step=step, classified=beside)
            self.trace.add(step, loss)
            self._tell(length, schedule, step)
        self.step = end
        self.trace.look()
        self.seconds = before + time.perf_counter() - started

    def _check_once(self, schedule: RungSchedule, batches: TrainBatches, batch_images: int) -> None:
        """Before a job's first update: what is alive is what was asked for, and is written down."""
        if self._was_checked:
            return
        found = read_back(self.live, schedule, batches, batch_images)
        found |= read_labels(self.live, batches, self.data.pseudo, found)
        found |= read_joint(self.live, self.data.joint)
        require_as_asked(self.config.recipe, found)
        if self.ctx.is_main:
            told = describe(self.live, found, batches, self.price)
            write_json(
                self.files.directory / "effective.json",
                {"trial_id": self.config.trial_id, **told},
            )
        self._was_checked = True

    def _tell(self, length: float, schedule: RungSchedule, step: int) -> None:
        if self.progress is not None and step % PROGRESS_STEPS == 0:
            self.progress(
                Progress(
                    trial_id=self.config.trial_id,
                    length=length,
                    step=step,
                    total_steps=schedule.total_steps,
                    loss=self.trace.last,
                )
            )

    def _score(self, length: float) -> dict[str, float]:
        """The numbers of every split; the branch is kept first if it would be a loss to lose."""
        stop, save = self.watch.ask_now()
        if save:
            self._save(length)
        if stop:
            raise Stopped(f"{self.config.trial_id} is to be scored at {length:g}x")
        self.ctx.broadcast_buffers(self.live.detector)
        scores: dict[str, float] = {}
        try:
            for split in self.splits:
                scores |= score_split(
                    self.live.detector,
                    self.config.recipe,
                    self.config.data,
                    split,
                    self.ctx,
                    num_workers=self.config.resources.loader_workers,
                    stop=self.watch.stop,
                    keep=self._kept(split, length),
                )
        except Stopped:
            self._save(length)
            raise
        return scores

    def _kept(self, split: str, length: float) -> Path | None:
        """Where the boxes of a split are to be kept; only those that findings judge by."""
        if self.detections is None or split != self.config.data.report_on:
            return None
        return self.detections / file_name(length)

    def _finish(
        self, length: float, schedule: RungSchedule, scores: dict[str, float], seconds_score: float
    ) -> RungDone:
        [peak] = self.ctx.largest([float(peak_memory_bytes(self.ctx.device))])
        broken = set(self.ctx.gather(sorted(self.broken)))
        faults = {"broken_since_indexed": len(broken)} if broken else {}
        rung = RungDone(
            trial_id=self.config.trial_id,
            length=length,
            steps=schedule.total_steps,
            metrics={
                **scores,
                "train/loss": self.trace.mean,
                "train/backbone_drift": self.live.drift(),
            },
            seconds_train=self.seconds,
            seconds_score=seconds_score,
            steps_new=schedule.total_steps - self._shared_steps(length),
            peak_memory_bytes=int(peak),
            peak_memory_of=memory_kind(self.ctx.device),
            trained_share=self.price.trained_share,
            step_flops=self.price.step_flops,
            data_faults={**self.data.faults, **faults},
            host=platform.node(),
            instruction_set=instruction_set(),
            at=time.time(),
        )
        rung = self.ctx.broadcast(rung)
        if self.ctx.is_main:
            if self.models is not None:
                content = {"model": self.live.detector.state_dict()}
                save_checkpoint(model_path(self.models, length), content)
            self.files.add_rung(rung)
        self.ctx.barrier()
        return rung

    def _save(self, length: float | None = None) -> None:
        """Keep everything as it stands: on the trunk, or on the branch of ``length``."""
        content = {
            "step": self.step,
            "seconds": self.seconds,
            "trace": self.trace.state(),
            "broken": sorted(set(self.ctx.gather(sorted(self.broken)))),
            **self.live.state(),
        }
        if self.ctx.is_main:
            if length is None:
                self.files.save_trunk(content)
            else:
                self.files.save_branch({"length": length, **content})
        self.ctx.barrier()
        self.watch.saved()

    def _load(self, content: dict[str, Any]) -> None:
        self.live.load(content)
        self.trace.load(content["trace"])
        self.step, self.seconds = content["step"], content["seconds"]
        self.broken |= set(content.get("broken", ()))
