"""A running study on a terminal: a live table. In a pipe: one plain line per event."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rethink_ray.commands.status import counted, progress_table, to_go
from rethink_ray.protocol.remaining import StudyProgress
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import (
    AssetDone,
    Event,
    JobFailed,
    Resumed,
    RoundProposed,
    RungDone,
    TrialEnded,
)
from rethink_ray.spec.study import Study

if TYPE_CHECKING:
    from rich.live import Live

TELL_EVERY = 60.0
"""Seconds between two counts in plain lines."""


class LiveView:
    """Shows a run as it is recorded."""

    def __init__(self, study: Study, state: StudyState) -> None:
        self._metric = study.objective.metric
        self._began = self._told = time.monotonic()
        self._told_words = ""
        self._live: Live | None = None
        self._names: dict[str, str] = {}
        for rounds in state.rounds.values():
            for proposed in rounds.values():
                self._learn(proposed)

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def on_event(self, event: Event) -> None:
        """One event was recorded."""
        if isinstance(event, RoundProposed):
            self._learn(event)
        if self._live is not None:
            return
        for line in event_lines(event, self._names, self._metric):
            self._print(line)

    def tell(self, sentence: str) -> None:
        """Something about the cluster that is no event."""
        if self._live is not None:
            self._live.console.print(sentence, markup=False, highlight=False)
        else:
            self._print(sentence)

    def _print(self, line: str) -> None:
        with suppress(BrokenPipeError):  # nobody reads any more; the study goes on
            print(f"[{time.monotonic() - self._began:7.1f} s] {line}", flush=True)

    def _learn(self, proposed: RoundProposed) -> None:
        for member in proposed.members:
            self._names[member.trial_id] = proposed.cell.name

    def on_progress(self, progress: StudyProgress) -> None:
        """About once a second: the table of a terminal; in a pipe now and then a count."""
        if self._live is not None:
            self._live.update(progress_table(progress, self._live.console.width), refresh=True)
            return
        words = f"{counted(progress.rungs, 'rung')} finished; {to_go(progress)}"
        if time.monotonic() - self._told >= TELL_EVERY and words != self._told_words:
            self._told, self._told_words = time.monotonic(), words
            self._print(words)


def event_lines(event: Event, names: dict[str, str], metric: str) -> Iterator[str]:
    """What a pipe shows of an event; nothing for those only a log needs."""
    match event:
        case RoundProposed():
            what = "trial" if event.purpose == "search" else "replicate"
            num = counted(len(event.members), what)
            yield f"{event.cell.name}: {event.purpose} round {event.number + 1}, {num}"
        case RungDone():
            scores = [f"{k} {v:.2f}" for k, v in event.metrics.items() if k.endswith(f"/{metric}")]
            cell = names.get(event.trial_id, "")
            seconds = event.seconds_train + event.seconds_score
            yield (
                f"{cell} {event.trial_id} {event.length:g}x: {', '.join(scores)} ({seconds:.0f} s)"
            )
        case TrialEnded():
            cell = names.get(event.trial_id, "")
            yield f"{cell} {event.trial_id} {event.outcome}: {event.reason}"
        case AssetDone():
            scores = [
                f"{name} {value:.3f}"
                for name, value in event.metrics.items()
                if "/" not in name or name.endswith(f"/{metric}")  # a teacher has one per category
            ]
            verdict = f" REFUSED: {event.refused}" if event.refused else ""
            yield f"{event.key}: {', '.join(scores)} ({event.seconds:.0f} s){verdict}"
        case JobFailed():
            yield f"{event.job_id} failed: {event.reason}"
        case Resumed():
            trials = counted(event.trials, "search trial")
            repeats = counted(event.replicates, "replicate")
            several = f", {event.searches} searches a cell" if event.searches > 1 else ""
            yield f"continued: {trials} per search, {repeats} per incumbent{several}"
