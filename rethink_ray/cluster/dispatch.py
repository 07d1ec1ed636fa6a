"""Hands out jobs and books what comes back. Knows no Ray, so all of it runs in a test.

The decision what may run is the search's; here it only meets the room there is now, the jobs that
run already, and the wish to stop.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from rethink_ray.cluster.recorder import Recorder
from rethink_ray.records.types import Event, JobFailed
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Decision, Job
from rethink_ray.spec.errors import RethinkError

HasRoom = Callable[[Collection[Job], Job], bool]
"""(running jobs, another one) -> whether the cluster has room for it as well, right now."""


class Nothing(StrEnum):
    """Why no job was handed out."""

    WAIT = "wait"
    """There is no room, or what may run next waits for what runs now."""
    OVER = "over"
    """No job will be handed out any more."""


@dataclass(slots=True)
class Dispatcher:
    """The driver's book: what runs, what the records say, why the study ended."""

    recorder: Recorder
    decider: Decider
    has_room: HasRoom
    stopping: Callable[[], bool]
    """Whether someone asked the study to stop."""
    running: dict[str, Job] = field(default_factory=dict)
    handed_out: int = 0
    blocked: tuple[str, ...] = ()
    done: bool = False
    fault: BaseException | None = None
    """The user's own mistake that a job met, or ours: it ends the study."""

    def take(self) -> Job | Nothing:
        """The most urgent job that does not run and has room, or why there is none.

        A job is always handed out while nothing runs, even if the cluster has no room for it now:
        it waits there, and a cluster that grows back takes it.
        """
        if self.stopping() or self.fault is not None:
            return Nothing.OVER
        decision = self.decide()
        if decision.done:
            return Nothing.OVER
        waiting = self._waiting(decision)
        if not waiting:
            return Nothing.WAIT if self.running else Nothing.OVER
        job = waiting[0] if not self.running else self._fitting(waiting)
        if job is None:
            return Nothing.WAIT
        self.running[job.job_id] = job
        self.handed_out += 1
        return job

    def _waiting(self, decision: Decision) -> list[Job]:
        """What may run and does not; nor does its trial, because a folder has one writer."""
        trials = {job.trial_id for job in self.running.values() if job.trial_id}
        jobs = (job for job in decision.jobs if job.job_id not in self.running)
        return [job for job in jobs if job.trial_id not in trials]

    def _fitting(self, waiting: list[Job]) -> Job | None:
        running = self.running.values()
        return next((job for job in waiting if self.has_room(running, job)), None)

    def decide(self) -> Decision:
        """What may run now, with everything recorded that has to be recorded before it does."""
        while True:
            decision = self.decider.next_jobs(self.recorder.state)
            events: list[Event] = [*decision.rounds, *decision.ends]
            if not events:
                return decision
            new = [self.recorder.record(event) for event in events]
            assert any(new), "a decision repeats what is recorded"

    def take_stock(self) -> None:
        """Whether the study is done, and what blocks it, as the records say now."""
        decision = self.decide()
        self.done, self.blocked = decision.done, decision.blocked

    def report(self, event: Event) -> None:
        """A job started, finished a rung or an asset, or the method ended its trial."""
        self.recorder.record(event)

    def ended(self, job_id: str) -> None:
        """The job told all it had to tell; without its results it is lost, unless told to stop."""
        job = self.running.get(job_id)
        if job is not None and self.fault is None and not self._has_results(job):
            self.failed(job_id, "it ended without its results")
        self.running.pop(job_id, None)

    def _has_results(self, job: Job) -> bool:
        state = self.recorder.state
        if job.asset is not None:
            return job.asset.key in state.assets
        trial_id, _ = job.trial
        finished = all((trial_id, length) in state.rungs for length in job.lengths)
        return finished or trial_id in state.ended

    def failed(self, job_id: str, reason: str) -> None:
        """The machine lost the job; it is handed out again until the study's limit.

        Told twice it counts once, and not at all once someone asked to stop or if the job had told
        all that it was to tell.
        """
        job = self.running.pop(job_id, None)
        if job is not None and not self.stopping() and not self._has_results(job):
            self.recorder.record(JobFailed(job_id=job_id, reason=reason))

    def lose_all(self, reason: str) -> None:
        """Nobody will hear of the jobs that run any more: each of them is lost."""
        for job_id in tuple(self.running):
            self.failed(job_id, reason)

    def give_up(self, fault: RethinkError) -> None:
        """The study cannot go on: what the user asked for does not work on this machine."""
        self.fault = self.fault or fault
