"""How many hours a study takes, or still takes: its real decisions on a clock of paces.

Scores are made up, so which trials win is, too. Durations vary as the paces say, and a round waits
for its slowest trial, as on a cluster.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rethink_ray.protocol.cell_rules import may_end_early, with_whole_ladders
from rethink_ray.protocol.looks import sequential_axis
from rethink_ray.records.run_progress import HoursRange
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, RungDone, TrialEnded
from rethink_ray.search.costs import new_steps
from rethink_ray.search.jobs import Job
from rethink_ray.search.looks import LookTaker, pretend_all_decided, pretend_none_decided
from rethink_ray.search.measured_paces import asset_pace_key, count_scored_images
from rethink_ray.search.paces import Pace, Paces, pace_of
from rethink_ray.search.plan import pretend_metrics, pretend_no_gain
from rethink_ray.search.simulate import JobAnswer, SimulatedCluster
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import digest_of, seed_of
from rethink_ray.spec.resolve import TrialConfig, cells_of
from rethink_ray.spec.study import Study

SECONDS_BETWEEN_JOBS = 0.35
"""From the end of a job to the start of the next one in the same process (measured)."""
SECONDS_TO_START_RAY = 15.0
"""From the command to the first job: Ray starts, and each slot imports torch (measured)."""
DAY_SPREAD = 0.1
"""Standard deviation of the logarithm of a machine's pace from one day to another."""
ONE_IN_TEN = 1.2816
"""Standard deviations to the value that one in ten exceeds."""
NUM_DRAWS = 3
"""Simulated studies of which the mean is taken, while chance does not average out inside one."""
MANY_JOBS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class CellHours:
    """What one cell still takes."""

    cell: str
    """``regime/arm``."""
    slot_hours: float
    """Of its jobs, assets included."""
    ready_after: float
    """Hours from now until its last job has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a study still takes, cell by cell."""

    hours: HoursRange
    cells: tuple[CellHours, ...]
    """Cells with jobs left, in the order in which they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything that a forecast depends on."""

    study: Study
    facts: DataFacts
    paces: Paces
    slots: int = 1
    state: StudyState | None = None
    """The records so far; None: the study has not begun."""
    worked: Mapping[str, float] | None = None
    """Running job -> seconds for which a slot has worked on its next rung."""


def estimate_hours(
    study: Study,
    facts: DataFacts,
    paces: Paces,
    *,
    slots: int = 1,
    state: StudyState | None = None,
) -> HoursRange:
    """Hours that a study takes from its beginning, or from its records on.

    Args:
        study: the study.
        facts: facts of its data set.
        paces: how fast its arms work while ``slots`` jobs run side by side.
        slots: jobs at a time.
        state: its records; None: it has not begun.

    Raises:
        SpecError: an arm has no pace.
    """
    return forecast(Outlook(study=study, facts=facts, paces=paces, slots=slots, state=state)).hours


def forecast(outlook: Outlook) -> Forecast:
    """The hours of a study, and when each of its cells is ready.

    ``expected`` is the mean of ``NUM_DRAWS`` simulated studies, or one of many jobs. For ``low``
    one configuration is the best at all lengths of a cell and rounds end as early as they may. For
    ``high`` any configuration may be the best at a length, and all ladders are whole. Where
    replicates wait for a decision, all looks to come decide nothing (``high``) or the next one
    decides everything (``low``), and ``expected`` is half way. Both allow for a machine that works
    at another pace today.

    Raises:
        SpecError: an arm has no pace.
    """
    _require_paces(outlook)
    whole = with_whole_ladders(outlook.study)
    runs = [_simulate(outlook, whole, pretend_metrics, 0)]
    if len(runs[0].cluster.started) < MANY_JOBS:
        runs += [_simulate(outlook, whole, pretend_metrics, n) for n in range(1, NUM_DRAWS)]
    most = least = expected = _mean_hours(runs)
    if sequential_axis(outlook.study):
        least = _mean_hours([_simulate(outlook, whole, pretend_metrics, 0, pretend_all_decided)])
        expected = (least + most) / 2
    if outlook.study.budget.num_replicates and len(runs[0].lengths) > 1:
        least = _mean_hours([_simulate(outlook, whole, _pretend_one_best, 0, pretend_all_decided)])
        most = _mean_hours([_simulate(outlook, whole, _pretend_many_best, 0)])
    if may_end_early(outlook.study):
        run = _simulate(outlook, outlook.study, pretend_no_gain, 0, pretend_all_decided)
        least = _mean_hours([run])
    factor = math.exp(ONE_IN_TEN * _day_spread(outlook.paces))
    hours = HoursRange(
        low=min(least, expected) / factor, expected=expected, high=max(most, expected) * factor
    )
    return Forecast(hours=hours, cells=runs[0].cells())


