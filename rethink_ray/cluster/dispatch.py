"""Hands out jobs and records their results. Contains no Ray, so all of it runs in plain tests.

The search (``Decider``) lists the jobs that the study needs next. The dispatcher hands out one at a
time: a job must not run already, no other job of its trial may run, the cluster must have room for
it, and the study must not be stopping. The driver, which talks to Ray, asks for jobs and passes on
their results and their ends.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from rethink_ray.cluster.recorder import Recorder
from rethink_ray.records.types import Event, JobFailed, RunCut
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Decision, Job
from rethink_ray.search.time_limit import JobGate
from rethink_ray.spec.errors import RethinkError

MOST_WAITING = 20
"""The event of a cut names at most so many waiting jobs."""
HasRoom = Callable[[Collection[Job], Job], bool]
"""(running jobs, one more job) -> whether the cluster has room for that job as well, right now."""


class NoJob(StrEnum):
    """Why no job was handed out."""

    WAIT = "wait"
    """Ask again later: there is no room, or the next jobs need the results of running ones."""
    OVER = "over"
    """No job will be handed out any more."""


@dataclass(slots=True)
class Dispatcher:
    """The jobs of a running study: which ones run, which come next, and why the study ends."""

    recorder: Recorder
    decider: Decider
    has_room: HasRoom
    is_stopping: Callable[[], bool]
    """Whether the study was asked to stop."""
    gate: JobGate | None = None
    """Which jobs may still start in the hours of this run; None: it has no limit."""
    is_cut: bool = False
    """Whether the hours of this run ended before the study did."""
    running: dict[str, Job] = field(default_factory=dict)
    """Job id -> job, of the jobs that were handed out and have not ended."""
    num_started: int = 0
    """Jobs handed out so far, every attempt counted."""
    blocked: tuple[str, ...] = ()
    """Ids of jobs that are not tried again, because their processes died or vanished more often
    than the study's ``retries`` allow. As of the last ``update_status``."""
    done: bool = False
    """Whether nothing is left to run, as of the last ``update_status``."""
    fault: BaseException | None = None
    """The error that ends the study: a mistake of the user that a job ran into (``abort``), or an
    unexpected exception, which the driver stores here."""

    def next_job(self) -> Job | NoJob:
        """Hand out the most urgent ready job that the cluster has room for, or say why not.

        While no job runs, one is handed out even if there is no room: it waits in Ray's queue, so
        that a cluster that grows again starts it.
        """
        if self.is_cut or self.is_stopping() or self.fault is not None:
            return NoJob.OVER
        decision = self.decide()
        if decision.done:
            return NoJob.OVER
        ready = self._ready_jobs(decision)
        if not ready:
            return NoJob.WAIT if self.running else NoJob.OVER
        job = ready[0] if not self.running else self._first_with_room(ready)
        if job is None:
            return NoJob.WAIT
        if self.gate is not None and not self.gate.admits(job, self.recorder.state):
            self.cut()
            return NoJob.OVER
        self.running[job.job_id] = job
        self.num_started += 1
        return job

    def cut(self) -> None:
        """Start no job any more, because the hours of this run are over, and record that.

        The first job that does not fit ends the run's starts, even if a later one would fit: a cut
        shortens the study's order and never changes it.
        """
        assert self.gate is not None, "a run without a limit is not cut"
        self.is_cut = True
        waiting = [job.job_id for job in self.decide().jobs if job.job_id not in self.running]
        hours = self.gate.limit.hours
        self.recorder.record(RunCut(hours=hours, waiting=tuple(waiting[:MOST_WAITING])))

    def _ready_jobs(self, decision: Decision) -> list[Job]:
        """Jobs ready to start: not running, and no other job of their trial is running.

        (Two jobs of one trial would write into one folder.)
        """
        busy_trials = {job.trial_id for job in self.running.values() if job.trial_id}
        jobs = (job for job in decision.jobs if job.job_id not in self.running)
        return [job for job in jobs if job.trial_id not in busy_trials]

    def _first_with_room(self, ready: list[Job]) -> Job | None:
        running = self.running.values()
        return next((job for job in ready if self.has_room(running, job)), None)

    def decide(self) -> Decision:
        """What the study needs next, once nothing is left to record first.

        The search may return new rounds of trials, trials that can never start, and a look at the
        replicates. They are recorded, and the search decides again, until it returns jobs alone.
        """
        while True:
            decision = self.decider.next_jobs(self.recorder.state)
            if not decision.events:
                return decision
            is_new = [self.recorder.record(event) for event in decision.events]
            assert any(is_new), "a decision repeats events that are recorded"

    def update_status(self) -> None:
        """Set ``done`` and ``blocked`` by the records as they are now."""
        decision = self.decide()
        self.done, self.blocked = decision.done, decision.blocked

    def record(self, event: Event) -> None:
        """Record an event of a running job: its start, a rung, an asset, or its trial's end."""
        self.recorder.record(event)

    def end_job(self, job_id: str) -> None:
        """A job's process ended without an error. It counts as lost if results are missing."""
        job = self.running.get(job_id)
        if job is not None and self.fault is None and not self._has_results(job):
            self.lose_job(job_id, "it ended without its results")
        self.running.pop(job_id, None)

    def lose_job(self, job_id: str, reason: str) -> None:
        """A job's process died or vanished. The job is handed out again, up to ``retries`` times.

        Nothing is recorded if the study is stopping, if the job's results are recorded already, or
        if the job is not running: Ray may report one loss twice.
        """
        job = self.running.pop(job_id, None)
        if job is not None and not self.is_stopping() and not self._has_results(job):
            self.recorder.record(JobFailed(job_id=job_id, reason=reason))

    def lose_all_jobs(self, reason: str) -> None:
        """Count every running job as lost, because Ray will report no more of their events."""
        for job_id in tuple(self.running):
            self.lose_job(job_id, reason)

    def abort(self, fault: RethinkError) -> None:
        """End the study: a job ran into a mistake of the user that would stop every other job."""
        self.fault = self.fault or fault

    def _has_results(self, job: Job) -> bool:
        """Whether the records hold everything that the job was to deliver."""
        state = self.recorder.state
        if job.asset is not None:
            return job.asset.key in state.assets
        trial_id, _ = job.trial
        is_finished = all((trial_id, length) in state.rungs for length in job.lengths)
        return is_finished or trial_id in state.ended
