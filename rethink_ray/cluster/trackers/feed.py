"""Feeds a study's events to its trackers: one run per trial, one point per finished rung.

The feed asks a tracker which points it has, and logs the others to it. So each point arrives once,
even if the study was killed and resumed, or a tracker was named only later. No tracker can stop the
study.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from rethink_ray.cluster.trackers.points import Point, Tracker, TrialCard
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import Event, Member, RoundProposed, RungDone, TrialEnded

MOST_FAILURES = 3
"""A tracker that fails this often in a row gets no more points until the study is run again."""
CLOSE_SECONDS = 30.0
"""How long the end of a run waits for trackers that are slow."""

_log = logging.getLogger(__name__)


class Feed:
    """Hands each new event to every tracker, in order, in a thread of its own.

    The thread starts with the first event, so only in the process that writes the study. It first
    reads the events that were recorded before.
    """

    def __init__(
        self, study: str, load_state: Callable[[], StudyState], trackers: Sequence[Tracker]
    ) -> None:
        self._study = study
        self._load_state = load_state
        self._failures = dict.fromkeys(trackers, 0)
        """Tracker -> failures in a row."""
        self._logged_keys: dict[Tracker, set[str]] = {}
        self._cards: dict[str, TrialCard] = {}
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event that was just recorded."""
        if not self._failures:
            return
        if self._thread.ident is None:
            self._thread.start()
        self._queue.put(event)

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all events are logged; False if that takes longer than ``seconds``."""
        if self._thread.ident is None:
            return True
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning(
                "a tracker is slow; its missing points are logged when the study runs again"
            )
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            for event in _sort_events(self._load_state()):
                self._pass_on(event)
        except Exception as error:
            _log.warning("events that were recorded before are not logged now: %r", error)
        while (new := self._queue.get()) is not None:
            self._pass_on(new)

    def _pass_on(self, event: Event) -> None:
        if isinstance(event, RoundProposed):
            for member in event.members:
                self._cards.setdefault(member.trial_id, self._build_card(event, member))
        elif isinstance(event, RungDone | TrialEnded) and event.trial_id in self._cards:
            point = Point(card=self._cards[event.trial_id], event=event)
            for tracker, failures in list(self._failures.items()):
                if failures < MOST_FAILURES:
                    self._log_point(tracker, point)

    def _build_card(self, proposed: RoundProposed, member: Member) -> TrialCard:
        return TrialCard(
            study=self._study,
            regime=proposed.regime,
            arm=proposed.arm,
            purpose=proposed.purpose,
            member=member,
        )

    def _log_point(self, tracker: Tracker, point: Point) -> None:
        try:
            if tracker not in self._logged_keys:
                self._logged_keys[tracker] = tracker.logged_keys()
            if point.key not in self._logged_keys[tracker]:
                tracker.log(point)
                self._logged_keys[tracker].add(point.key)
            self._failures[tracker] = 0
        except Exception as error:
            self._failures[tracker] += 1
            name = type(tracker).__name__
            _log.warning("%s did not take %s; the study goes on: %r", name, point.key, error)
            if self._failures[tracker] == MOST_FAILURES:
                _log.warning("%s gets no more points until the study is run again", name)


def _sort_events(state: StudyState) -> Iterator[Event]:
    """Rounds, then rungs from short to long, then ends."""
    for rounds in state.rounds.values():
        yield from rounds.values()
    yield from sorted(state.rungs.values(), key=lambda rung: (rung.trial_id, rung.length))
    yield from state.ended.values()
