"""A running study on a terminal: a live table. In a pipe: one plain line per event."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.lock import is_running, read_owner
from rethink_ray.records.progress import StudyProgress, progress_of
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
    from rich.table import Table


class LiveView:
    """Shows a run as it is recorded."""

    def __init__(self, study: Study, state: StudyState) -> None:
        self._metric = study.objective.metric
        self._began = time.monotonic()
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
            self._names[member.trial_id] = f"{proposed.regime}/{proposed.arm}"

    def on_progress(self, progress: StudyProgress) -> None:
        """About once a second: the table of a terminal."""
        if self._live is not None:
            self._live.update(progress_table(progress), refresh=True)


def event_lines(event: Event, names: dict[str, str], metric: str) -> Iterator[str]:
    """What a pipe shows of an event; nothing for those only a log needs."""
    match event:
        case RoundProposed():
            what = "trials" if event.purpose == "search" else "replicates"
            yield (f"{event.regime}/{event.arm}: round {event.number}, {len(event.members)} {what}")
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
            scores = [f"{name} {value:.3f}" for name, value in event.metrics.items()]
            verdict = f" REFUSED: {event.refused}" if event.refused else ""
            yield f"{event.key}: {', '.join(scores)} ({event.seconds:.0f} s){verdict}"
        case JobFailed():
            yield f"{event.job_id} failed: {event.reason}"
        case Resumed():
            yield f"continued with {event.trials} trials, {event.replicates} replicates per cell"


def progress_table(progress: StudyProgress) -> "Table":
    """One row per cell: trials, rungs by length, best so far, replicate means."""
    from rich.markup import escape
    from rich.table import Table

    minutes = progress.elapsed / 60
    table = Table(title=f"{progress.rungs} rungs, {minutes:.1f} min", title_justify="left")
    for column in ("cell", "trials", "replicates", "rungs", "best (select)", "mean (report)"):
        table.add_column(column, no_wrap=column == "cell")
    for cell in progress.cells:
        table.add_row(
            escape(cell.cell.name),
            f"{cell.proposed}/{cell.budget}",
            str(sum(cell.replicates.values())),
            "  ".join(f"{length:g}x:{num}" for length, num in cell.rungs.items()),
            "  ".join(f"{length:g}x:{value:.1f}" for length, value in cell.best.items()),
            "  ".join(f"{length:g}x:{value:.1f}" for length, value in cell.reported.items()),
        )
    return table


def show_status(where: str, *, watch: bool) -> None:
    """Print the state of a study; with ``watch``, again every two seconds until interrupted."""
    from rich.console import Console

    console = Console()
    while True:
        directory = StudyDirectory.open(where)
        state = directory.load_state()
        progress = progress_of(directory.study, state)
        if watch:
            console.clear()
        console.print(progress_table(progress))
        console.print(_owner(directory), markup=False, highlight=False)
        for job_id, reason in progress.failures.items():
            console.print(f"failed: {job_id}: {reason}", markup=False, highlight=False)
        if not watch:
            return
        try:
            time.sleep(2.0)
        except KeyboardInterrupt:
            return


def _owner(directory: StudyDirectory) -> str:
    owner = read_owner(directory.lock_path)
    if owner is None or not is_running(directory.lock_path):
        return "not running"
    return f"running: {owner}"
