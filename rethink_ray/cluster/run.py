"""Runs a study to its end: one Tuner after another, until the records ask for nothing more.

Nothing of Ray outlives the call, and nothing of Ray is needed to go on: the study directory is all.
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
from rethink_ray.cluster.head import watched_head
from rethink_ray.cluster.ray_session import address_of_head, ray_session, require_room
from rethink_ray.cluster.recorder import Listener, Recorder
from rethink_ray.cluster.stop_request import StopRequest, last_resort, signals
from rethink_ray.cluster.sweeping import Sweeper
from rethink_ray.cluster.work import last_line
from rethink_ray.protocol.empty_cells import EmptyCell, empty_cells, is_all_of
from rethink_ray.protocol.remaining import StudyProgress, progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.search.decide import Decider
from rethink_ray.spec.errors import RecordError

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
class StudyOutcome:
    """How a run of a study ended."""

    status: Literal["done", "incomplete", "stopped"]
    """``done``: every cell has a score. ``incomplete``: the machine lost jobs too often, or a cell
    ran to its end without a score."""
    empty: tuple[EmptyCell, ...] = ()
    """Cells that ran to their end without a score; only of a study with nothing left to run."""
    signal: int | None = None
    """The signal that stopped it, if one did."""
    blocked: tuple[str, ...] = ()
    """Jobs the machine failed too often; ``resume`` tries them again."""
    failures: dict[str, str] = field(default_factory=dict)
    """Blocked job -> reason of its last failure."""
    fault: str = ""
    """Why the study could not go on although no job was blocked: this machine's own failure."""
    seconds: float = 0.0


