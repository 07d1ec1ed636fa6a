"""The state of a study: its events, indexed. The order in which they arrived does not matter.

Adding an event twice changes nothing, so a log may hold an event twice after a crash.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from rethink_ray.records.types import (
    AssetDone,
    Event,
    JobFailed,
    JobStarted,
    LookTaken,
    Member,
    Purpose,
    Resumed,
    RoundProposed,
    RunCut,
    RungDone,
    TrialEnded,
)
from rethink_ray.spec.resolve import Cell


class StudyState:
    """The events of a study, indexed for decisions and tables."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.version = 0
        """Grows with each event that changes something; decisions are cached under it."""
        self.rounds: dict[tuple[Cell, Purpose], dict[int, RoundProposed]] = defaultdict(dict)
        self.rungs: dict[tuple[str, float], RungDone] = {}
        self.ended: dict[str, TrialEnded] = {}
        self.assets: dict[str, AssetDone] = {}
        self.failures: Counter[str] = Counter()
        """Job id -> machine failures since the study was last continued."""
        self.last_failure: dict[str, JobFailed] = {}
        self.started: dict[str, JobStarted] = {}
        self.resumed: list[Resumed] = []
        self.cuts: list[RunCut] = []
        self.looks: dict[int, LookTaken] = {}
        """Number of a look -> the look."""
        for event in events:
            self.add(event)

    @property
    def looks_taken(self) -> tuple[LookTaken, ...]:
        """The looks, the first one first."""
        return tuple(self.looks[number] for number in sorted(self.looks))

    def copy(self) -> "StudyState":
        """The same events; adding one to the copy leaves this state as it is."""
        copied = StudyState()
        copied.version = self.version
        for key, rounds in self.rounds.items():
            copied.rounds[key] = dict(rounds)
        copied.rungs, copied.ended = dict(self.rungs), dict(self.ended)
        copied.assets, copied.failures = dict(self.assets), Counter(self.failures)
        copied.last_failure, copied.started = dict(self.last_failure), dict(self.started)
        copied.resumed, copied.cuts = list(self.resumed), list(self.cuts)
        copied.looks = dict(self.looks)
        return copied

    def add(self, event: Event) -> bool:
        """The state includes the event; False if it did before."""
        match event:
            case RoundProposed():
                rounds = self.rounds[event.cell, event.purpose]
                new = rounds.setdefault(event.number, event) is event
            case RungDone():
                new = self.rungs.setdefault((event.trial_id, event.length), event) is event
            case TrialEnded():
                new = self.ended.setdefault(event.trial_id, event) is event
            case AssetDone():
                new = self.assets.setdefault(event.key, event) is event
            case JobFailed():
                self.failures[event.job_id] += 1
                self.last_failure[event.job_id] = event
                new = True
            case JobStarted():
                self.started[event.job_id] = event
                new = False
            case LookTaken():
                new = self.looks.setdefault(event.number, event) is event
            case RunCut():
                self.cuts.append(event)
                new = False
            case Resumed():
                self.resumed.append(event)
                self.failures.clear()
                new = True
        self.version += new
        return new

    def members(self, cell: Cell, purpose: Purpose) -> list[tuple[int, Member]]:
        """(round number, member) of a cell, in the order of their proposal."""
        rounds: Mapping[int, RoundProposed] = self.rounds.get((cell, purpose), {})
        return [(n, m) for n in sorted(rounds) for m in rounds[n].members]

    def metric(self, trial_id: str, length: float, name: str) -> float | None:
        """One metric of one finished rung (``val/ap``), or None."""
        rung = self.rungs.get((trial_id, length))
        return None if rung is None else rung.metrics.get(name)

    def lengths_done(self, trial_id: str, lengths: Iterable[float]) -> tuple[float, ...]:
        """Those of ``lengths`` that this trial has finished."""
        return tuple(length for length in lengths if (trial_id, length) in self.rungs)

    def counts(self) -> dict[str, Any]:
        """Rungs, ended trials and assets, for a log line."""
        return {"rungs": len(self.rungs), "ended": len(self.ended), "assets": len(self.assets)}
