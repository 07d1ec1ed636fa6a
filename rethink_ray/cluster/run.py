"""Runs a study to its end: one Tuner after another, until the records ask for nothing more.

Nothing of Ray outlives the call, and nothing of Ray is needed to go on: the study directory is all.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rethink_ray.cluster.dispatch import Dispatcher
from rethink_ray.cluster.recorder import Recorder
from rethink_ray.cluster.resume import extend_study
from rethink_ray.cluster.session import Capacity, ray_session
from rethink_ray.cluster.wish import Wish, signals
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import writing
from rethink_ray.records.progress import StudyProgress, progress_of
from rethink_ray.records.types import Event
from rethink_ray.search.decide import Decider

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
    seconds: float = 0.0


def run_study(
    directory: StudyDirectory,
    *,
    address: str | None = None,
    slots: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_progress: Callable[[StudyProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """The study has run as far as it can; calling it again continues.

    Args:
        directory: the study; this process is its only writer until the call returns.
        address: a running Ray cluster; None starts one on this machine and stops it again.
        slots: at most this many jobs at a time.
        on_event: told each event once it is recorded.
        on_progress: told how far the study is, about once a second.
        stop: asked ten times a second; true stops the study as SIGINT does.

    Raises:
        RecordError: another process runs the study, or the directory is damaged.
        SpecError, DataError: what only a job could find out is the user's mistake.
    """
    started = time.monotonic()
    with writing(directory.lock_path):
        directory.stop_path.unlink(missing_ok=True)
        wish = Wish(directory.stop_path, stop or (lambda: False))
        recorder = Recorder(directory, on_event)
        recorder.continue_study()
        resources = directory.study.resources
        dispatcher = Dispatcher(
            recorder=recorder,
            decider=Decider(directory.study, directory.facts),
            slots=Capacity(resources, slots),
            stopping=wish,
        )
        try:
            if not dispatcher.decide().done:
                # Ray sets signal handlers of its own, so ours are set before and after it starts
                with signals(wish), ray_session(resources, address, slots), signals(wish):
                    _drive(directory, dispatcher, wish, _ticker(dispatcher, on_progress))
            dispatcher.take_stock()
        finally:
            recorder.refresh_views(now=True)
            directory.stop_path.unlink(missing_ok=True)
            wish.fulfilled()
        return _outcome(dispatcher, wish, time.monotonic() - started)


def _drive(
    directory: StudyDirectory, dispatcher: Dispatcher, wish: Wish, tick: Callable[[], None]
) -> None:
    """One Tuner after another until there is nothing to hand out."""
    scratch = Path(tempfile.mkdtemp(prefix="rethink-ray-"))
    try:
        while True:
            before = dispatcher.handed_out
            _fit(directory, dispatcher, wish, tick, scratch / f"from-{before}")
            if dispatcher.fault is not None:
                raise dispatcher.fault
            if wish() or dispatcher.handed_out - before < JOBS_PER_TUNER:
                return
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fit(
    directory: StudyDirectory,
    dispatcher: Dispatcher,
    wish: Wish,
    tick: Callable[[], None],
    storage: Path,
) -> None:
    from ray import tune

    from rethink_ray.cluster.driver import Booking, JobSearcher, LeaveTune
    from rethink_ray.cluster.slot import Slot

    searcher = JobSearcher(dispatcher, JOBS_PER_TUNER)
    booking = Booking(dispatcher, searcher, tick, wish)
    tuner = tune.Tuner(
        Slot,
        param_space={
            "root": str(directory.root),
            "data": directory.study.data.model_dump_json(),
            "stop": str(directory.stop_path),
            "resources": directory.study.resources.model_dump_json(),
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
    try:
        tuner.fit()
    except LeaveTune:
        _log.debug("left Tune with %d jobs running", len(dispatcher.running))


def _ticker(
    dispatcher: Dispatcher, on_progress: Callable[[StudyProgress], None] | None
) -> Callable[[], None]:
    """What happens ten times a second: views in their rhythm, progress about once a second."""
    started, last, cost = time.monotonic(), 0.0, 0.0

    def tick() -> None:
        nonlocal last, cost
        dispatcher.recorder.refresh_views()
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


def _outcome(dispatcher: Dispatcher, wish: Wish, seconds: float) -> Outcome:
    last = dispatcher.recorder.state.last_failure
    failures = {job_id: last[job_id].reason for job_id in dispatcher.blocked if job_id in last}
    if dispatcher.done:
        return Outcome(status="done", seconds=seconds)
    status: Literal["incomplete", "stopped"] = "stopped" if wish.times else "incomplete"
    return Outcome(
        status=status,
        signal=wish.signal,
        blocked=dispatcher.blocked,
        failures=failures,
        seconds=seconds,
    )
