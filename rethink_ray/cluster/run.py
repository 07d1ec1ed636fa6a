"""Runs a study to its end: one Tuner of Ray Tune after another, until no job is left.

Nothing of Ray outlives the call. To continue a study, its directory is enough.
"""

import errno
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rethink_ray.cluster.capacity import Capacity, has_driver_nodes, living_nodes
from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.head import exit_if_head_is_gone
from rethink_ray.cluster.ray_session import address_of_head, ray_session, require_room
from rethink_ray.cluster.recorder import Listener, Recorder
from rethink_ray.cluster.run_watch import RunWatch
from rethink_ray.cluster.stop_request import StopRequest, exit_in_time, stop_on_signals
from rethink_ray.cluster.sweeping import Sweeper
from rethink_ray.cluster.work import last_line
from rethink_ray.protocol.empty_cells import EmptyCell, empty_cells, is_all_of
from rethink_ray.protocol.remaining import StudyProgress, progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.run_progress import RunProgress
from rethink_ray.search.decide import Decider
from rethink_ray.search.time_limit import JobGate, TimeLimit
from rethink_ray.spec.errors import RecordError
from rethink_ray.training.stopping import never_stop

if TYPE_CHECKING:
    from ray.tune import Tuner

    from rethink_ray.cluster.driver import JobCallback, JobSearcher
    from rethink_ray.cluster.slot import Slot

JOBS_PER_TUNER = 500
"""Tune keeps every trial it ever had; a new Tuner makes room for its next ones."""
PROGRESS_SHARE = 20.0
"""Summing up progress takes at most one part in this many of the driver's time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Functions that a run of a study calls, for people who watch it."""

    listeners: Sequence[Listener] = ()
    """Each is called with each event once it is recorded."""
    on_progress: Callable[[StudyProgress], None] | None = None
    """Called about once a second with the progress of the study."""
    on_run_progress: Callable[[RunProgress], None] | None = None
    """Called every few seconds with the running jobs and the hours that are left."""
    on_notice: Callable[[str], None] | None = None
    """Called with a sentence when the number of trials that the cluster has room for changes."""


NO_OBSERVERS = Observers()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """How a run of a study ended."""

    status: Literal["done", "incomplete", "stopped"]
    """``done``: every cell has a score. ``incomplete``: jobs were lost too often, or a cell ran to
    its end without a score."""
    empty: tuple[EmptyCell, ...] = ()
    """Cells that ran to their end without a score; only of a study with nothing left to run."""
    signal: int | None = None
    """The signal that stopped it, if one did."""
    blocked: tuple[str, ...] = ()
    """Ids of jobs that were lost more often than ``retries`` allow; ``resume`` tries them again."""
    failures: dict[str, str] = field(default_factory=dict)
    """Blocked job -> reason of its last failure."""
    fault: str = ""
    """Why this machine could not go on, if no job was lost too often (such as a full disk)."""
    hours: float | None = None
    """The hours that this run was given, if they ended before the study did."""
    seconds: float = 0.0

    @property
    def is_report_due(self) -> bool:
        """Whether the run leaves a report: every cell ran to its end, or the hours ended first."""
        is_cut = self.status == "stopped" and self.hours is not None
        return self.status == "done" or bool(self.empty) or is_cut


def run_study(
    directory: StudyDirectory,
    *,
    address: str | None = None,
    slots: int | None = None,
    observers: Observers = NO_OBSERVERS,
    limit: TimeLimit | None = None,
    slot: "type[Slot] | None" = None,
) -> StudyOutcome:
    """Run the study as far as it can. A second call continues it.

    Args:
        directory: the study. This process is its only writer until the call returns.
        address: address of a running Ray cluster; None starts one here and stops it again.
        slots: at most this many jobs run at a time.
        observers: functions to call while the study runs.
        limit: the hours of this run. When they end, jobs write a checkpoint, as after SIGINT.
        slot: the class that runs jobs, if it is not ``Slot`` (benchmarks).

    Raises:
        RecordError: another process runs the study, the directory is damaged, or its records are
            of another identity.
        SpecError, DataError: a mistake of the user that only a job could find.
    """
    started = time.monotonic()
    directory.require_own_identity()
    with writing(directory.lock()) as lock:
        directory.reread()
        directory.clear_stop()
        stop_request = StopRequest(directory.stop_path, limit.is_over if limit else never_stop)
        remedy = _how_to_continue(directory)
        with exit_in_time(stop_request, remedy), stop_on_signals(stop_request):
            recorder = Recorder(directory, observers.listeners, lock)
            run = _StudyRun(
                recorder=recorder,
                stop_request=stop_request,
                limit=limit,
                address=address,
                slots=slots,
                observers=observers,
                slot=slot,
            )
            try:
                outcome = run.run()
            except (RecordError, OSError) as error:
                if not is_disk_failure(error):
                    raise
                outcome = StudyOutcome(status="incomplete", fault=last_line(error))
            finally:
                recorder.refresh_views(now=True)
                with suppress(RecordError):  # the next run clears it
                    directory.clear_stop()
    return replace(outcome, seconds=time.monotonic() - started)


