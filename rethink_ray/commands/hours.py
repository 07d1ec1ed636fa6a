"""Hours in words: of a plan, of a running study, and of one whose hours ended before it did."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rethink_ray.protocol.remaining import CellProgress, StudyProgress
from rethink_ray.records.run_progress import HoursRange, JobProgress, RunProgress
from rethink_ray.spec.batches import count_passes, images_by_kind
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.number_text import say_number
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, lengths_of
from rethink_ray.spec.study import Study

if TYPE_CHECKING:
    from rethink_ray.search.paces import MeasuredPaces

MOST_JOBS = 12
"""So many running jobs are shown one by one."""


def describe_hours(hours: HoursRange) -> str:
    """``about 1.3 h (1.1 to 1.6)``; below an hour in minutes, below a minute in seconds."""
    unit, factor = ("h", 1.0) if hours.expected >= 1.0 else ("min", 60.0)
    if hours.expected * 60 < 1.0:
        unit, factor = "s", 3600.0
    numbers = [_round(value * factor) for value in (hours.expected, hours.low, hours.high)]
    return "about {} {unit} ({} to {})".format(*numbers, unit=unit)


def describe_time(hours: float) -> str:
    """``8.6 min`` or ``3.2 h``."""
    return f"{_round(hours)} h" if hours >= 1.0 else f"{_round(60 * hours)} min"


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def plan_hours_lines(
    study: Study, facts: DataFacts, slots: int, measured: "MeasuredPaces | None"
) -> Iterator[str]:
    """How long a study takes by these paces, or how to measure them."""
    from rethink_ray.search.hours import estimate_hours  # a plan without paces needs none of it

    if measured is None:
        yield "hours: not known before the first rung, because no pace was measured. --pace takes"
        yield "  the directory of a study that ran here, or a file of status DIR --write-pace FILE"
        return
    hours = estimate_hours(study, facts, measured.arms, slots=slots)
    jobs = "1 slot" if slots == 1 else f"{slots} slots"
    yield f"hours: {describe_hours(hours)} on {jobs}, by paces of {measured.machine}"
    if slots != measured.slots:
        yield (
            f"  they were measured with {measured.slots} at a time; with {slots} each job may be "
            f"{'slower' if slots > measured.slots else 'faster'}"
        )


def passes_lines(study: Study, facts: DataFacts) -> Iterator[str]:
    """What each length is in updates and in passes over a regime's images."""
    for regime in study.regimes:
        arms_by_line: dict[str, list[str]] = {}
        for cell in (cell for cell in cells_of(study) if cell.regime == regime):
            arms_by_line.setdefault(_describe_passes(study, facts, cell), []).append(cell.name)
        for line, names in arms_by_line.items():
            where = regime if len(arms_by_line) == 1 else ", ".join(names)
            yield f"{where}: {line}"


def _describe_passes(study: Study, facts: DataFacts, cell: Cell) -> str:
    """``4x = 480 updates = 32 passes; 8x = 960 = 64 over 120 images``."""
    recipe, num_images = base_recipe(study, cell), facts.regime_sizes[cell.regime]
    batch = images_by_kind(recipe)[0]
    parts: list[str] = []
    for length in lengths_of(study, cell):
        updates = recipe.schedule.steps(length)
        passes = say_number(count_passes(recipe, updates, num_images))
        if not parts:
            parts.append(f"{length:g}x = {updates:,} updates = {passes} passes")
        else:
            parts.append(f"{length:g}x = {updates:,} = {passes}")
    labelled = "labelled images" if recipe.labels.has_pseudo else "images"
    return f"{'; '.join(parts)} over {num_images:,} {labelled}, {batch} at a time"


def eta_line(seen: RunProgress, now: float) -> str | None:
    """When a running study is expected to be done; None where no pace is known yet."""
    if seen.left is None:
        return None
    passed = max(0.0, now - seen.left_at) / 3600  # a clock may be set back
    left = HoursRange(
        low=max(0.0, seen.left.low - passed),
        expected=max(0.0, seen.left.expected - passed),
        high=max(0.0, seen.left.high - passed),
    )
    done_at = time.localtime(now + 3600 * left.expected)
    is_today = time.localtime(now)[:3] == done_at[:3]
    clock = time.strftime("%H:%M" if is_today else "%a %d %b %H:%M", done_at)
    slots = "1 slot" if seen.slots == 1 else f"{seen.slots} slots"
    return f"done in {describe_hours(left)} on {slots}: at {clock}"


def job_lines(jobs: Sequence[JobProgress], now: float) -> Iterator[str]:
    """What each running job does: its rung, its updates and its last loss."""
    for job in jobs[:MOST_JOBS]:
        minutes = max(0.0, now - job.started) / 60 if job.started else 0.0
        if not job.started:
            state = "waits for a slot"
        elif job.length is None:
            state = f"began {minutes:.1f} min ago"
        elif job.updates_done == job.updates:
            state = f"{job.length:g}x: all {job.updates:,} updates done, scoring"
        else:
            state = f"{job.length:g}x: update {job.updates_done:,} of {job.updates:,}"
        loss = f", loss {job.loss:.3g}" if job.loss is not None and job.length is not None else ""
        yield f"  {job.cell} {job.purpose} {job.job_id}  {state}{loss}"
    if len(jobs) > MOST_JOBS:
        yield f"  and {len(jobs) - MOST_JOBS} more"


def missing_lines(progress: StudyProgress) -> Iterator[str]:
    """The cells that are not finished, and what each of them lacks."""
    for cell in progress.cells:
        if cell.search_to_go or cell.replicates_to_go:
            has_finding = cell.replicates_done > 0 and not progress.is_before_first_look
            ending = "" if has_finding else ", so it has no finding"
            yield f"  {cell.cell.name}: {_describe_missing(cell)}{ending}"


def _describe_missing(cell: CellProgress) -> str:
    """``2 search trials and at least 3 replicates``."""
    parts = []
    if cell.search_to_go:
        parts.append(f"{cell.search_to_go} search trial{'s' * (cell.search_to_go != 1)}")
    least = "at least " if cell.search_to_go else ""
    more = "more " if cell.replicates_done else ""
    num = cell.replicates_to_go
    parts.append(f"{least}{num} {more}replicate{'s' * (num != 1)}")
    return " and ".join(parts)
