"""How far a study is: its table, what is left to run, and the next command to type."""

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.commands.hours import describe_hours, eta_line, job_lines
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.empty_cells import (
    EmptyCell,
    can_more_trials_help,
    empty_cells,
    is_all_of,
)
from rethink_ray.protocol.remaining import StudyProgress, progress_of
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.failures import FAILURE_FILE, failure_lines, point_to_file
from rethink_ray.records.lock import is_running, read_owner
from rethink_ray.records.run_progress import RunProgress, read_progress
from rethink_ray.records.state import StudyState
from rethink_ray.spec.facts import left_out_words
from rethink_ray.spec.hashing import IDENTITY
from rethink_ray.spec.met_faults import say_met_faults

if TYPE_CHECKING:
    from rich.console import Group

ASSET_HELP = {
    "classifier": "change upstream.steps, upstream.images or upstream.lr",
    "direct": "change the first stage (direct.optimizer, direct.warmup)",
    "upstream_detector": "change upstream_detector.lr, warmup or clip_norm",
    "teacher": "change the settings of the teacher's arm, or name another teacher",
    "pseudo_labels": "lower labels.threshold, or train the teacher longer",
    "imported_labels": "lower labels.threshold, or name another labels.file",
}
"""Kind of a refused asset -> what may make it fit."""


def show_status(where: str, *, watch: bool) -> None:
    """Print the state of a study; with ``watch``, every two seconds until interrupted."""
    from rich.console import Console

    console = Console()
    while True:
        directory = StudyDirectory.open(where)
        state = directory.load_state()
        progress = progress_of(directory.study, state)
        if watch:
            console.clear()
        console.print(build_progress_table(progress, console.width))
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
    """Failed jobs, early ends, faults of the data, who runs the study, and the next command.

    Args:
        directory: the study.
        progress: how far it is.
        empty: its cells that ran to their end without a score.
    """
    for line in failure_lines(progress.failures, local_root(directory)):
        yield f"failed: {line}"
    ended = [f"{c.cell.name} {c.convergence.words}" for c in progress.cells if c.convergence]
    if ended:
        yield f"ladders: {'; '.join(ended)}"
    yield from (f"looks: {sentence}" for sentence in progress.looks)
    if faults := say_met_faults(directory.facts):
        yield f"data: {faults}"
    if empty and progress.complete:
        yield from incomplete_lines(directory, empty)
    owner = read_owner(directory.lock_path)
    if owner is not None and is_running(directory.lock_path):
        yield f"running: {owner}"
        yield remaining_words(progress)
        yield from run_lines(read_progress(directory), time.time())
        return
    root = quote_address(directory)
    if not progress.complete and directory.identity != IDENTITY:
        yield f"not running: incomplete, {remaining_words(progress)}"
        yield (
            f"recorded under identity {directory.identity}: this program (identity {IDENTITY}) "
            "reads it; the version that made it can go on"
        )
        return
    if not progress.complete:
        yield f"not running: incomplete, {remaining_words(progress)}"
        seen = read_progress(directory)
        if seen is not None and seen.left is not None:
            yield f"to the end: {describe_hours(seen.left)} on {plural(seen.slots, 'slot')}"
        yield f"go on with: rethink-ray resume {root}"
        return
    is_empty = is_all_of(empty, directory.study)
    yield f"not running: {'nothing is left to run' if is_empty else 'the study is complete'}"
    if not is_empty:
        yield f"next: rethink-ray answer {root}"


def run_lines(seen: RunProgress | None, now: float) -> Iterator[str]:
    """When a running study is done, and what its jobs do.

    Args:
        seen: what its driver saw last; None: it has written nothing.
        now: Unix time.
    """
    if seen is None:
        yield "what its jobs do is not known: there is no progress.json yet"
        return
    yield eta_line(seen, now) or "its end is not known before the first rung is finished"
    yield from job_lines(seen.jobs, now)


def incomplete_lines(directory: StudyDirectory, empty: Sequence[EmptyCell]) -> Iterator[str]:
    """Which cells have no score, why, and what to do: ``run`` and ``status`` print the same."""
    study = directory.study
    cells = plural(len(study.regimes) * len(study.arms), "cell")
    word = "incomplete: " if is_all_of(empty, study) else ""
    yield f"{word}{len(empty)} of {cells} {'has' if len(empty) == 1 else 'have'} no score"
    yield from empty_lines(empty, local_root(directory))
    reasons = [reason for cell in empty for reason in cell.reasons]
    if any(reason.outcome != "refused" for reason in reasons):
        yield (
            "Trials that the method ended would end the same way, so resume does not run them "
            "again. Correct the study file and run it into a new directory."
        )
    kinds = dict.fromkeys(r.asset_kind for r in reasons if r.outcome == "refused")
    if kinds:
        helps = "; ".join(ASSET_HELP[kind] for kind in kinds if kind)
        yield (
            "Every trial that needs what was refused ends the same way. To make it fit, "
            f"{helps or 'correct the study file'}; then run the study into a new directory."
        )
    if directory.identity == IDENTITY and can_more_trials_help(empty, study):
        more = f"rethink-ray resume {quote_address(directory)} --trials {study.budget.trials + 4}"
        yield f"Where values are searched, others can be tried as well: {more}"


