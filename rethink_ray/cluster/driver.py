"""Connects Ray Tune to the dispatcher: a searcher gives Tune jobs, a callback takes their results.

Tune swallows or retries exceptions that are raised in a searcher or callback. So an exception is
stored as the dispatcher's fault, and ends the study at Tune's next step.
"""

import logging
import pickle
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rethink_ray.cluster.dispatch import Dispatcher, NoJob
from rethink_ray.cluster.slot import EVENT, USER_ERROR
from rethink_ray.cluster.stop_request import StopRequest
from rethink_ray.cluster.work import decode_error, encode_job, last_line
from rethink_ray.records.log import decode_line

_P = ParamSpec("_P")

STOP_SECONDS = 11.0
"""From a request to stop until jobs are killed; they then go on from their last checkpoints."""

DIED = "its process or its machine died"
_FINISHED: Any = Searcher.FINISHED
_log = logging.getLogger(__name__)


class LeaveTune(BaseException):
    """Ends ``Tuner.fit`` at once, without Tune's own clean-up, which can take 25 s."""


class _PicklesEmpty:
    """Pickles as an empty object. Tune pickles its parts to resume; we resume from records."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class JobSearcher(_PicklesEmpty, Searcher):
    """Gives Tune the dispatcher's next job. One trial of Tune is one attempt at one job."""

    def __init__(self, dispatcher: Dispatcher, job_limit: int) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.jobs_left = job_limit
        self.job_ids: dict[str, str] = {}
        """Tune's trial id -> our job id, of attempts that have not ended."""

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The configuration of the next job; None to wait; FINISHED if there is none."""
        finished: dict[str, Any] = _FINISHED
        if self.jobs_left <= 0:
            return finished
        job = _keep_fault(self.dispatcher, self.dispatcher.next_job)()
        if job is None or job is NoJob.OVER:
            return finished
        if isinstance(job, NoJob):
            return None
        self.jobs_left -= 1
        self.job_ids[trial_id] = job.job_id
        return {"job": encode_job(job)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: ``JobCallback`` ends jobs. Tune calls it before it asks for the next job."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the records are the state."""


class JobCallback(_PicklesEmpty, Callback):
    """Hands results and ends of jobs to the dispatcher; leaves Tune when the study must stop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        searcher: JobSearcher,
        tick: Callable[[], None],
        stop_request: StopRequest,
    ) -> None:
        self.dispatcher = dispatcher
        self.searcher = searcher
        self.tick = tick
        self.stop_request = stop_request
        self._stopping_since: float | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Refresh views and the live table, and leave Tune if stopping takes too long.

        Tune calls this ten times a second. Jobs that see a request to stop end by themselves, and
        Tune then ends in good order.
        """
        _keep_fault(self.dispatcher, self.tick)()
        if self.dispatcher.fault is not None and not self.stop_request():
            self.stop_request.request()
        if self.stop_request():
            self._stopping_since = self._stopping_since or time.monotonic()
            is_late = time.monotonic() - self._stopping_since > STOP_SECONDS
            if self.stop_request.is_urgent or is_late:
                kill_slots(trials)
                raise LeaveTune

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the job's event, or end the study if the job found a mistake of the user."""
        if EVENT in result and trial.trial_id in self.searcher.job_ids:
            line = str(result[EVENT])
            _keep_fault(self.dispatcher, lambda: self.dispatcher.record(decode_line(line)))()
        if USER_ERROR in result:
            self.dispatcher.abort(decode_error(str(result[USER_ERROR])))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The job's attempt ended without an error."""
        self._end_attempt(trial, self.dispatcher.end_job)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The job's process or its machine died."""
        self._end_attempt(
            trial,
            lambda job_id: self.dispatcher.lose_job(job_id, reason_of(trial.pickled_error_file)),
        )

    def _end_attempt(self, trial: Trial, end: Callable[[str], None]) -> None:
        """Call ``end`` with the job's id, once per attempt.

        Tune may report an end twice, when the next attempt at the job runs already.
        """
        job_id = self.searcher.job_ids.pop(trial.trial_id, None)
        if job_id is not None:
            _keep_fault(self.dispatcher, end)(job_id)


def kill_slots(trials: list[Trial]) -> None:
    """Kill the jobs' processes; in a Ray session that goes on they would run for a while."""
    for trial in trials:
        actor = trial.temporary_state.ray_actor
        if actor is not None:
            ray.kill(actor)


def reason_of(pickled_error: str | None) -> str:
    """One line: why a job was lost, from the file that Tune left of its error."""
    try:
        error = pickle.loads(Path(pickled_error or "").read_bytes())
    except Exception:
        return "lost, and Ray gives no reason"
    if isinstance(error, RayActorError):
        if error.actor_init_failed:
            return f"its process could not start: {str(error).splitlines()[-1].strip()[:250]}"
        return "its machine was preempted" if error.preempted else DIED
    if isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return last_line(error)


def _keep_fault(dispatcher: Dispatcher, call: Callable[_P, Any]) -> Callable[_P, Any]:
    """``call``, whose exception becomes the dispatcher's fault; the call then returns None."""

    @wraps(call)
    def call_and_keep(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            dispatcher.fault = dispatcher.fault or error
            _log.debug("the fault ends the study at the next step", exc_info=True)
            return None

    return call_and_keep
