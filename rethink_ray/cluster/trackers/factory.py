"""Experiment trackers, fed from the records: one run per trial, one point per finished rung.

A tracker is asked what it has already, and given the rest; so a study that was killed, resumed, or
told of a tracker only later has every point once. Nothing a tracker does can stop the study.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import (
    Event,
    Member,
    Purpose,
    RoundProposed,
    RungDone,
    TrialEnded,
)
from rethink_ray.spec.errors import SpecError, explain
from rethink_ray.spec.space import Value

TRACKERS = ("tensorboard", "mlflow", "wandb")
PATIENCE = 3
"""A tracker that failed so often in a row is left alone until the study is run again."""
LAST_WORDS_SECONDS = 30.0
"""How long the end of a run waits for trackers that are slow."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCard:
    """What a tracker's run says about its trial."""

    study: str
    regime: str
    arm: str
    purpose: Purpose
    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A finished rung of a trial, or how the method ended it."""

    card: TrialCard
    event: RungDone | TrialEnded

    @property
    def key(self) -> str:
        """Names the point within its study, the same after every restart."""
        event = self.event
        what = f"{event.length:g}x" if isinstance(event, RungDone) else "ended"
        return f"{event.trial_id}-{what}"


class Tracker(Protocol):
    """Where points go."""

    def known(self) -> set[str]:
        """Keys of the points it has."""
        ...

    def log(self, point: Point) -> None:
        """Take a point; written by now, or lost if this raises."""
        ...


class Feed:
    """Hands each new event to every tracker, in a thread of its own, in order.

    It wakes with the first event, so only for the process that may write the study; the thread
    then reads what was recorded before.
    """

    def __init__(
        self, study: str, load_state: Callable[[], StudyState], trackers: Sequence[Tracker]
    ) -> None:
        self._study = study
        self._load_state = load_state
        self._failures = dict.fromkeys(trackers, 0)
        """Tracker -> failures in a row."""
        self._known: dict[Tracker, set[str]] = {}
        self._cards: dict[str, TrialCard] = {}
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __call__(self, event: Event) -> None:
        """An event was recorded."""
        if not self._failures:
            return
        if self._thread.ident is None:
            self._thread.start()
        self._queue.put(event)

    def close(self, seconds: float = LAST_WORDS_SECONDS) -> bool:
        """Everything handed in so far is out; False if that took too long and the rest waits."""
        if self._thread.ident is None:
            return True
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning("a tracker is slow; what it lacks is logged when the study runs again")
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            for event in _in_order(self._load_state()):
                self._take(event)
        except Exception as error:
            _log.warning("what was recorded before is not logged now: %r", error)
        while (new := self._queue.get()) is not None:
            self._take(new)

    def _take(self, event: Event) -> None:
        if isinstance(event, RoundProposed):
            for member in event.members:
                self._cards.setdefault(member.trial_id, self._card_of(event, member))
        elif isinstance(event, RungDone | TrialEnded) and event.trial_id in self._cards:
            point = Point(card=self._cards[event.trial_id], event=event)
            for tracker, failures in list(self._failures.items()):
                if failures < PATIENCE:
                    self._give(tracker, point)

    def _card_of(self, proposed: RoundProposed, member: Member) -> TrialCard:
        return TrialCard(
            study=self._study,
            regime=proposed.regime,
            arm=proposed.arm,
            purpose=proposed.purpose,
            member=member,
        )

    def _give(self, tracker: Tracker, point: Point) -> None:
        try:
            if tracker not in self._known:
                self._known[tracker] = tracker.known()
            if point.key not in self._known[tracker]:
                tracker.log(point)
                self._known[tracker].add(point.key)
            self._failures[tracker] = 0
        except Exception as error:
            self._failures[tracker] += 1
            name = type(tracker).__name__
            _log.warning("%s did not take %s; the study goes on: %r", name, point.key, error)
            if self._failures[tracker] == PATIENCE:
                _log.warning("%s is left alone until the study is run again", name)


def build_feed(directory: StudyDirectory, names: Sequence[str]) -> Feed:
    """A listener that hands a study's events to the trackers of these names.

    Raises:
        SpecError: no such tracker, or its package is not installed.
    """
    trackers = [build_tracker(name, directory) for name in dict.fromkeys(names)]
    return Feed(directory.study.study, directory.load_state, trackers)


def build_tracker(name: str, directory: StudyDirectory) -> Tracker:
    """The tracker of a name, writing for this study.

    Raises:
        SpecError: no such tracker, or its package is not installed.
    """
    try:
        match name:
            case "tensorboard":
                from rethink_ray.cluster.trackers.tensorboard_files import TensorBoardFiles

                return TensorBoardFiles(directory.root / "tensorboard")
            case "mlflow":
                from rethink_ray.cluster.trackers.mlflow_runs import MlflowRuns

                return MlflowRuns(directory.study.study, directory.root)
            case "wandb":
                from rethink_ray.cluster.trackers.wandb_runs import WandbRuns

                return WandbRuns(directory.study.study, directory.root)
    except ImportError as error:
        remedy = f"pip install 'rethink-ray[{name}]'"
        raise SpecError(explain("--log", f"{name} must be installed", str(error), remedy)) from None
    known = f"Known: {', '.join(TRACKERS)}, none."
    raise SpecError(explain("--log", "must name trackers", name, known))


def tracker_names(text: str) -> tuple[str, ...]:
    """``tensorboard,mlflow`` or ``none`` as the names it lists.

    Raises:
        SpecError: a name is not known.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if names in ((), ("none",)):
        return ()
    for name in names:
        if name not in TRACKERS:
            known = f"Known: {', '.join(TRACKERS)}, none."
            raise SpecError(explain("--log", "must name trackers", name, known))
    return names


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without those that are not defined: a size bin that holds no object."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def plain(params: Mapping[str, Value]) -> dict[str, str | int | float | bool]:
    """Sampled values without those that say "none"."""
    return {path: value for path, value in params.items() if value is not None}


def _in_order(state: StudyState) -> Iterator[Event]:
    """Rounds, then rungs from short to long, then ends."""
    for rounds in state.rounds.values():
        yield from rounds.values()
    yield from sorted(state.rungs.values(), key=lambda rung: (rung.trial_id, rung.length))
    yield from state.ended.values()