def local_root(directory: StudyDirectory) -> Path:
    """A study's folder on this machine, relative where that is shorter."""
    root, here = directory.root, Path.cwd()
    return root.relative_to(here) if root.is_relative_to(here) else root


def quote_address(directory: StudyDirectory) -> str:
    """A study's path or URI, ready to be pasted into a command; relative where that is shorter."""
    if directory.copy:
        return directory.address
    return shlex.quote(str(local_root(directory)))


def header_lines(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """The study that is about to run, its size, and its directory."""
    study = directory.study
    progress = progress_of(study, state)
    regimes, arms = plural(len(study.regimes), "regime"), plural(len(study.arms), "arm")
    yield f"study {study.study}: {study.question}".rstrip(": ")
    cells = plural(len(study.regimes) * len(study.arms), "cell")
    several = f", {num_searches(study)} searches each" if num_searches(study) > 1 else ""
    yield f"{cells} ({regimes} x {arms}){several}; {remaining_words(progress)}"
    if left_out := left_out_words(directory.facts):
        yield f"images: {left_out}"
    if faults := say_met_faults(directory.facts):
        yield f"data: {faults}"
    root = quote_address(directory)
    yield f"in {root}; in another terminal: rethink-ray status {root}"


def build_progress_table(progress: StudyProgress, width: int = 80) -> "Group":
    """Two rows per cell, lengths across: search with its best score, replicates with their mean.

    Below the table a legend, over the whole width.

    Args:
        progress: how far the study is.
        width: columns of the terminal; where they are few, numbers of trials are left out.
    """
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    lengths = sorted({length for cell in progress.cells for length in cell.rungs})
    names = max((len(cell.cell.name) for cell in progress.cells), default=0)
    counts = names + len(" replicates 00/00+ ") + 9 * len(lengths) <= width
    minutes = progress.elapsed / 60
    table = Table(
        title=f"{escape(progress.study)}: {plural(progress.rungs, 'rung')}, {minutes:.1f} min",
        title_justify="left",
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
    return Group(table, Text(_legend(progress, counts=counts), style="italic dim"))


def _score(
    scores: Mapping[float, float], nums: Mapping[float, int], length: float, counts: bool
) -> str:
    if length not in scores:
        return ""
    return f"{scores[length]:.1f}" + (f" ({nums[length]})" if counts else "")


def _legend(progress: StudyProgress, *, counts: bool) -> str:
    trials, replicates = (" (and trials)", " (and replicates)") if counts else ("", "")
    return (
        f"\nsearch: best score on {progress.select_on} at this length{trials}. replicates: mean "
        f"score on {progress.report_on} of the configuration that is best at this length, trained "
        f"again with new seeds{replicates}. A configuration that is best at several lengths has "
        "one set of replicates."
    )


def remaining_words(progress: StudyProgress) -> str:
    """``8 search trials and at least 18 replicates to go``, or ``complete``."""
    if progress.complete:
        return "complete"
    parts = []
    trials = progress.search_to_go, progress.most_search_to_go
    if max(trials):
        parts.append(_count_range(*trials, "search trial"))
    replicates = progress.replicates_to_go, progress.most_replicates_to_go
    if max(replicates):
        least = "at least " if progress.search_to_go else ""
        parts.append(least + _count_range(*replicates, "replicate"))
    return f"{' and '.join(parts)} to go" if parts else "a look to take"


def _count_range(least: int, most: int, one: str) -> str:
    """``1 replicate``, ``4 to 12 replicates``; ``most`` may be left at 0."""
    return plural(least, one) if most <= least else f"{least} to {plural(most, one)}"


def plural(num: int, one: str) -> str:
    """``1 replicate``, ``3 replicates``."""
    return f"{num} {one}{'s' * (num != 1)}"


def empty_lines(cells: Iterable[EmptyCell], root: Path) -> list[str]:
    """Why each cell is empty: reasons with counts, and the file with the whole traceback.

    Args:
        cells: those without a score.
        root: the study directory on this machine.
    """
    alike: dict[tuple[str, ...], list[EmptyCell]] = {}
    for empty in cells:
        refused = tuple(r.text for r in empty.reasons if r.outcome == "refused")
        is_refused = bool(refused) and len(refused) == len(empty.reasons)
        key = (empty.cell.arm, *refused) if is_refused else (empty.cell.name,)
        alike.setdefault(key, []).append(empty)
    return [line for group in alike.values() for line in _describe_empty_cells(group, root)]


def _describe_empty_cells(group: Sequence[EmptyCell], root: Path) -> list[str]:
    """Lines about one cell, or about cells of one arm whose trials were refused alike."""
    names = ", ".join(empty.cell.name for empty in group)
    if not group[0].reasons:
        return [f"{names}: no trial ran, because the arm it waits for has no score"]
    is_refused = all(reason.outcome == "refused" for reason in group[0].reasons)
    lines = [f"{names}: no search trial {'could start' if is_refused else 'has a score'}"]
    for same in zip(*(empty.reasons for empty in group), strict=True):
        said = f": {same[0].text}" if same[0].text else ""
        trial_ids = [trial_id for reason in same for trial_id in reason.trial_ids]
        files = (root / "trials" / trial_id / FAILURE_FILE for trial_id in trial_ids)
        lines.append(f"  {len(trial_ids)} {same[0].outcome}{said}{point_to_file(files)}")
    return lines