def _require_paces(outlook: Outlook) -> None:
    missing = dict.fromkeys(
        cell.arm
        for cell in cells_of(outlook.study)
        if pace_of(outlook.paces, cell.regime, cell.arm) is None
    )
    if missing:
        arms = ", ".join(outlook.paces)
        must = f"must have a pace for {', '.join(missing)}, or one for any arm"
        remedy = 'Measure it on that machine, or add the arm "", which stands for any other.'
        raise SpecError(explain("the paces", must, arms or "none", remedy))


def _day_spread(paces: Paces) -> float:
    """A machine whose jobs differ much also differs from day to day: by half of that."""
    spreads = sorted(pace.spread for pace in paces.values())
    return max(DAY_SPREAD, spreads[len(spreads) // 2] / 2)


def _mean_hours(runs: "list[_Run]") -> float:
    return sum(run.hours for run in runs) / len(runs)


def _simulate(
    outlook: Outlook,
    study: Study,
    answer: JobAnswer,
    seed: int,
    look_taker: LookTaker = pretend_none_decided,
) -> "_Run":
    run = _Run(outlook, study, answer, seed, look_taker)
    run.cluster.run()
    return run


class _Run:
    """One simulated run of what is left of a study."""

    def __init__(
        self, outlook: Outlook, study: Study, answer: JobAnswer, seed: int, look_taker: LookTaker
    ) -> None:
        state = StudyState() if outlook.state is None else outlook.state.copy()
        # Counts do not depend on the sampler; Sobol points cost no model.
        sobol = study.model_copy(update={"sampler": "quasi_random"})
        self._outlook = outlook
        times = JobTimes(study=sobol, facts=outlook.facts, paces=outlook.paces, state=state)
        self._duration = _noisy(times, np.random.default_rng(seed), outlook.worked or {})
        self.cluster = SimulatedCluster(
            sobol,
            outlook.facts,
            answer,
            slots=max(1, outlook.slots),
            duration=self._duration_of,
            state=state,
            look_taker=look_taker,
        )
        self.cluster.watch = self._note_end
        self._seconds: dict[str, float] = {}
        """Cell -> seconds of its jobs."""
        self._ends: dict[str, float] = {}
        """Cell -> time at which its latest job ended."""
        self._cell_of: dict[str, str] = {}
        """Trial id, or key of an asset -> the cell that its job is for."""
        self.lengths: set[float] = set()

    def _duration_of(self, job: Job, length: float) -> float:
        seconds = self._duration(job, length)
        self._seconds[job.cell] = self._seconds.get(job.cell, 0.0) + seconds
        self._cell_of[job.asset.key if job.asset else job.trial[0]] = job.cell
        self.lengths |= {length} if job.asset is None else set()
        return seconds

    def _note_end(self, event: Event) -> None:
        if isinstance(event, RungDone | TrialEnded) and event.trial_id in self._cell_of:
            self._ends[self._cell_of[event.trial_id]] = self.cluster.makespan

    @property
    def hours(self) -> float:
        """From the command to the last result; 0 if nothing was left to run."""
        starting = SECONDS_TO_START_RAY if self._seconds and not self._outlook.worked else 0.0
        return (self.cluster.makespan + starting) / 3600

    def cells(self) -> tuple[CellHours, ...]:
        """Cells with jobs left, in the order in which they end."""
        cells = [
            CellHours(
                cell=cell,
                slot_hours=self._seconds[cell] / 3600,
                ready_after=end / 3600,
            )
            for cell, end in self._ends.items()
        ]
        return tuple(sorted(cells, key=lambda cell: cell.ready_after))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimes:
    """How long the rungs and assets of a study take, as its paces say."""

    study: Study
    facts: DataFacts
    paces: Paces
    state: StudyState
    """Rungs that are done shorten the next one: its trunk begins where theirs ends."""

    def pace(self, job: Job) -> Pace | None:
        """The pace of a job: its asset's, its cell's or its arm's; None: nothing is known."""
        if job.asset is not None:
            known = self.paces.get(asset_pace_key(job.asset.kind))
            if known is not None:
                return known
        regime, arm, *_ = job.cell.split("/")
        return pace_of(self.paces, regime, arm)

    def seconds(self, job: Job, length: float) -> float | None:
        """Expected seconds of one rung, or of an asset (any length); None: no pace is known."""
        pace = self.pace(job)
        if pace is None:
            return None
        if job.asset is not None:
            return pace.seconds_to_start + job.asset.steps * pace.seconds_per_update
        trial_id, config = job.trial
        schedule = config.recipe.schedule
        done = {x for x in job.lengths if x < length}
        done |= set(self.state.lengths_done(trial_id, schedule.lengths))
        steps = new_steps(schedule, length, sorted(done))
        images = count_scored_images(
            self.study,
            self.facts,
            config.regime,
            "replicate" if job.purpose == "replicate" else "search",
        )
        seconds = steps * pace.seconds_per_update + images * pace.seconds_per_scored_image
        if length == job.lengths[0]:
            seconds += pace.seconds_to_start
        return seconds

    def job_seconds(self, job: Job) -> float | None:
        """Expected seconds of a whole job; None: no pace is known."""
        if job.asset is not None:
            return self.seconds(job, 0.0)
        parts = [self.seconds(job, length) for length in job.lengths]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def _noisy(
    times: JobTimes, rng: np.random.Generator, worked: Mapping[str, float]
) -> Callable[[Job, float], float]:
    """Durations that vary around the expected ones by the spread of their pace; their mean stays.

    What a running job has worked already is taken off its next rung, once.
    """
    left = dict(worked)

    def duration(job: Job, length: float) -> float:
        pace, seconds = times.pace(job), times.seconds(job, length)
        assert pace is not None, "paces were checked before"
        assert seconds is not None, "paces were checked before"
        noise = pace.spread * float(rng.standard_normal()) - pace.spread**2 / 2
        seconds = max(0.0, seconds * math.exp(noise) - left.pop(job.job_id, 0.0))
        is_first = job.asset is not None or length == job.lengths[0]
        return seconds + (SECONDS_BETWEEN_JOBS if is_first else 0.0)

    return duration


def _pretend_one_best(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP that ranks configurations alike at all lengths."""
    return _scored(config, 20.0 + length + _luck(config, ""))


def _pretend_many_best(config: TrialConfig, length: float) -> dict[str, float]:
    """A made-up AP that ranks configurations anew at each length."""
    return _scored(config, 20.0 + length + _luck(config, f"{length:g}"))


def _luck(config: TrialConfig, name: str) -> float:
    recipe = config.recipe.model_dump(mode="json", exclude={"schedule"})
    return seed_of(digest_of(recipe), name) / 2**31


def _scored(config: TrialConfig, ap: float) -> dict[str, float]:
    splits = {config.data.select_split, config.data.report_split}
    return {f"{split}/{config.objective.metric}": ap for split in sorted(splits)}
