"""How much disk a study's checkpoints and detections take, measured along a dry run.

The meter counts the files that ``checkpoints`` keeps, and those that running jobs write.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rethink_ray.protocol.cell_view import StudyView
from rethink_ray.protocol.retention import needed_by
from rethink_ray.records.types import Event, RoundProposed, RungDone, TrialEnded
from rethink_ray.search.jobs import Job
from rethink_ray.spec.assets import DetectorAsset
from rethink_ray.spec.resolve import Cell, TrialConfig

WeightCount = Callable[[TrialConfig], int]
STATES_PER_WEIGHT = {"sgd": 2, "adamw": 3}
"""Floats kept per weight in a checkpoint: the weight and its optimizer's state. ``optimizer.ema``
adds one."""
TRUNK_FILES = 2
"""Training keeps the newest trunk file and the one before it."""
DETECTION_BYTES = 24
"""One detection of a kept file, compressed, with its share of the rows of its image. Over 400 files
of six studies on shapes it was at most 23.5, and half of that on average."""
NUM_COUNTS = 400
"""How often the disk is counted in a dry run, about."""


class DiskMeter:
    """Counts the bytes of checkpoints and kept detections, now and at their most.

    Each image counts with as many detections as it may have, so their part is an upper bound.
    """

    def __init__(self, view: StudyView, count_weights: WeightCount, report_images: int) -> None:
        self.peak_bytes = 0
        self._view = view
        self._count_weights = count_weights
        self._every = max(1, len(view.searches) * view.study.budget.trials // NUM_COUNTS)
        self._num_events = 0
        self._num_jobs = 0
        self._owners: dict[str, set[Cell]] = {}
        self._changed: set[Cell] = set()
        self._kept: dict[Cell, int] = {}
        self._assets = 0
        """Bytes of detectors that trials start from: they are kept for trials yet to come."""
        self._report_images = report_images
        self._rungs = Counter[str]()
        self._detections: dict[str, int] = {}
        """Trial whose detections are kept -> bytes of them after each rung."""
        self._weights: dict[str, tuple[int, int]] = {}
        """Started trial -> bytes of one checkpoint, and of the weights alone."""

    def watch(self, event: Event, started: Sequence[Job], running: Iterable[str]) -> None:
        """Note an event that is about to be recorded; now and then count the disk.

        Args:
            event: the event.
            started: all jobs so far.
            running: ids of the jobs under way.
        """
        self._num_events += 1
        if self._num_events % self._every == 0:
            self.count(started, running)
        match event:
            case RoundProposed():
                for member in event.members:
                    self._owners.setdefault(member.trial_id, set()).add(event.cell)
                self._changed.add(event.cell)
            case RungDone() | TrialEnded():
                self._rungs[event.trial_id] += isinstance(event, RungDone)
                self._changed |= self._owners.get(event.trial_id, set())

    def count(self, started: Sequence[Job], running: Iterable[str] = ()) -> int:
        """Bytes on disk now, by the records so far.

        Args:
            started: all jobs so far.
            running: ids of the jobs under way.
        """
        for job in started[self._num_jobs :]:
            if job.asset is None:
                self._weigh(job)
            elif isinstance(job.asset, DetectorAsset):
                self._assets += 4 * self._count_weights(job.asset.trained)
        self._num_jobs = len(started)
        for cell in self._changed:
            self._kept[cell] = self._bytes_of(cell)
        self._changed = set()
        trial_ids = [job_id.rpartition("-")[0] for job_id in running]
        written = sum(2 * self._weights[t][0] for t in trial_ids if t in self._weights)
        detections = sum(size * self._rungs[trial] for trial, size in self._detections.items())
        total = sum(self._kept.values()) + self._assets + detections + written
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def _weigh(self, job: Job) -> None:
        trial_id, config = job.trial
        if trial_id not in self._weights:
            weights = 4 * self._count_weights(config)
            optimizer = config.recipe.optimizer
            states = STATES_PER_WEIGHT[optimizer.name] + (optimizer.ema is not None)
            self._weights[trial_id] = (weights * states, weights)
        if job.detections is not None:
            most = self._report_images * config.recipe.detector.detections
            self._detections[trial_id] = DETECTION_BYTES * most
        self._changed |= self._owners.get(trial_id, set())

    def _bytes_of(self, cell: Cell) -> int:
        needed = needed_by(self._view.cell(cell))
        trunks = sum(TRUNK_FILES * self._weights.get(t, (0, 0))[0] for t in needed.trunks)
        return trunks + sum(self._weights.get(t, (0, 0))[1] for t, _ in needed.models)
