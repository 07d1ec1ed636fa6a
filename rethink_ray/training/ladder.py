"""One run: ``train_ladder`` trains one configuration for several schedule lengths.

A *rung* is the finished result of one length. All lengths share the beginning of their training.
For lengths 2x, 3x and 6x the run trains at a constant rate (the trunk) up to where 2x begins its
decay and writes a trunk file. It trains the decay of 2x (the branch), scores the result and yields
the rung. Then it loads the trunk file and trains on to where 3x begins its decay, and so on.

Random numbers depend on the seed and on the number of the update, never on what ran before. So a
branch equals a stand-alone run of its length, and a resumed run an uninterrupted one, bit for bit
(on one CPU instruction set, one torch build and one thread count).
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from rethink_ray.records.detections import file_name
from rethink_ray.records.types import RungDone
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.background_writer import BackgroundWriter, copy_to_host
from rethink_ray.training.checkpoint import save_checkpoint, sweep
from rethink_ray.training.effective import instruction_set
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.gpus import describe_gpu
from rethink_ray.training.losses import require_finite
from rethink_ray.training.machinery import Machinery
from rethink_ray.training.memory import measure_peak_memory, start_counting
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.position import Position
from rethink_ray.training.price import memory_kind
from rethink_ray.training.stopping import UNINTERRUPTED, Interrupts, Stopped, Watch
from rethink_ray.training.trial_files import RunFolders, model_path
from rethink_ray.training.worker_context import WorkerContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is, for people who watch it."""

    trial_id: str
    length: float
    """The rung under way, in units of 1x."""
    on_branch: bool
    """Whether the run has left the trunk, for the decay of this rung."""
    step: int
    """Number of the update that was just made, from 0."""
    total_steps: int
    """Updates in a run of this length."""
    loss: float
    """The newest loss that was read: on a GPU that of an earlier update."""


