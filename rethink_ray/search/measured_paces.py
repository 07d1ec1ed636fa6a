"""The paces at which a study has run so far, from its own records.

Each rung records its updates and their seconds, each job its start. What lies between them and
belongs to no update is the time that a job takes to start.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Purpose, RungDone
from rethink_ray.search.jobs import splits_to_score
from rethink_ray.search.paces import ANY_ARM, ONE_MEASUREMENT_SPREAD, Pace, Paces
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import Cell
from rethink_ray.spec.study import Study

FEW_RUNGS = 3
"""Fewer measured rungs have no spread of their own."""
LEAST_SPREAD = 0.03


@dataclass(slots=True)
class _Sums:
    """What was measured under one key."""

    updates: int = 0
    train_seconds: float = 0.0
    images: int = 0
    score_seconds: float = 0.0
    jobs: int = 0
    start_seconds: float = 0.0
    rungs: int = 0
    logs: float = 0.0
    """Sum of the logarithms of the rungs' seconds per update."""
    squared_logs: float = 0.0

    def pace(self) -> Pace:
        """The mean of each part, and the spread of the rungs."""
        return Pace(
            seconds_per_update=self.train_seconds / max(self.updates, 1),
            seconds_per_scored_image=self.score_seconds / max(self.images, 1),
            seconds_to_start=self.start_seconds / max(self.jobs, 1),
            spread=self._spread(),
        )

    def _spread(self) -> float:
        if self.rungs < FEW_RUNGS:
            return ONE_MEASUREMENT_SPREAD
        mean = self.logs / self.rungs
        variance = (self.squared_logs - self.rungs * mean**2) / (self.rungs - 1)
        return max(LEAST_SPREAD, math.sqrt(max(variance, 0.0)))


class PaceMeter:
    """Measures the paces of one study; a rung is read once."""

    def __init__(self, study: Study, facts: DataFacts) -> None:
        self._study = study
        self._facts = facts
        self._paces: Paces = {}
        self._forget()

    def paces(self, state: StudyState) -> Paces:
        """The paces of every cell and arm that has a finished rung, of any arm, and of assets."""
        if len(state.rungs) < self._num_rungs or len(state.assets) < self._num_assets:
            self._forget()
        if (len(state.rungs), len(state.assets)) != (self._num_rungs, self._num_assets):
            self._read_rungs(state)
            self._read_assets(state)
            self._paces = {key: sums.pace() for key, sums in self._sums.items()}
        return self._paces

    def _forget(self) -> None:
        self._sums: dict[str, _Sums] = defaultdict(_Sums)
        self._lengths: set[float] = set()
        self._num_rungs = self._num_assets = 0
        self._paces = {}

    def _read_rungs(self, state: StudyState) -> None:
        owners = dict(_owners(state))
        self._lengths |= {length for _, length in islice(state.rungs, self._num_rungs, None)}
        for (trial_id, _), rung in islice(state.rungs.items(), self._num_rungs, None):
            if trial_id in owners:
                self._add_rung(state, rung, *owners[trial_id])
        self._num_rungs = len(state.rungs)

    def _add_rung(self, state: StudyState, rung: RungDone, cell: Cell, purpose: Purpose) -> None:
        images = count_scored_images(self._study, self._facts, cell.regime, purpose)
        start = self._seconds_to_start(state, rung)
        for key in (f"{cell.regime}/{cell.arm}", cell.arm, ANY_ARM):
            sums = self._sums[key]
            sums.images += images
            sums.score_seconds += rung.seconds_score
            if start is not None:
                sums.jobs += 1
                sums.start_seconds += start
            if rung.steps_new and rung.seconds_train > 0.0:
                log = math.log(rung.seconds_train / rung.steps_new)
                sums.updates += rung.steps_new
                sums.train_seconds += rung.seconds_train
                sums.rungs += 1
                sums.logs += log
                sums.squared_logs += log**2

    def _seconds_to_start(self, state: StudyState, last: RungDone) -> float | None:
        """Seconds of the job that ended with this rung that were no update and no scoring.

        None if the rung ends no job, or if the job went on from what an earlier attempt had done.
        """
        start = state.started.get(f"{last.trial_id}-{last.length:g}x")
        if start is None or not start.at or last.at <= start.at:
            return None
        done = state.lengths_done(last.trial_id, self._lengths)
        rungs = [state.rungs[last.trial_id, length] for length in done if length <= last.length]
        working = sum(r.seconds_train + r.seconds_score for r in rungs if r.at > start.at)
        rest = last.at - start.at - working
        return rest if rest >= 0.0 else None

    def _read_assets(self, state: StudyState) -> None:
        """An asset's seconds are known as a whole, so they count as time to start."""
        for asset in islice(state.assets.values(), self._num_assets, None):
            sums = self._sums[asset_pace_key(asset.kind)]
            sums.jobs += 1
            sums.start_seconds += asset.seconds
        self._num_assets = len(state.assets)


def asset_pace_key(kind: str) -> str:
    """The key of an asset's pace among ``Paces``."""
    return f"asset {kind}"


def count_scored_images(study: Study, facts: DataFacts, regime: str, purpose: Purpose) -> int:
    """Images that a rung of this purpose is scored on, all splits together."""
    sizes = dict(facts.split_sizes)
    if regime in facts.holdout_sizes:
        sizes["holdout"] = facts.holdout_sizes[regime]
    return sum(sizes.get(split, 0) for split in splits_to_score(study, purpose))


def _owners(state: StudyState) -> Iterator[tuple[str, tuple[Cell, Purpose]]]:
    """Trial id -> the cell and purpose that proposed it."""
    for (cell, purpose), rounds in state.rounds.items():
        for proposed in rounds.values():
            for member in proposed.members:
                yield member.trial_id, (cell, purpose)
