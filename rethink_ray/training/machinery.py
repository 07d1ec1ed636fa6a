"""What a run trains with: the model and its optimizer, the losses, the images and the files."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rethink_ray.data.fault_shares import count_split_faults
from rethink_ray.data.loader import TrainBatches
from rethink_ray.spec.errors import RecordError, explain
from rethink_ray.spec.fault_kinds import BROKEN_SINCE_INDEXED
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import write_json
from rethink_ray.training.effective import describe, read_back, require_recipe_values
from rethink_ray.training.effective_labels import read_joint, read_labels
from rethink_ray.training.inputs import TrialData, open_trial_data
from rethink_ray.training.live import Live
from rethink_ray.training.losses import LossTrace
from rethink_ray.training.price import Price, measure_price
from rethink_ray.training.schedule import RungSchedule, lr_at
from rethink_ray.training.starting import load_start, locate_labels
from rethink_ray.training.trial_files import RunFolders, TrialFiles
from rethink_ray.training.worker_context import WorkerContext


class Machinery:
    """Everything of one run that is expensive to build. Each part is built when it is first needed.

    So nothing is built for a run whose rungs were all finished by an earlier job.
    """

    def __init__(self, config: TrialConfig, folders: RunFolders, ctx: WorkerContext) -> None:
        self.config = config
        self.folders = folders
        self.ctx = ctx
        self.files = TrialFiles(folders.trial, config.trial_id)
        self.broken_images: set[int] = set()
        """Ids of images that this worker could not read, though they were whole when indexed."""
        self._live: Live | None = None
        self._trace: LossTrace | None = None
        self._checked_phase: bool | None = None
        """``Live.is_unfrozen`` when the settings were compared; ``None``: they were not yet."""

    @property
    def live(self) -> Live:
        """The detector and its optimizer; until an update or a checkpoint changes them, they are as
        seed and assets make them."""
        if self._live is None:
            config = self.config
            start = load_start(config, self.folders.assets, self.ctx)
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
        """The losses so far."""
        if self._trace is None:
            self._trace = LossTrace(self.ctx)
        return self._trace

    @cached_property
    def data(self) -> TrialData:
        """The images and labels that the run learns from."""
        labels = locate_labels(self.config, self.folders.assets, self.ctx)
        return open_trial_data(self.config, labels)

    @cached_property
    def price(self) -> Price:
        """What an update costs; measured once."""
        return measure_price(self.live)

    def restart(self) -> None:
        """Drop model, optimizer and losses, so that they are built anew for update 0."""
        self._live = self._trace = None

    def update(self, step: int, schedule: RungSchedule, batches: TrainBatches) -> None:
        """Make one update with the next batch; the first one of a phase checks the settings.

        Raises:
            Diverged: a loss is not a finite number.
            Misconfigured: the model, optimizer or data that were built differ from the recipe.
        """
        images, targets = next(batches)
        self.broken_images |= batches.broken
        self.live.unfreeze_if_due(step)
        self._check_once(schedule, batches, len(images))
        loss = self.live.update(
            images,
            targets,
            rate=lr_at(schedule, self.config.recipe.optimizer.lr, step),
            step=step,
            classified=self.data.classification_batch(step, self.ctx),
        )
        self.trace.add(step, loss)

    def _check_once(self, schedule: RungSchedule, batches: TrainBatches, num_images: int) -> None:
        """Compare the settings of model, optimizer and batch with the recipe.

        This happens once, and once more when frozen parts begin to train. ``effective.json`` then
        lists them.
        """
        if self._checked_phase == self.live.is_unfrozen:
            return
        settings = read_back(self.live, schedule, batches, num_images)
        settings |= read_labels(self.live, batches, self.data.pseudo, settings)
        settings |= read_joint(self.live, self.data.joint)
        require_recipe_values(self.config.recipe, settings)
        if self.ctx.is_main:
            summary = describe(self.live, settings, batches, self.price)
            path = self.files.directory / "effective.json"
            write_json(path, {"trial_id": self.config.trial_id, **summary})
        self._checked_phase = self.live.is_unfrozen

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint: everything that updates change, the same on all workers."""
        return {
            "trace": self.trace.state(),
            "broken": self.all_broken_images(),
            **self.live.state(),
        }

    def load(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.live.load(content)
        self.trace.load(content["trace"])
        self.broken_images |= set(content.get("broken", ()))

    def all_broken_images(self) -> list[int]:
        """Ids of images that at least one worker could not read."""
        return sorted(set(self.ctx.gather(sorted(self.broken_images))))

    def count_met_faults(self, splits: Sequence[str]) -> dict[str, int]:
        """``<split>/<kind>`` -> count: faults in the images that the run learns or is scored on.

        ``unlabelled`` is among the splits if a teacher labelled its images for this run.
        """
        faults = {"train": dict(self.data.faults)}
        if broken := self.all_broken_images():
            faults["train"][BROKEN_SINCE_INDEXED] = len(broken)
        labels = self.config.recipe.labels
        pools = (
            ["unlabelled"] if labels.kind == "self_training" and labels.pool == "unlabelled" else []
        )
        for split in (*splits, *pools):
            faults.setdefault(split, count_split_faults(self.config.data, split))
        return {
            f"{split}/{kind}": count
            for split, counts in faults.items()
            for kind, count in counts.items()
        }

    def require_one_start(self, on_branch: bool, content: dict[str, Any] | None) -> None:
        """Check that all workers start from the same checkpoint.

        Raises:
            RecordError: they do not, as happens if their nodes share no file system.
        """
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
