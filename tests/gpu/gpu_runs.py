"""Runs on the CPU and on a pretended GPU, and what the second one made the host wait for."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rethink_ray.records.types import RungDone
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.ladder import Progress
from rethink_ray.training.stopping import Stopped
from tests.gpu.cuda_tensors import Waits
from tests.gpu.pretended_gpu import pretend_gpu
from tests.training.runs import climb, stop_after

EVERY = 6
"""A run is stopped before each sixth update, on the trunk and on the branch."""


@dataclass
class UpdateWaits:
    """The waits of the update with most of them, from one update's end to the next one's.

    Each job's first update is left out, because it also compares settings with the recipe.
    """

    waits: Waits
    most: Counter[str] = field(default_factory=Counter)
    before: tuple[float, bool, int] | None = None
    """Rung, whether it had left the trunk, and number of the update before."""

    def __call__(self, progress: Progress) -> None:
        of_update = self.waits.by_line()
        self.waits.forget()
        part = (progress.length, progress.on_branch)
        if self.before == (*part, progress.step - 1) and of_update.total() > self.most.total():
            self.most = of_update
        self.before = (*part, progress.step)

    def start_job(self) -> None:
        self.before = None


def on_gpu(config: TrialConfig) -> TrialConfig:
    """The same run with a GPU for each worker; its teacher has one, too."""
    resources = config.resources.model_copy(update={"gpus_per_worker": 1.0})
    update: dict[str, Any] = {"resources": resources}
    if config.teacher is not None:
        update["teacher"] = on_gpu(config.teacher)
    return config.model_copy(update=update)


def climb_on_gpu(
    config: TrialConfig, folder: Path, lengths: Sequence[float], **options: Any
) -> tuple[list[RungDone], Counter[str]]:
    """The rungs of a run that is stopped again and again, and the waits of its worst update."""
    with pretend_gpu() as waits:
        counter = UpdateWaits(waits)
        for _ in range(100):
            counter.start_job()
            try:
                rungs = climb(
                    config,
                    folder,
                    lengths,
                    stop=stop_after(EVERY),
                    progress=counter,
                    save_seconds=math.inf,  # a checkpoint in between would count as waits
                    **options,
                )
                return rungs, counter.most
            except Stopped:
                continue
    raise AssertionError("it never gets through")
