"""The hours that a run of a study may take, and which jobs may still start in them.

The limit only cuts the order in which jobs start. What runs next stays a pure function of the
records, so a study that is cut and goes on later ends with the table of one that never was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import ONE_IN_TEN, JobTimes
from rethink_ray.search.jobs import Job
from rethink_ray.search.measured_paces import PaceMeter
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.study import Study

STOP_SECONDS_KEPT = 15.0
"""Kept for the checkpoints of running jobs, and for the end of Ray."""
STOP_SHARE_KEPT = 0.05
"""Of a short run at most this share is kept for its end."""


@dataclass(slots=True, kw_only=True)
class TimeLimit:
    """A limit on one run, counted from ``began`` on a clock that the caller gives."""

    hours: float
    clock: Callable[[], float]
    """Seconds, such as ``time.monotonic``."""
    began: float

    @property
    def seconds_left(self) -> float:
        """Seconds until running jobs are stopped; below 0 once they should have been."""
        given = self.hours * 3600
        kept = min(STOP_SECONDS_KEPT, STOP_SHARE_KEPT * given)
        return given - kept - (self.clock() - self.began)

    def is_over(self) -> bool:
        """Whether running jobs are to be stopped now."""
        return self.seconds_left <= 0.0


@dataclass(slots=True, kw_only=True)
class JobGate:
    """Decides whether a job may start: whether it is expected to end in time.

    It expects what the study's own records say. Nine jobs in ten end sooner than it assumes. A job
    of which no pace is known may start: at the limit it writes a checkpoint as any other.
    """

    study: Study
    facts: DataFacts
    limit: TimeLimit
    _meter: PaceMeter = field(init=False)

    def __post_init__(self) -> None:
        self._meter = PaceMeter(self.study, self.facts)

    def admits(self, job: Job, state: StudyState) -> bool:
        """Whether a job that starts now is expected to end within the limit."""
        paces = self._meter.paces(state)
        times = JobTimes(study=self.study, facts=self.facts, paces=paces, state=state)
        pace, seconds = times.pace(job), times.job_seconds(job)
        left = self.limit.seconds_left
        if pace is None or seconds is None:
            return left > 0.0
        return seconds * math.exp(ONE_IN_TEN * pace.spread) <= left


def require_hours(hours: float) -> float:
    """``hours``, if a run can last so long.

    Raises:
        SpecError: it is no number above zero.
    """
    if not (math.isfinite(hours) and hours > 0.0):
        raise SpecError(explain("--hours", "must be a number above 0, such as 1.5", hours))
    return hours