def train_ladder(
    config: TrialConfig,
    lengths: Sequence[float],
    folders: RunFolders,
    *,
    splits: Sequence[str],
    ctx: WorkerContext | None = None,
    interrupts: Interrupts = UNINTERRUPTED,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[RungDone]:
    """Yields each rung when it is finished. A rung that was finished before is not trained again.

    Example: ``for rung in train_ladder(config, (2.0, 3.0), folders, splits=("val",)): ...`` yields
    the rung of 2x, then that of 3x. The caller may stop in between.

    Args:
        config: the trial.
        lengths: the rungs to finish, rising, in units of 1x.
        folders: the trial's folder, whose checkpoints the run resumes from; the assets' folder; and
            where weights and detections of finished rungs are kept, if they are kept.
        splits: each rung is scored on these.
        ctx: this process, as one of the workers that train the run together; by default it is the
            only one.
        interrupts: when to stop, and how often to write a checkpoint.
        progress: called after every update, on each worker.

    Raises:
        Diverged: a loss or a weight stopped being a finite number.
        Infeasible: the method does not fit the device's memory.
        Misconfigured: the model, optimizer or data that were built differ from the recipe.
        DamagedAsset: an asset must be built again first (``repair`` does that).
        Stopped: ``interrupts.stop`` turned true; a checkpoint was written.
    """
    ctx = ctx or WorkerContext.local(config)
    if ctx.is_main:
        sweep(folders.trial)
    ladder = _LadderRun(
        config=config,
        machinery=Machinery(config, folders, ctx),
        position=Position(schedule=config.recipe.schedule, lengths=tuple(lengths)),
        watch=Watch(ctx=ctx, interrupts=interrupts),
        splits=tuple(splits),
        progress=progress,
    )
    with one_outcome(config, ctx):
        yield from ladder.finish_rungs()


@dataclass(frozen=True, slots=True, kw_only=True)
class _LadderRun:
    """One call of ``train_ladder``: the machinery trains, and the position says how far it is."""

    config: TrialConfig
    machinery: Machinery
    position: Position
    watch: Watch
    splits: tuple[str, ...]
    progress: Callable[[Progress], None] | None
    writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    """Writes the checkpoints of rank 0."""

    @property
    def ctx(self) -> WorkerContext:
        return self.machinery.ctx

    @property
    def folders(self) -> RunFolders:
        return self.machinery.folders

    def finish_rungs(self) -> Iterator[RungDone]:
        """Every rung of ``position.lengths``, in order."""
        start_counting(self.ctx.device)
        try:
            for length in self.position.lengths:
                finished = self.ctx.broadcast(self._load_finished(length))
                yield finished or self._train_and_score(length)
        finally:
            self.writer.close()

    def _load_finished(self, length: float) -> RungDone | None:
        """The rung of an earlier job, if it has every score and file that this one needs."""
        rung = self.machinery.files.rung(length)
        if rung is None or not all(f"{split}/ap" in rung.metrics for split in self.splits):
            return None
        models = self.folders.models
        has_weights = models is None or model_path(models, rung.length).exists()
        return rung if has_weights else None

    def _train_and_score(self, length: float) -> RungDone:
        """Train what is missing of trunk and branch, then score and record the rung."""
        position, machinery = self.position, self.machinery
        self._go_to_start(length)
        schedule = position.rung
        if not position.on_branch:
            self._train_until(schedule.branch_at)
            self._save()
            position.on_branch = True
            machinery.trace.start_branch()
        self._train_until(schedule.total_steps)
        if not machinery.live.is_finite():  # a weight: it ends the run as a loss would
            require_finite(float("nan"), schedule.total_steps - 1)
        started = time.perf_counter()
        scores = self._score()
        return self._record(scores, seconds_score=time.perf_counter() - started)

    def _go_to_start(self, length: float) -> None:
        """Load the checkpoint from which this rung is trained.

        It is the rung's branch file, if an earlier job was stopped on the branch. Otherwise it is
        the newest trunk file that has not passed the branch point, or there is none and training
        begins at update 0.
        """
        position, machinery = self.position, self.machinery
        position.length = length
        branch = machinery.files.branch(length)
        content = branch or machinery.files.trunk_at_most(position.rung.branch_at)
        position.on_branch = branch is not None
        machinery.require_one_start(position.on_branch, content)
        if content is None:
            machinery.restart()
            position.restart()
        else:
            machinery.load(content)
            position.resume(content["step"], content["seconds"])

    def _train_until(self, end: int) -> None:
        """Make every update from here up to, not including, the one numbered ``end``."""
        position, machinery = self.position, self.machinery
        if position.step >= end:
            return
        _ = machinery.price  # measured here, so that training time does not include it
        schedule = position.rung
        self._prepare_loading()
        started, seconds_before = time.perf_counter(), position.seconds_train
        batches = machinery.data.batches(position.step, self.ctx)
        for step in range(position.step, end):
            position.step = step
            self.writer.raise_error()
            stop, save = self.watch.check()
            if save:
                position.seconds_train = seconds_before + time.perf_counter() - started
                self._save()
            if stop:
                self._stop(f"stands at update {step} of {position.length:g}x")
            machinery.update(step, schedule, batches)
            self._show_progress(step)
        position.step = end
        machinery.trace.read_losses()
        position.seconds_train = seconds_before + time.perf_counter() - started

    def _show_progress(self, step: int) -> None:
        if self.progress is not None:
            self.progress(
                Progress(
                    trial_id=self.config.trial_id,
                    length=self.position.length,
                    on_branch=self.position.on_branch,
                    step=step,
                    total_steps=self.position.rung.total_steps,
                    loss=self.machinery.trace.last,
                )
            )

    def _score(self) -> dict[str, float]:
        """Metric -> value, over all splits.

        If a checkpoint is due it is written first, so that a stop while scoring loses no training.
        """
        stop, save = self.watch.check_now()
        if save:
            self._save()
        if stop:
            self._stop(f"is to be scored at {self.position.length:g}x")
        live = self.machinery.live
        self._prepare_loading()
        self.ctx.broadcast_buffers(live.detector)
        scores: dict[str, float] = {}
        try:
            with live.scored_weights():
                for split in self.splits:
                    scores |= score_split(
                        live.detector,
                        self.config,
                        split,
                        self.ctx,
                        stop=self.watch.interrupts.stop,
                        detections=self._detections_file(split),
                    )
        except Stopped:
            self._save()
            self._finish_writing()
            raise
        return scores

    def _detections_file(self, split: str) -> Path | None:
        """The file for the detections of a split; None except for the split of the findings."""
        folder = self.folders.detections
        if folder is None or split != self.config.data.report_split:
            return None
        return folder / file_name(self.position.length)

    def _record(self, scores: dict[str, float], seconds_score: float) -> RungDone:
        """The finished rung, which is in the trial's folder when this returns."""
        rung = self.ctx.broadcast(self._describe(scores, seconds_score))
        machinery = self.machinery
        self.writer.finish()
        if self.ctx.is_main:
            if self.folders.models is not None:
                with machinery.live.scored_weights():
                    content = {
                        "model": machinery.live.detector.state_dict(),
                        "categories": list(machinery.data.index.categories),
                        "keypoints": list(machinery.data.index.keypoint_names),
                    }
                    save_checkpoint(model_path(self.folders.models, rung.length), content)
            machinery.files.add_rung(rung)
        self.ctx.barrier()
        return rung

    def _describe(self, scores: dict[str, float], seconds_score: float) -> RungDone:
        """The finished rung with its scores, costs and machine."""
        position, machinery = self.position, self.machinery
        device = self.ctx.device
        [peak_memory_bytes] = self.ctx.largest([float(measure_peak_memory(device))])
        total_steps = position.rung.total_steps
        return RungDone(
            trial_id=self.config.trial_id,
            length=position.length,
            steps=total_steps,
            metrics={
                **scores,
                "train/loss": machinery.trace.mean,
                "train/backbone_drift": machinery.live.drift(),
            },
            seconds_train=position.seconds_train,
            seconds_score=seconds_score,
            steps_new=total_steps - position.shared_steps,
            peak_memory_bytes=int(peak_memory_bytes),
            peak_memory_of=memory_kind(device),
            trained_share=machinery.price.trained_share,
            step_flops=machinery.price.mean_step_flops(total_steps),
            data_faults=machinery.count_met_faults(self.splits),
            host=platform.node(),
            instruction_set=instruction_set(),
            gpu=describe_gpu(device),
            at=time.time(),
        )

    def _save(self) -> None:
        """Have a checkpoint of the position written: the branch file of the rung, or a trunk file.

        A thread of rank 0 writes a copy, while all workers go on. The file is complete before it is
        read, and before the run ends.
        """
        position, files = self.position, self.machinery.files
        content = {
            "step": position.step,
            "seconds": position.seconds_train,
            **self.machinery.state(),
        }
        if self.ctx.is_main:
            if position.on_branch:
                content["length"] = position.length
            save = files.save_branch if position.on_branch else files.save_trunk
            self.writer.start(partial(save, copy_to_host(content)))
        self.watch.note_saved()

    def _prepare_loading(self) -> None:
        """Nothing is written while loader processes are forked: they would inherit held locks."""
        if self.config.resources.loader_workers:
            self.writer.finish()

    def _finish_writing(self) -> None:
        """Return, on all workers, when the newest checkpoint is on the disk."""
        self.writer.finish()
        self.ctx.barrier()

    def _stop(self, how_far: str) -> NoReturn:
        """End the run; its checkpoint was begun and is on the disk when this raises."""
        self._finish_writing()
        raise Stopped(f"{self.config.trial_id} {how_far}")