@dataclass(slots=True, kw_only=True)
class _StudyRun:
    """One run of a study: the arguments of ``run_study``, and the parts that work together."""

    recorder: Recorder
    stop_request: StopRequest
    limit: TimeLimit | None
    address: str | None
    slots: int | None
    observers: Observers
    slot: "type[Slot] | None"
    dispatcher: Dispatcher = field(init=False)
    capacity: Capacity = field(init=False)
    sweeper: Sweeper = field(init=False)
    watch: RunWatch = field(init=False)
    watched_slots: int = 1
    """Jobs that could run at a time when they were last looked at."""

    def __post_init__(self) -> None:
        study, facts = self.directory.study, self.directory.facts
        limit = self.limit
        self.capacity = Capacity(study.resources, self.slots)
        self.sweeper = Sweeper(self.directory)
        self.watch = RunWatch(self.directory)
        self.dispatcher = Dispatcher(
            recorder=self.recorder,
            decider=Decider(study, facts),
            has_room=self.capacity.has_room,
            is_stopping=self.stop_request,
            gate=None if limit is None else JobGate(study=study, facts=facts, limit=limit),
        )

    @property
    def directory(self) -> StudyDirectory:
        return self.recorder.directory

    def run(self) -> StudyOutcome:
        """Run the study as far as it can."""
        self.recorder.continue_study()
        resources = self.directory.study.resources
        if not self.dispatcher.decide().done and not self.stop_request():
            try:
                # Ray sets signal handlers of its own, so ours are set again once it has started
                session = ray_session(resources, self.address, self.slots)
                with session, stop_on_signals(self.stop_request):
                    require_room(self.capacity, self.address)
                    remedy = _how_to_continue(self.directory)
                    with exit_if_head_is_gone(address_of_head(), remedy):
                        self._drive()
            except SystemExit:
                # while Ray starts, its own handler answers a SIGTERM
                self.stop_request.request(signal.SIGTERM)
        self.dispatcher.update_status()
        self._note_end()
        if self.dispatcher.done:  # otherwise a job may run a little longer
            self.sweeper.sweep(self.recorder.state, (), now=True)
        return _describe_outcome(self.dispatcher, self.stop_request)

    def _note_end(self) -> None:
        """Record that the hours ended the run, if they did; nothing runs any more."""
        dispatcher, limit = self.dispatcher, self.limit
        is_stopped = self.stop_request.signal is not None
        if limit is not None and limit.is_over() and not (is_stopped or dispatcher.done):
            dispatcher.running.clear()
            if not dispatcher.is_cut:
                dispatcher.cut()
        if not is_stopped:
            self.watch.look(self.recorder.state, {}, self.watched_slots, now=True)

    def _drive(self) -> None:
        """Run one Tuner after another until no job is left."""
        scratch = Path(tempfile.mkdtemp(prefix="rethink-ray-"))
        tick = self._build_tick()
        try:
            while True:
                before = self.dispatcher.num_started
                in_order = self._fit(scratch / f"from-{before}", tick)
                if self.dispatcher.fault is not None:
                    raise self.dispatcher.fault
                has_jobs_left = self.dispatcher.num_started - before >= JOBS_PER_TUNER
                if self.stop_request() or (in_order and not has_jobs_left):
                    return
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _fit(self, storage: Path, tick: Callable[[], None]) -> bool:
        """Run one Tuner. Returns whether it reported the end of every job."""
        from rethink_ray.cluster.driver import JobCallback, JobSearcher, LeaveTune
        from rethink_ray.cluster.placement import use_patient_groups

        use_patient_groups()
        dispatcher = self.dispatcher
        searcher = JobSearcher(dispatcher, JOBS_PER_TUNER)
        job_callback = JobCallback(dispatcher, searcher, tick, self.stop_request)
        tuner = self._build_tuner(searcher, job_callback, storage)
        reason = "Ray Tune lost it"
        try:
            tuner.fit()
        except LeaveTune:
            _log.debug("left Tune with %d jobs running", len(dispatcher.running))
        except Exception as error:
            if not dispatcher.running:
                raise
            _log.warning("Ray Tune gave up and is started again: %r", error)
            reason = f"Ray Tune gave up: {last_line(error)}"
        in_order = not dispatcher.running
        dispatcher.lose_all_jobs(reason)
        return in_order

    def _build_tuner(
        self, searcher: "JobSearcher", job_callback: "JobCallback", storage: Path
    ) -> "Tuner":
        from ray import tune

        from rethink_ray.cluster.slot import Slot

        study = self.directory.study
        return tune.Tuner(
            self.slot or Slot,
            param_space={
                "root": str(self.directory.root),
                "uri": self.directory.copy.uri if self.directory.copy else "",
                "data": study.data.model_dump_json(),
                "stop": str(self.directory.stop_path),
                "resources": study.resources.model_dump_json(),
                "folder": str(Path.cwd()),
                "safe_nodes": has_driver_nodes(living_nodes()),
            },
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage),
                name="jobs",
                verbose=0,
                callbacks=[job_callback],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _build_tick(self) -> Callable[[], None]:
        """The function that Tune calls ten times a second: views, progress, old files."""
        started, last, cost, room = time.monotonic(), 0.0, 0.0, -1

        def tick() -> None:
            nonlocal last, cost, room
            self.recorder.refresh_views()
            if self.stop_request():
                self.directory.spread_stop()
            self.sweeper.sweep(self.recorder.state, self.dispatcher.running.values())
            observers = self.observers
            self._watch_jobs()
            if observers.on_notice is not None and self.capacity.count_trials() != room:
                room = self.capacity.count_trials()
                observers.on_notice(describe_room(room))
            now = time.monotonic()
            if observers.on_progress is None or now - last < max(1.0, PROGRESS_SHARE * cost):
                return
            observers.on_progress(
                progress_of(
                    self.directory.study,
                    self.recorder.state,
                    running=tuple(self.dispatcher.running),
                    elapsed=now - started,
                )
            )
            last = time.monotonic()
            cost = last - now

        return tick

    def _watch_jobs(self) -> None:
        """Look at the running jobs, if it is time. No fault here stops the study."""
        self.watched_slots = max(1, self.capacity.count_trials())
        seen = self.watch.look(self.recorder.state, self.dispatcher.running, self.watched_slots)
        if seen is not None and self.observers.on_run_progress is not None:
            self.observers.on_run_progress(seen)


