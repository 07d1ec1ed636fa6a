"""One training run as users of Ray Tune write it: one schedule, scored after every 1x.

It trains with this program's detectors, data and updates, and shares nothing with another run.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.spec.resolve import TrialConfig

if TYPE_CHECKING:
    from rethink_ray.training.machinery import Machinery
    from rethink_ray.training.worker_context import WorkerContext


class PlainRun:
    """One configuration, trained for one length."""

    def __init__(self, config: TrialConfig, length: float, assets: Path, folder: Path) -> None:
        """``assets``: of the study that built them. ``folder``: for the files of the run."""
        self.config = config
        self.length = length
        self._assets = assets
        self._folder = folder

    @cached_property
    def _context(self) -> "WorkerContext":
        from rethink_ray.training.worker_context import WorkerContext

        return WorkerContext.local(self.config)

    @cached_property
    def _machinery(self) -> "Machinery":
        from rethink_ray.training.machinery import Machinery
        from rethink_ray.training.trial_files import RunFolders

        folders = RunFolders(trial=self._folder, assets=self._assets)
        return Machinery(self.config, folders, self._context)

    def train(self) -> Iterator[float]:
        """Trains to the end; yields the length trained so far after every 1x.

        Raises:
            Diverged: a loss is not a finite number.
        """
        from rethink_ray.training.schedule import schedule_of

        schedule = schedule_of(self.config.recipe.schedule, self.length)
        batches = self._machinery.data.batches(0, self._context)
        unit = self.config.recipe.schedule.unit
        for step in range(schedule.total_steps):
            self._machinery.update(step, schedule, batches)
            if (step + 1) % unit == 0:
                yield float((step + 1) // unit)

    def score(self, split: str) -> float:
        """The score of the run as it is now, on one split."""
        from rethink_ray.training.evaluate import score_split

        live, metric = self._machinery.live, self.config.objective.metric
        with live.scored_weights():
            scores = score_split(live.detector, self.config, split, self._context)
        return scores[f"{split}/{metric}"]
