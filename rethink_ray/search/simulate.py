"""A simulated cluster: real decisions, with scores from a function and a clock of its own.

``plan``, tests and benchmarks use it. Jobs on the slots end in the order of their made-up
durations, one rung at a time.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import AssetDone, Event, Outcome, RungDone, TrialEnded
from rethink_ray.search.costs import new_steps
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Decision, Job
from rethink_ray.search.looks import LookTaker, judge_look
from rethink_ray.spec.assets import AssetSpec
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.study import Study

JobAnswer = Callable[[TrialConfig, float], Mapping[str, float] | Outcome]
"""(configuration, length) -> metrics (``val/ap``, ...), or how the method ended the trial."""
Duration = Callable[[Job, float], float]
"""(job, length) -> made-up time of that rung; an asset's length is 0."""
AssetAnswer = Callable[[AssetSpec], AssetDone]


def fit_asset(spec: AssetSpec) -> AssetDone:
    """An asset that any trial may start from."""
    metrics = {"accuracy": 1.0, "chance": 0.0}
    return AssetDone(key=spec.key, kind=spec.kind, metrics=metrics, seconds=0.0)


class SimulatedCluster:
    """Runs a study's jobs on simulated slots, in no time; ``state`` holds the records."""

    def __init__(
        self,
        study: Study,
        facts: DataFacts,
        answer: JobAnswer,
        *,
        slots: int,
        duration: Duration | None = None,
        state: StudyState | None = None,
        look_taker: LookTaker = judge_look,
    ) -> None:
        """``duration``: None counts the updates of a rung. ``look_taker``: as in ``Decider``."""
        self.state = StudyState() if state is None else state
        self.watch: Callable[[Event], None] | None = None
        """Called with each event just before it is recorded, while its job still runs."""
        self.build_asset: AssetAnswer = fit_asset
        """Called with each asset that a job builds; returns how that went."""
        self.admits: Callable[[Job], bool] = lambda job: True
        """Whether a job may start. After the first that may not, none starts any more."""
        self.deadline = math.inf
        """Jobs that run at this time are lost, and the run ends."""
        self.is_cut = False
        """Whether ``admits`` or ``deadline`` ended the run."""
        self.records_seconds = False
        """Whether rungs record their made-up times, as seconds of training."""
        self.started: list[Job] = []
        self.makespan = 0.0
        self.busy = 0.0
        """Slot time in use; the busy share is this over slots x makespan."""
        self.decider = Decider(study, facts, look_taker=look_taker)
        self._answer = answer
        self._duration = self.steps if duration is None else duration
        self._slots = slots
        self._running: dict[str, Iterator[tuple[float, Event]]] = {}
        self._ends: list[tuple[float, int, str, Event]] = []

    def steps(self, job: Job, length: float) -> float:
        """The updates that the ladder of a trial would run for a rung."""
        if job.asset is not None:
            return float(job.asset.steps)
        trial_id, config = job.trial
        schedule = config.recipe.schedule
        done = self.state.lengths_done(trial_id, schedule.lengths)
        return float(new_steps(schedule, length, done))

    def run(self, max_events: int | None = None) -> Decision:
        """Run until nothing runs and no job can start, or until so many events were recorded.

        Jobs that run at that moment are lost, as on a killed cluster.
        """
        num_events = 0
        while True:
            decision = self.decider.next_jobs(self.state)
            for event in decision.events:
                self._record(event)
            if decision.events:
                continue
            self._start(decision)
            if not self._running or num_events == max_events:
                return decision
            if self._ends[0][0] > self.deadline:
                self.makespan, self.is_cut = self.deadline, True
                return decision
            num_events += 1
            self._finish_next()

    def _start(self, decision: Decision) -> None:
        for job in decision.jobs:
            if self.is_cut or len(self._running) == self._slots:
                return
            if job.job_id not in self._running:
                self.is_cut = not self.admits(job)
                if self.is_cut:
                    return
                self.started.append(job)
                self._running[job.job_id] = self._work(job)
                self._advance(job.job_id)

    def _finish_next(self) -> None:
        self.makespan, _, job_id, event = heapq.heappop(self._ends)
        self._record(event)
        self._advance(job_id)

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs under way."""
        return tuple(self._running)

    def _record(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)
        self.state.add(event)

    def _advance(self, job_id: str) -> None:
        """The next rung of a running job, or the end of the job."""
        step = next(self._running[job_id], None)
        if step is None:
            del self._running[job_id]
            return
        seconds, event = step
        self.busy += seconds
        order = len(self.started) + self.state.version  # ties end in the order of starting
        heapq.heappush(self._ends, (self.makespan + seconds, order, job_id, event))

    def _work(self, job: Job) -> Iterator[tuple[float, Event]]:
        if job.asset is not None:
            yield self._duration(job, 0.0), self.build_asset(job.asset)
            return
        trial_id, config = job.trial
        for length in job.lengths:
            seconds = self._duration(job, length)
            steps_new = round(self.steps(job, length))
            answer = self._answer(config, length)
            if isinstance(answer, str):
                yield seconds, TrialEnded(trial_id=trial_id, outcome=answer, reason="pretended")
                return
            rung = rung_of(trial_id, config, length, answer, steps_new)
            if self.records_seconds:
                rung = replace(rung, seconds_train=seconds)
            yield seconds, rung


def rung_of(
    trial_id: str, config: TrialConfig, length: float, metrics: Mapping[str, float], steps_new: int
) -> RungDone:
    """A finished rung with these metrics."""
    return RungDone(
        trial_id=trial_id,
        length=length,
        steps=config.recipe.schedule.steps(length),
        metrics=metrics,
        seconds_train=0.0,
        seconds_score=0.0,
        steps_new=steps_new,
    )


def replay(
    study: Study,
    facts: DataFacts,
    answer: JobAnswer,
    *,
    slots: int = 1,
    order_seed: int = 0,
    events: Iterable[Event] = (),
) -> StudyState:
    """The records of a whole study, or of its continuation, whose jobs end in a random order.

    Args:
        study: the study.
        facts: facts of its data set.
        answer: the scores of each rung.
        slots: jobs at a time.
        order_seed: seed of the made-up durations.
        events: records to continue from.
    """
    rng = np.random.default_rng(order_seed)
    cluster = SimulatedCluster(
        study,
        facts,
        answer,
        slots=slots,
        duration=lambda job, length: float(rng.random()),
        state=StudyState(events),
    )
    cluster.run()
    return cluster.state