def _how_to_continue(directory: StudyDirectory) -> str:
    return f"Go on with: rethink-ray resume {directory.address}"


def is_disk_failure(error: Exception) -> bool:
    """Whether the disk refused the log, or the scratch folder that Ray Tune writes to."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    return isinstance(error.__cause__, OSError)


def describe_room(trials: int) -> str:
    """A sentence: how many trials the cluster has room for."""
    if trials == 0:
        return "no node has room for a trial now: the study waits until one does"
    return f"room for {trials} trial{'s' * (trials != 1)} at a time"


def _describe_outcome(dispatcher: Dispatcher, stop_request: StopRequest) -> StudyOutcome:
    state = dispatcher.recorder.state
    last = state.last_failure
    failures = {job_id: last[job_id].reason for job_id in dispatcher.blocked if job_id in last}
    if dispatcher.done:
        study = dispatcher.recorder.directory.study
        empty = empty_cells(state, progress_of(study, state))
        status: Literal["incomplete", "done"] = "incomplete" if is_all_of(empty, study) else "done"
        return StudyOutcome(status=status, empty=empty)
    is_cut = dispatcher.is_cut and dispatcher.gate is not None and stop_request.signal is None
    return StudyOutcome(
        status="stopped" if is_cut or stop_request.times else "incomplete",
        signal=stop_request.signal,
        hours=dispatcher.gate.limit.hours if is_cut and dispatcher.gate else None,
        blocked=dispatcher.blocked,
        failures=failures,
    )
