"""The two ends by which Tune meets the dispatcher: a searcher that takes, a callback that tells.

Tune swallows or retries what is raised in these; so faults are kept, and leave at the next step.
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

from rethink_ray.cluster.dispatch import Dispatcher, Nothing
from rethink_ray.cluster.slot import EVENT, USER_ERROR
from rethink_ray.cluster.stop_request import StopRequest
from rethink_ray.cluster.work import decode_error, encode_job, last_line
from rethink_ray.records.log import decode_line

P = ParamSpec("P")

STOP_SECONDS = 11.0
"""From the wish to stop until jobs are left behind as their last checkpoint has them."""

DIED = "its process or its machine died"
_FINISHED: Any = Searcher.FINISHED
_log = logging.getLogger(__name__)


class LeaveTune(BaseException):
    """Ends ``fit`` at once and past Tune's own clean-up, which can take 25 s."""


class _Unsaved:
    """Tune pickles what it is given, to go on from. The records are for that, and hold locks."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class JobSearcher(_Unsaved, Searcher):
    """Asks the dispatcher for the next job; one Tune trial is one attempt at one job."""

    def __init__(self, dispatcher: Dispatcher, job_limit: int) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.jobs_left = job_limit
        self.job_ids: dict[str, str] = {}
        """Tune's trial id -> our job id."""

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next job, None to wait, or FINISHED."""
        finished: dict[str, Any] = _FINISHED
        if self.jobs_left <= 0:
            return finished
        taken = _kept(self.dispatcher, self.dispatcher.take)()
        if taken is None or taken is Nothing.OVER:
            return finished
        if isinstance(taken, Nothing):
            return None
        self.jobs_left -= 1
        self.job_ids[trial_id] = taken.job_id
        return {"job": encode_job(taken)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The callback books ends; it is told after the searcher and before the next question."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the records are the state."""


class JobCallback(_Unsaved, Callback):
    """Tells the dispatcher what became of each job; leaves Tune when the study must stop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        searcher: JobSearcher,
        tick: Callable[[], None],
        wish: StopRequest,
    ) -> None:
        self.dispatcher = dispatcher
        self.searcher = searcher
        self.tick = tick
        self.wish = wish
        self._wished_at: float | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Ten times a second: views, live table, and whether to leave.

        Jobs that see the wish end by themselves, and Tune then ends in good order; it is left only
        if that takes too long.
        """
        _kept(self.dispatcher, self.tick)()
        if self.dispatcher.fault is not None and not self.wish():
            self.wish.say()
        if self.wish():
            self._wished_at = self._wished_at or time.monotonic()
            if self.wish.urgent or time.monotonic() - self._wished_at > STOP_SECONDS:
                kill_slots(trials)
                raise LeaveTune

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A start, a rung, an asset, an end of the method, or the user's mistake."""
        if EVENT in result and trial.trial_id in self.searcher.job_ids:
            line = str(result[EVENT])
            _kept(self.dispatcher, lambda: self.dispatcher.report(decode_line(line)))()
        if USER_ERROR in result:
            self.dispatcher.give_up(decode_error(str(result[USER_ERROR])))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The job told all it had to tell."""
        self._book_end(trial, self.dispatcher.ended)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """The machine lost the job."""
        self._book_end(
            trial,
            lambda job_id: self.dispatcher.failed(job_id, reason_of(trial.pickled_error_file)),
        )

    def _book_end(self, trial: Trial, tell: Callable[[str], None]) -> None:
        """Once: Tune may tell an end twice, when the job's next attempt runs already."""
        job_id = self.searcher.job_ids.pop(trial.trial_id, None)
        if job_id is not None:
            _kept(self.dispatcher, tell)(job_id)


def kill_slots(trials: list[Trial]) -> None:
    """Their processes end now: in a Ray session that goes on, nobody else would end them soon."""
    for trial in trials:
        actor = trial.temporary_state.ray_actor
        if actor is not None:
            ray.kill(actor)


def reason_of(pickled_error: str | None) -> str:
    """One line: why a job was lost, from the file that Tune left of its error."""
    try:
        error = pickle.loads(Path(pickled_error or "").read_bytes())
    except Exception:
        return "lost without a word"
    if isinstance(error, RayActorError):
        if error.actor_init_failed:
            return f"its process could not start: {str(error).splitlines()[-1].strip()[:250]}"
        return "its machine was preempted" if error.preempted else DIED
    if isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return last_line(error)


def _kept(dispatcher: Dispatcher, call: Callable[P, Any]) -> Callable[P, Any]:
    """``call``, whose exception becomes the dispatcher's fault; the call then returns None."""

    @wraps(call)
    def kept(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            dispatcher.fault = dispatcher.fault or error
            _log.debug("kept for the end of the step", exc_info=True)
            return None

    return kept
