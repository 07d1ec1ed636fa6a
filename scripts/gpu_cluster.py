"""A simulated cluster of GPU nodes that are lost, come back, and differ in speed.

It runs the program's own decisions on a clock of paces. Scores are made up.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, JobFailed
from rethink_ray.search.decide import Decider
from rethink_ray.search.hours import SECONDS_BETWEEN_JOBS, JobTimes
from rethink_ray.search.jobs import Decision, Job
from rethink_ray.search.plan import pretend_metrics
from rethink_ray.search.simulate import fit_asset, rung_of
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.study import Study

GPUS_PER_NODE = 8
SECONDS_BETWEEN_CHECKPOINTS = 60.0
"""``training.stopping.SAVE_SECONDS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """A cluster."""

    gpus: int
    gpus_per_job: int
    hours_between_losses: float = math.inf
    """Mean hours until a node is lost, with all jobs on it."""
    hours_to_repair: float = 2.0
    slow_share: float = 0.0
    """Share of the nodes that are slow."""
    slow_factor: float = 1.5
    """How much longer everything takes on a slow node."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a study on a cluster."""

    hours: float
    busy_share: float
    """GPU hours in which jobs ran, over all GPU hours until the end."""
    paid_gpu_hours: float
    """All GPU hours until the end, those of lost nodes as well."""
    worked_gpu_hours: float
    repeated_gpu_hours: float
    """Work that a lost node took with it."""
    lost_nodes: int
    lost_jobs: int
    hours_without_queue: float
    """Hours in which every job that could run did, while GPUs idled."""
    is_done: bool


@dataclass(slots=True)
class Node:
    factor: float
    free: int = GPUS_PER_NODE
    is_up: bool = True


@dataclass(slots=True)
class Attempt:
    """A job on its nodes."""

    job: Job
    nodes: list[Node]
    rungs: Iterator[tuple[float, Event]]
    began: float = 0.0
    """When the rung under way began."""
    is_lost: bool = False


@dataclass(slots=True)
class Totals:
    worked: float = 0.0
    repeated: float = 0.0
    lost_nodes: int = 0
    lost_jobs: int = 0
    without_queue: float = 0.0


