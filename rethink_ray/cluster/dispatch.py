"""Hands out jobs and books what comes back. Knows no Ray, so all of it runs in a test.

The decision what may run is the search's; here it only meets the slots there are now, the jobs that
run already, and the wish to stop.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from rethink_ray.cluster.recorder import Recorder
from rethink_ray.records.types import Event, JobFailed
from rethink_ray.search.decide import Decider
from rethink_ray.search.jobs import Decision, Job
from rethink_ray.spec.errors import RethinkError


class Nothing(StrEnum):
    """Why no job was handed out."""

    WAIT = "wait"
    """Every slot is taken, or what may run next waits for what runs now."""
    OVER = "over"
    """No job will be handed out any more."""


@dataclass(slots=True)
class Dispatcher:
    """The driver's book: what runs, what the records say, why the study ended."""

    recorder: Recorder
    decider: Decider
    slots: Callable[[], int]
    """How many jobs the cluster can run at the same time, right now."""
    stopping: Callable[[], bool]
    """Whether someone asked the study to stop."""
    running: dict[str, Job] = field(default_factory=dict)
    handed_out: int = 0
    blocked: tuple[str, ...] = ()
    done: bool = False
    fault: BaseException | None = None
    """The user's own mistake that a job met, or ours: it ends the study."""

    def take(self) -> Job | Nothing:
        """The most urgent job that is not running, or why there is none.

        A job is always handed out while nothing runs, even if the cluster has no slot for it now:
        it waits there, and a cluster that grows back takes it.
        """
        if self.stopping() or self.fault is not None:
            return Nothing.OVER
        decision = self.decide()
        if decision.done:
            return Nothing.OVER
        waiting = [job for job in decision.jobs if not self._is_under_way(job)]
        if not waiting and not self.running:
            return Nothing.OVER
        if not waiting or (self.running and len(self.running) >= self.slots()):
            return Nothing.WAIT
        job = waiting[0]
        self.running[job.job_id] = job
        self.handed_out += 1
        return job

    def _is_under_way(self, job: Job) -> bool:
        """Whether it runs, or another job of its trial does: a trial's folder has one writer."""
        trials = {other.trial_id for other in self.running.values() if other.trial_id}
        return job.job_id in self.running or job.trial_id in trials

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
        """The job is over and told all it had to tell."""
        self.running.pop(job_id, None)

    def failed(self, job_id: str, reason: str) -> None:
        """The machine lost the job; it is handed out again until the study's limit.

        Told twice it counts once, and not at all once someone asked to stop.
        """
        if self.running.pop(job_id, None) is not None and not self.stopping():
            self.recorder.record(JobFailed(job_id=job_id, reason=reason))

    def give_up(self, fault: RethinkError) -> None:
        """The study cannot go on: what the user asked for does not work on this machine."""
        self.fault = self.fault or fault
