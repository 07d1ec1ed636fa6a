"""A running study: on a terminal a live table, in a pipe one plain line per event."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rethink_ray.commands.hours import eta_line, job_lines
from rethink_ray.commands.status import (
    build_progress_table,
    plural,
    remaining_words,
    run_lines,
)
from rethink_ray.protocol.remaining import StudyProgress
from rethink_ray.records.run_progress import RunProgress
from rethink_ray.records.state import StudyState
from rethink_ray.records.types import (
    AssetDone,
    Event,
    JobFailed,
    LookTaken,
    Resumed,
    RoundProposed,
    RunCut,
    RungDone,
    TrialEnded,
)
from rethink_ray.spec.metrics import score_text
from rethink_ray.spec.study import Study

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

COUNT_SECONDS = 60.0
"""A pipe gets a count of what is left at most this often."""
QUIET_SECONDS = 600.0
"""A pipe gets the running jobs where nothing else was said for so long."""


class LiveView:
    """Shows the events of a run as they are recorded."""

    def __init__(self, study: Study, state: StudyState) -> None:
        self._metric = study.objective.metric
        self._began = self._counted_at = time.monotonic()
        self._last_count = ""
        self._live: Live | None = None
        self._seen: RunProgress | None = None
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
        """A pipe shows the event; a terminal shows the next count."""
        if isinstance(event, RoundProposed):
            self._learn(event)
        if self._live is not None:
            return
        for line in event_lines(event, self._names, self._metric):
            self._print(line)

    def show_notice(self, sentence: str) -> None:
        """Show a sentence about the cluster."""
        if self._live is not None:
            self._live.console.print(sentence, markup=False, highlight=False)
        else:
            self._print(sentence)

    def _print(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the pipe is closed; the study goes on
            print(f"[{time.monotonic() - self._began:7.1f} s] {line}", flush=True)

    def _learn(self, proposed: RoundProposed) -> None:
        for member in proposed.members:
            self._names[member.trial_id] = proposed.cell.name

    def on_run_progress(self, seen: RunProgress) -> None:
        """The next table and the next count say what the jobs do and when they are done."""
        self._seen = seen

    def on_progress(self, progress: StudyProgress) -> None:
        """The table of a terminal is current; a pipe gets a count once a minute."""
        if self._live is not None:
            screen = build_screen(progress, self._seen, self._live.console.width)
            self._live.update(screen, refresh=True)
            return
        words = f"{plural(progress.rungs, 'rung')} finished; {remaining_words(progress)}"
        waited, now = time.monotonic() - self._counted_at, time.time()
        if waited < (QUIET_SECONDS if words == self._last_count else COUNT_SECONDS):
            return
        self._counted_at = time.monotonic()
        eta = None if self._seen is None else eta_line(self._seen, now)
        self._print(words if eta is None else f"{words}; {eta}")
        if words == self._last_count and self._seen is not None:
            for line in job_lines(self._seen.jobs, now):
                self._print(line.strip())
        self._last_count = words


def build_screen(progress: StudyProgress, seen: RunProgress | None, width: int) -> "Group":
    """The table of a study, below it the running jobs and the expected end.

    Args:
        progress: how far the study is.
        seen: what its jobs do; None: nothing was seen yet.
        width: columns of the terminal.
    """
    from rich.console import Group
    from rich.text import Text

    table = build_progress_table(progress, width)
    if seen is None:
        return table
    below = "\n".join(("", *run_lines(seen, time.time())))
    return Group(table, Text(below, no_wrap=True, overflow="ellipsis"))


def event_lines(event: Event, names: dict[str, str], metric: str) -> Iterator[str]:
    """The lines that a pipe shows of an event; none for ``JobStarted``."""
    match event:
        case RoundProposed():
            kind = "trial" if event.purpose == "search" else "replicate"
            members = plural(len(event.members), kind)
            yield f"{event.cell.name}: {event.purpose} round {event.number + 1}, {members}"
        case RungDone():
            scores = [
                f"{name} {score_text(name, value, decimals=2)}"
                for name, value in event.metrics.items()
                if name.endswith(f"/{metric}")
            ]
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
                f"{name} {score_text(name, value)}"
                for name, value in event.metrics.items()
                if "/" not in name or name.endswith(f"/{metric}")  # a teacher has one per category
            ]
            verdict = (
                f"; refused, so no trial starts from it: {event.refused}" if event.refused else ""
            )
            yield f"{event.key}: {', '.join(scores)} ({event.seconds:.0f} s){verdict}"
        case JobFailed():
            yield f"{event.job_id} failed: {event.reason}"
        case RunCut():
            yield f"no job starts any more: the next one would not end within {event.hours:g} h"
        case LookTaken():
            states = Counter(c.verdict for c in event.comparisons)
            counts = ", ".join(f"{num} {verdict}" for verdict, num in sorted(states.items()))
            on = f"{', '.join(event.running)} run on" if event.running else "no cell runs on"
            yield f"look after {event.replicates} of each arm: {counts or 'no comparison'}; {on}"
        case Resumed():
            trials = plural(event.trials, "search trial")
            repeats = plural(event.replicates, "replicate")
            several = f", in each of {event.searches} searches" if event.searches > 1 else ""
            yield f"continued with {trials} a cell, {repeats} per incumbent{several}"