@dataclass(slots=True, kw_only=True)
class GpuCluster:
    """Runs a whole study; call ``run`` once."""

    study: Study
    facts: DataFacts
    times: JobTimes
    machines: Machines
    state: StudyState
    now: float = 0.0
    totals: Totals = field(default_factory=Totals)
    running: dict[str, Attempt] = field(default_factory=dict)
    _saved: Counter[tuple[str, float]] = field(default_factory=Counter)
    """(job, length) -> seconds of its work that are in a checkpoint."""
    _timeline: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    """(time, number, what happens then), as a heap."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> Outcome:
        nodes = self._build_nodes()
        decider = Decider(self.study, self.facts)
        while True:
            decision = self._decide(decider)
            waiting = self._start(decision, nodes)
            if not self.running and (decision.done or not waiting):
                return self._conclude(decision)
            at, _, act = heapq.heappop(self._timeline)
            used = sum(GPUS_PER_NODE - node.free for node in nodes)
            if not waiting and used < self.machines.gpus:
                self.totals.without_queue += at - self.now
            self.totals.worked += used * (at - self.now)
            self.now = at
            act()

    def _plan(self, seconds: float, act: Callable[[], None]) -> None:
        """``act`` happens so many seconds from now."""
        heapq.heappush(self._timeline, (self.now + seconds, next(self._numbers), act))

    def _build_nodes(self) -> list[Node]:
        machines = self.machines
        num = math.ceil(machines.gpus / GPUS_PER_NODE)
        rng = np.random.default_rng(machines.seed)
        slow = rng.permutation(num) < round(machines.slow_share * num)
        nodes = [Node(machines.slow_factor if is_slow else 1.0) for is_slow in slow]
        if math.isfinite(machines.hours_between_losses):
            for number, node in enumerate(nodes):
                self._plan_loss(node, np.random.default_rng([machines.seed, number]))
        return nodes

    def _plan_loss(self, node: Node, rng: np.random.Generator) -> None:
        hours = float(rng.exponential(self.machines.hours_between_losses))
        self._plan(3600.0 * hours, lambda: self._lose(node, rng))

    def _lose(self, node: Node, rng: np.random.Generator) -> None:
        self.totals.lost_nodes += 1
        node.is_up = False
        for attempt in [a for a in self.running.values() if node in a.nodes]:
            self._lose_job(attempt)

        def repair() -> None:
            node.is_up = True
            self._plan_loss(node, rng)

        self._plan(3600.0 * self.machines.hours_to_repair, repair)

    def _lose_job(self, attempt: Attempt) -> None:
        job = attempt.job
        attempt.is_lost = True
        self.totals.lost_jobs += 1
        factor = max(node.factor for node in attempt.nodes)
        done = self.now - attempt.began
        kept = math.floor(done / SECONDS_BETWEEN_CHECKPOINTS) * SECONDS_BETWEEN_CHECKPOINTS
        self.totals.repeated += (done - kept) * self.machines.gpus_per_job
        if job.asset is None:
            lengths = [x for x in job.lengths if (job.trial[0], x) not in self.state.rungs]
            self._saved[job.trial[0], lengths[0]] += int(kept / factor)
        else:
            self._saved[job.asset.key, 0.0] += int(kept / factor)
        self._free(attempt)
        self.state.add(JobFailed(job_id=job.job_id, reason="its node was lost"))

    def _free(self, attempt: Attempt) -> None:
        del self.running[attempt.job.job_id]
        for node in attempt.nodes:
            node.free += min(self.machines.gpus_per_job, GPUS_PER_NODE)

    def _decide(self, decider: Decider) -> Decision:
        while True:
            decision = decider.next_jobs(self.state)
            events: Sequence[Event] = (*decision.rounds, *decision.ends)
            if not events:
                return decision
            for event in events:
                self.state.add(event)

    def _start(self, decision: Decision, nodes: Sequence[Node]) -> int:
        """Start what there is room for; returns how many jobs could run and find no room."""
        busy = {a.job.trial_id for a in self.running.values() if a.job.trial_id}
        waiting = 0
        for job in decision.jobs:
            if job.job_id in self.running or job.trial_id in busy:
                continue
            room = self._find_room(nodes) if not waiting else None
            if room is None:
                waiting += 1
                continue
            for node in room:
                node.free -= min(self.machines.gpus_per_job, GPUS_PER_NODE)
            self.running[job.job_id] = attempt = Attempt(job, room, self._work(job, room))
            busy |= {job.trial_id} if job.trial_id else set()
            self._advance(attempt)
        return waiting

    def _find_room(self, nodes: Sequence[Node]) -> list[Node] | None:
        """The fullest node with room, or as many empty nodes as a job needs."""
        num = self.machines.gpus_per_job
        if num <= GPUS_PER_NODE:
            fitting = [node for node in nodes if node.is_up and node.free >= num]
            return [min(fitting, key=lambda node: node.free)] if fitting else None
        empty = [node for node in nodes if node.is_up and node.free == GPUS_PER_NODE]
        needed = num // GPUS_PER_NODE
        return empty[:needed] if len(empty) >= needed else None

    def _advance(self, attempt: Attempt) -> None:
        step = next(attempt.rungs, None)
        if step is None:
            self._free(attempt)
            return
        seconds, event = step
        attempt.began = self.now

        def finish() -> None:
            if not attempt.is_lost:
                self.state.add(event)
                self._advance(attempt)

        self._plan(seconds, finish)

    def _work(self, job: Job, nodes: Sequence[Node]) -> Iterator[tuple[float, Event]]:
        factor = max(node.factor for node in nodes)
        if job.asset is not None:
            yield factor * self._seconds(job, job.asset.key, 0.0), fit_asset(job.asset)
            return
        trial_id, config = job.trial
        for length in job.lengths:
            seconds = factor * self._seconds(job, trial_id, length)
            yield seconds, rung_of(trial_id, config, length, pretend_metrics(config, length), 0)

    def _seconds(self, job: Job, name: str, length: float) -> float:
        """Of a rung or an asset on a node of full speed; the same in every run of the cluster."""
        pace, seconds = self.times.pace(job), self.times.seconds(job, length)
        assert pace is not None, "paces cover every cell"
        assert seconds is not None, "paces cover every cell"
        rng = np.random.default_rng(seed_of("pace", name, f"{length:g}", self.machines.seed))
        noise = pace.spread * float(rng.standard_normal()) - pace.spread**2 / 2
        left = seconds * math.exp(noise) - self._saved[name, length]
        is_first = job.asset is not None or length == job.lengths[0]
        least = pace.seconds_to_start if self._saved[name, length] else 0.0
        return max(least, left) + (SECONDS_BETWEEN_JOBS if is_first else 0.0)

    def _conclude(self, decision: Decision) -> Outcome:
        hours, gpus = self.now / 3600.0, self.machines.gpus
        worked = self.totals.worked / 3600.0
        return Outcome(
            hours=hours,
            busy_share=worked / (gpus * hours),
            paid_gpu_hours=gpus * hours,
            worked_gpu_hours=worked,
            repeated_gpu_hours=self.totals.repeated / 3600.0,
            lost_nodes=self.totals.lost_nodes,
            lost_jobs=self.totals.lost_jobs,
            hours_without_queue=self.totals.without_queue / 3600.0,
            is_done=decision.done,
        )