def run_study(
    directory: StudyDirectory,
    *,
    address: str | None = None,
    slots: int | None = None,
    listeners: Sequence[Listener] = (),
    on_progress: Callable[[StudyProgress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    slot: "type[Slot] | None" = None,
) -> StudyOutcome:
    """The study has run as far as it can; calling it again continues.

    Args:
        directory: the study; this process is its only writer until the call returns.
        address: a running Ray cluster; None starts one on this machine and stops it again.
        slots: at most this many jobs at a time.
        listeners: each is told each event once it is recorded.
        on_progress: told how far the study is, about once a second.
        tell: told in a sentence how many trials the cluster has room for, when that changes.
        stop: asked ten times a second; true stops the study as SIGINT does.
        slot: what runs jobs; a benchmark brings its own.

    Raises:
        RecordError: another process runs the study, the directory is damaged, or its records are
            of another identity.
        SpecError, DataError: what only a job could find out is the user's mistake.
    """
    started = time.monotonic()
    directory.require_own_identity()
    with writing(directory.lock()) as lock:
        directory.clear_stop()
        wish = StopRequest(directory.stop_path, stop or (lambda: False))
        with last_resort(wish, _how_to_go_on(directory)), signals(wish):
            recorder = Recorder(directory, listeners, lock)
            run = _Run(
                recorder=recorder,
                wish=wish,
                address=address,
                slots=slots,
                on_progress=on_progress,
                tell=tell,
                slot=slot,
            )
            try:
                outcome = run.run()
            except (RecordError, OSError) as error:
                if not is_the_disks(error):
                    raise
                outcome = StudyOutcome(status="incomplete", fault=last_line(error))
            finally:
                recorder.refresh_views(now=True)
                with suppress(RecordError):  # the next run clears it
                    directory.clear_stop()
    return replace(outcome, seconds=time.monotonic() - started)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of a study: what its caller asked for, and what is alive."""

    recorder: Recorder
    wish: StopRequest
    address: str | None
    slots: int | None
    on_progress: Callable[[StudyProgress], None] | None
    tell: Callable[[str], None] | None
    slot: "type[Slot] | None"
    dispatcher: Dispatcher = field(init=False)
    capacity: Capacity = field(init=False)
    sweeper: Sweeper = field(init=False)

    def __post_init__(self) -> None:
        study = self.directory.study
        self.capacity = Capacity(study.resources, self.slots)
        self.sweeper = Sweeper(self.directory)
        self.dispatcher = Dispatcher(
            recorder=self.recorder,
            decider=Decider(study, self.directory.facts),
            has_room=self.capacity.has_room,
            stopping=self.wish,
        )

    @property
    def directory(self) -> StudyDirectory:
        return self.recorder.directory

    def run(self) -> StudyOutcome:
        """The study has run as far as it can."""
        self.recorder.continue_study()
        resources = self.directory.study.resources
        if not self.dispatcher.decide().done and not self.wish():
            try:
                # Ray sets signal handlers of its own, so ours are set again once it has started
                with ray_session(resources, self.address, self.slots), signals(self.wish):
                    require_room(self.capacity, self.address)
                    with watched_head(address_of_head(), _how_to_go_on(self.directory)):
                        self._drive()
            except SystemExit:
                self.wish.say(signal.SIGTERM)  # while Ray starts, its own handler answers a SIGTERM
        self.dispatcher.take_stock()
        if self.dispatcher.done:  # after a wish to stop, a job may live a little longer
            self.sweeper.sweep(self.recorder.state, (), now=True)
        return _outcome(self.dispatcher, self.wish)

    def _drive(self) -> None:
        """One Tuner after another until there is nothing to hand out."""
        scratch = Path(tempfile.mkdtemp(prefix="rethink-ray-"))
        tick = self._ticker()
        try:
            while True:
                before = self.dispatcher.handed_out
                whole = self._fit(scratch / f"from-{before}", tick)
                if self.dispatcher.fault is not None:
                    raise self.dispatcher.fault
                few = self.dispatcher.handed_out - before < JOBS_PER_TUNER
                if self.wish() or (whole and few):
                    return
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _fit(self, storage: Path, tick: Callable[[], None]) -> bool:
        """Whether the Tuner came to its end in good order, with every job's end told."""
        from rethink_ray.cluster.driver import JobCallback, JobSearcher, LeaveTune
        from rethink_ray.cluster.placement import use_patient_groups

        use_patient_groups()
        dispatcher = self.dispatcher
        searcher = JobSearcher(dispatcher, JOBS_PER_TUNER)
        tuner = self._tuner(searcher, JobCallback(dispatcher, searcher, tick, self.wish), storage)
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
        whole = not dispatcher.running
        dispatcher.lose_all(reason)
        return whole

    def _tuner(self, searcher: "JobSearcher", booking: "JobCallback", storage: Path) -> "Tuner":
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
                callbacks=[booking],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _ticker(self) -> Callable[[], None]:
        """What happens ten times a second: views in their rhythm, progress about once a second."""
        started, last, cost, room = time.monotonic(), 0.0, 0.0, -1

        def tick() -> None:
            nonlocal last, cost, room
            self.recorder.refresh_views()
            if self.wish():
                self.directory.spread_stop()
            self.sweeper.sweep(self.recorder.state, self.dispatcher.running.values())
            if self.tell is not None and self.capacity.trials() != room:
                room = self.capacity.trials()
                self.tell(room_for(room))
            now = time.monotonic()
            if self.on_progress is None or now - last < max(1.0, PROGRESS_SHARE * cost):
                return
            self.on_progress(
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


def _how_to_go_on(directory: StudyDirectory) -> str:
    return f"Go on with: rethink-ray resume {directory.address}"


def is_the_disks(error: Exception) -> bool:
    """Whether the log, or the scratch folder that Ray Tune writes to, took no more."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    return isinstance(error.__cause__, OSError)


def room_for(trials: int) -> str:
    """A sentence about how much of the study can run at a time."""
    if trials == 0:
        return "no node has room for a trial now: the study waits until one does"
    return f"room for {trials} trial{'s' * (trials != 1)} at a time"


def _outcome(dispatcher: Dispatcher, wish: StopRequest) -> StudyOutcome:
    state = dispatcher.recorder.state
    last = state.last_failure
    failures = {job_id: last[job_id].reason for job_id in dispatcher.blocked if job_id in last}
    if dispatcher.done:
        study = dispatcher.recorder.directory.study
        empty = empty_cells(state, progress_of(study, state))
        status: Literal["incomplete", "done"] = "incomplete" if is_all_of(empty, study) else "done"
        return StudyOutcome(status=status, empty=empty)
    return StudyOutcome(
        status="stopped" if wish.times else "incomplete",
        signal=wish.signal,
        blocked=dispatcher.blocked,
        failures=failures,
    )
