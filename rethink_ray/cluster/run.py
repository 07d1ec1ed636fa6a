"""Runs a study to its end: one Tuner after another, until the records ask for nothing more.

Nothing of Ray outlives the call, and nothing of Ray is needed to go on: the study directory is all.
"""

import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rethink_ray.cluster.capacity import Capacity, has_driver_nodes, living_nodes
from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.recorder import Listener, Recorder
from rethink_ray.cluster.resume import extend_study
from rethink_ray.cluster.session import ray_session, require_room
from rethink_ray.cluster.wish import Wish, last_resort, signals
from rethink_ray.cluster.work import last_line
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.progress import StudyProgress, progress_of
from rethink_ray.search.decide import Decider
from rethink_ray.spec.errors import RecordError

if TYPE_CHECKING:
    from ray.tune import Tuner

    from rethink_ray.cluster.driver import Booking, JobSearcher

__all__ = ["Outcome", "extend_study", "run_study"]

JOBS_PER_TUNER = 1000
"""Tune keeps every trial it ever had: 31 KB each."""
PROGRESS_SHARE = 20.0
"""Summing up progress takes at most one part in this many of the driver's time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run of a study ended."""

    status: Literal["done", "incomplete", "stopped"]
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
) -> Outcome:
    """The study has run as far as it can; calling it again continues.

    Args:
        directory: the study; this process is its only writer until the call returns.
        address: a running Ray cluster; None starts one on this machine and stops it again.
        slots: at most this many jobs at a time.
        listeners: each is told each event once it is recorded.
        on_progress: told how far the study is, about once a second.
        tell: told in a sentence how many trials the cluster has room for, when that changes.
        stop: asked ten times a second; true stops the study as SIGINT does.

    Raises:
        RecordError: another process runs the study, or the directory is damaged.
        SpecError, DataError: what only a job could find out is the user's mistake.
    """
    started = time.monotonic()
    with writing(directory.lock_path) as lock:
        directory.stop_path.unlink(missing_ok=True)
        wish = Wish(directory.stop_path, stop or (lambda: False))
        with last_resort(wish, f"Go on with: rethink-ray resume {directory.shown}"), signals(wish):
            recorder = Recorder(directory, listeners, lock)
            try:
                outcome = _run(recorder, wish, address, slots, on_progress, tell)
            except RecordError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                outcome = Outcome(status="incomplete", fault=str(error))  # a full disk
            finally:
                recorder.refresh_views(now=True)
                directory.stop_path.unlink(missing_ok=True)
    return replace(outcome, seconds=time.monotonic() - started)


def _run(
    recorder: Recorder,
    wish: Wish,
    address: str | None,
    slots: int | None,
    on_progress: Callable[[StudyProgress], None] | None,
    tell: Callable[[str], None] | None,
) -> Outcome:
    recorder.continue_study()
    directory = recorder.directory
    resources = directory.study.resources
    capacity = Capacity(resources, slots)
    dispatcher = Dispatcher(
        recorder=recorder,
        decider=Decider(directory.study, directory.facts),
        has_room=capacity.has_room,
        stopping=wish,
    )
    if not dispatcher.decide().done and not wish():
        try:
            # Ray sets signal handlers of its own, so ours are set again once it has started
            with ray_session(resources, address, slots), signals(wish):
                require_room(capacity, address)
                tick = _ticker(dispatcher, capacity, on_progress, tell)
                _drive(directory, dispatcher, wish, tick)
        except SystemExit:
            wish.say(signal.SIGTERM)  # while Ray starts, a SIGTERM is answered by its own handler
    dispatcher.take_stock()
    return _outcome(dispatcher, wish)


def _drive(
    directory: StudyDirectory, dispatcher: Dispatcher, wish: Wish, tick: Callable[[], None]
) -> None:
    """One Tuner after another until there is nothing to hand out."""
    scratch = Path(tempfile.mkdtemp(prefix="rethink-ray-"))
    try:
        while True:
            before = dispatcher.handed_out
            whole = _fit(directory, dispatcher, wish, tick, scratch / f"from-{before}")
            if dispatcher.fault is not None:
                raise dispatcher.fault
            if wish() or (whole and dispatcher.handed_out - before < JOBS_PER_TUNER):
                return
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fit(
    directory: StudyDirectory,
    dispatcher: Dispatcher,
    wish: Wish,
    tick: Callable[[], None],
    storage: Path,
) -> bool:
    """Whether the Tuner came to its end in good order, with every job's end told."""
    from rethink_ray.cluster.driver import Booking, JobSearcher, LeaveTune

    searcher = JobSearcher(dispatcher, JOBS_PER_TUNER)
    tuner = _tuner(directory, searcher, Booking(dispatcher, searcher, tick, wish), storage)
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


def _tuner(
    directory: StudyDirectory, searcher: "JobSearcher", booking: "Booking", storage: Path
) -> "Tuner":
    from ray import tune

    from rethink_ray.cluster.slot import Slot

    return tune.Tuner(
        Slot,
        param_space={
            "root": str(directory.root),
            "data": directory.study.data.model_dump_json(),
            "stop": str(directory.stop_path),
            "resources": directory.study.resources.model_dump_json(),
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


def _ticker(
    dispatcher: Dispatcher,
    capacity: Capacity,
    on_progress: Callable[[StudyProgress], None] | None,
    tell: Callable[[str], None] | None,
) -> Callable[[], None]:
    """What happens ten times a second: views in their rhythm, progress about once a second."""
    started, last, cost, room = time.monotonic(), 0.0, 0.0, -1

    def tick() -> None:
        nonlocal last, cost, room
        dispatcher.recorder.refresh_views()
        if tell is not None and capacity.trials() != room:
            room = capacity.trials()
            tell(room_for(room))
        now = time.monotonic()
        if on_progress is None or now - last < max(1.0, PROGRESS_SHARE * cost):
            return
        directory = dispatcher.recorder.directory
        on_progress(
            progress_of(
                directory.study,
                dispatcher.recorder.state,
                running=tuple(dispatcher.running),
                elapsed=now - started,
            )
        )
        last = time.monotonic()
        cost = last - now

    return tick


def room_for(trials: int) -> str:
    """A sentence about how much of the study can run at a time."""
    if trials == 0:
        return "no node has room for a trial now: the study waits until one does"
    return f"room for {trials} trial{'s' * (trials != 1)} at a time"


def _outcome(dispatcher: Dispatcher, wish: Wish) -> Outcome:
    last = dispatcher.recorder.state.last_failure
    failures = {job_id: last[job_id].reason for job_id in dispatcher.blocked if job_id in last}
    if dispatcher.done:
        return Outcome(status="done")
    return Outcome(
        status="stopped" if wish.times else "incomplete",
        signal=wish.signal,
        blocked=dispatcher.blocked,
        failures=failures,
    )
