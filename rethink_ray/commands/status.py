"""How far a study is, for people: its table, what is left, and the command that comes next."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.protocol.empty_cells import (
    EmptyCell,
    empty_cells,
    empty_lines,
    is_all_of,
)
from rethink_ray.protocol.remaining import StudyProgress, progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.failures import failure_lines
from rethink_ray.records.lock import is_running, read_owner
from rethink_ray.records.state import StudyState
from rethink_ray.spec.facts import dropped_words
from rethink_ray.spec.hashing import IDENTITY

if TYPE_CHECKING:
    from rich.table import Table


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
        console.print(progress_table(progress, console.width))
        for line in status_lines(directory, progress, empty_cells(state, progress)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if not watch:
            return
        try:
            time.sleep(2.0)
        except KeyboardInterrupt:
            return


def status_lines(
    directory: StudyDirectory, progress: StudyProgress, empty: Sequence[EmptyCell] = ()
) -> Iterator[str]:
    """Whether it is complete, who runs it, what failed, and the command that comes next.

    Args:
        directory: of the study.
        progress: how far it is.
        empty: its cells that ran to their end without a score.
    """
    for line in failure_lines(progress.failures, local_root(directory)):
        yield f"failed: {line}"
    ended = [f"{c.cell.name} {c.convergence.words}" for c in progress.cells if c.convergence]
    if ended:
        yield f"ladders: {'; '.join(ended)}"
    if empty and progress.complete:
        yield from incomplete_lines(directory, empty)
    owner = read_owner(directory.lock_path)
    if owner is not None and is_running(directory.lock_path):
        yield f"running: {owner}"
        yield to_go(progress)
        return
    root = as_typed(directory)
    if not progress.complete and directory.identity != IDENTITY:
        yield f"not running: incomplete, {to_go(progress)}"
        yield (
            f"recorded under identity {directory.identity}: this program (identity {IDENTITY}) "
            "reads it; the version that made it can go on"
        )
        return
    if not progress.complete:
        yield f"not running: incomplete, {to_go(progress)}"
        yield f"go on with: rethink-ray resume {root}"
        return
    is_empty = is_all_of(empty, directory.study)
    yield f"not running: {'nothing is left to run' if is_empty else 'the study is complete'}"
    if not is_empty:
        yield f"next: rethink-ray findings {root}"


def incomplete_lines(directory: StudyDirectory, empty: Sequence[EmptyCell]) -> Iterator[str]:
    """Which cells have no score, why, and what to do: the words of ``run`` and of ``status``."""
    study = directory.study
    cells = counted(len(study.regimes) * len(study.arms), "cell")
    word = "incomplete: " if is_all_of(empty, study) else ""
    yield f"{word}{len(empty)} of {cells} {'has' if len(empty) == 1 else 'have'} no score"
    yield from empty_lines(empty, local_root(directory))
    more = f"rethink-ray resume {as_typed(directory)} --trials {study.budget.trials + 4}"
    others = f" Where values are searched, others can be tried as well: {more}"
    yield (
        "Trials that the method ended would end the same way, so resume does not run them again. "
        "Mend the study file and run it into a new directory."
        + (others if directory.identity == IDENTITY else "")
    )


def local_root(directory: StudyDirectory) -> Path:
    """A study's folder on this machine, relative where that is shorter."""
    root, here = directory.root, Path.cwd()
    return root.relative_to(here) if root.is_relative_to(here) else root


def as_typed(directory: StudyDirectory) -> str:
    """A study's place as its reader would type it: relative where that is shorter."""
    if directory.copy:
        return directory.shown
    return shlex.quote(str(local_root(directory)))


def header_lines(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """What is about to run, how much of it, and where."""
    study = directory.study
    progress = progress_of(study, state)
    regimes, arms = counted(len(study.regimes), "regime"), counted(len(study.arms), "arm")
    yield f"study {study.study}: {study.question}".rstrip(": ")
    cells = counted(len(study.regimes) * len(study.arms), "cell")
    several = f", {study.budget.searches} searches each" if study.budget.searches > 1 else ""
    yield f"{cells} ({regimes} x {arms}){several}; {to_go(progress)}"
    if directory.facts.num_dropped:
        yield f"images: {dropped_words(directory.facts)}"
    root = as_typed(directory)
    yield f"in {root}; to look from another terminal: rethink-ray status {root}"


def progress_table(progress: StudyProgress, width: int = 80) -> "Table":
    """Two rows per cell, lengths across: search with its best score, replicates with their mean.

    Args:
        progress: how far the study is.
        width: columns of the terminal; where they are few, numbers of trials are left out.
    """
    from rich.markup import escape
    from rich.table import Table

    lengths = sorted({length for cell in progress.cells for length in cell.rungs})
    names = max((len(cell.cell.name) for cell in progress.cells), default=0)
    counts = names + len(" replicates 00/00+ ") + 9 * len(lengths) <= width
    minutes = progress.elapsed / 60
    table = Table(
        title=f"{escape(progress.study)}: {counted(progress.rungs, 'rung')}, {minutes:.1f} min",
        caption=_legend(progress, counts=counts),
        title_justify="left",
        caption_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("cell", no_wrap=True)
    table.add_column("done", no_wrap=True)
    for length in lengths:
        table.add_column(f"{length:g}x", justify="right", no_wrap=True, min_width=5)
    for cell in progress.cells:
        planned = cell.replicates_done + cell.replicates_to_go
        more = "+" if cell.search_to_go else ""
        table.add_row(
            escape(cell.cell.name),
            f"search {cell.search_done}/{cell.budget}",
            *(_score(cell.best, cell.searched, length, counts) for length in lengths),
        )
        table.add_row(
            "",
            f"replicates {cell.replicates_done}/{planned}{more}",
            *(_score(cell.reported, cell.repeated, length, counts) for length in lengths),
        )
    return table


def _score(
    scores: Mapping[float, float], nums: Mapping[float, int], length: float, counts: bool
) -> str:
    if length not in scores:
        return ""
    return f"{scores[length]:.1f}" + (f" ({nums[length]})" if counts else "")


def _legend(progress: StudyProgress, *, counts: bool) -> str:
    trials, repeats = (" (of how many trials)", " (how many)") if counts else ("", "")
    return (
        f"\nsearch: best score on {progress.select_on}{trials}. replicates: mean on "
        f"{progress.report_on} of that length's best configuration, run again with new "
        f"seeds{repeats}; one set for each configuration that is best at some length."
    )


def to_go(progress: StudyProgress) -> str:
    """``8 search trials and at least 18 replicates to go``; ``complete`` where nothing is."""
    if progress.complete:
        return "complete"
    parts = []
    if progress.search_to_go:
        parts.append(counted(progress.search_to_go, "search trial"))
    if progress.replicates_to_go:
        least = "at least " if progress.search_to_go else ""
        parts.append(least + counted(progress.replicates_to_go, "replicate"))
    return " and ".join(parts) + " to go"


def counted(num: int, one: str) -> str:
    """``1 replicate``, ``3 replicates``."""
    return f"{num} {one}{'s' * (num != 1)}"
