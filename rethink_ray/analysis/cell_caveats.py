"""Caveats of single cells: what a reader must know of their searches and replicates."""

import math
from collections.abc import Iterator
from typing import Any

from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import FAILED
from rethink_ray.judge.statistics import MIN_REPLICATES
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import counted, listed, metric_name, times, unit_name
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.spec.resolve import Cell, base_recipe, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study, TeacherFile

LEARNED = 1.0
"""AP points below which a detector has learned next to nothing."""
EDGE = 0.05
"""Share of a range, at either end, in which an incumbent counts as at the edge."""


def find_cell_caveats(
    study: Study, cell: Cell, result: CellResult, cost: StudyCost
) -> Iterator[Caveat]:
    """Every caveat of one cell; each function below looks for one thing."""
    yield from find_few_replicates(study, result)
    yield from find_failed_replicates(study, result)
    yield from find_unscored_replicates(study, result)
    yield from find_nothing_learned(study, result)
    yield from find_failed_search(result)
    yield from find_edges(study, cell, result)
    yield from find_shared_start(study, result, cost)
    yield from find_unbooked_assets(result, cost)


def find_few_replicates(study: Study, result: CellResult) -> Iterator[Caveat]:
    """Points without an interval, and replicates that are still to come."""
    thin = [p for p in result.points if len(p.values) < MIN_REPLICATES]
    if thin:
        where = listed([f"{times(p.length)} ({len(p.values)})" for p in thin])
        unit, more = unit_name(study), ""
        if num_searches(study) in range(2, MIN_REPLICATES):
            more = f" It takes budget.searches: {MIN_REPLICATES} (resume --searches)."
        text = f"fewer than {MIN_REPLICATES} {unit}, so no interval, at {where}.{more}"
        yield _of_cell("few-replicates", result, text)
    waiting = {p.length: p.waiting for p in result.points if p.waiting}
    if waiting and study.budget.num_replicates:
        where = listed([f"{times(length)} ({n})" for length, n in waiting.items()])
        yield _of_cell("unfinished", result, f"replicates still to run at {where}.")


def find_unscored_replicates(study: Study, result: CellResult) -> Iterator[Caveat]:
    """Finished replicates that the report split cannot score."""
    hit = [p for p in result.points if p.unscored]
    if hit:
        where = listed([f"{times(p.length)} ({p.unscored})" for p in hit])
        text = (
            f"finished replicates without {metric_name(study)} at {where}: "
            f"{study.data.report_split} has no object that it counts."
        )
        yield _of_cell("unscored", result, text)


def find_failed_replicates(study: Study, result: CellResult) -> Iterator[Caveat]:
    """Replicates that the method ended: kept, as the worst score."""
    hit = [p for p in result.points if p.failed]
    if hit:
        where = listed([f"{len(p.failed)} of {len(p.trial_ids)} at {times(p.length)}" for p in hit])
        text = (
            f"the method itself ended replicates ({where}); each counts as "
            f"{WORST_SCORE:.1f} {metric_name(study)}."
        )
        yield _of_cell("failed-replicates", result, text)
    barren = [p for p in result.points if p.barren]
    if barren:
        where = listed([f"{len(p.barren)} at {times(p.length)}" for p in barren])
        text = (
            f"the method itself ended every trial of whole searches ({where}); each counts as "
            f"{WORST_SCORE:.1f} {metric_name(study)}."
        )
        yield _of_cell("failed-searches", result, text)


def find_nothing_learned(study: Study, result: CellResult) -> Iterator[Caveat]:
    """Scores so near zero that a difference says nothing about the method."""
    low = [p for p in result.points if (m := p.mean) and m.value < LEARNED]
    if low:
        where = listed([times(p.length) for p in low])
        text = f"below {LEARNED:g} {metric_name(study)} at {where}: hardly anything was learned."
        yield _of_cell("nothing-learned", result, text)


def find_failed_search(result: CellResult) -> Iterator[Caveat]:
    """Search trials that the method ended."""
    ended = {state: result.states[state] for state in FAILED if result.states.get(state)}
    if ended:
        shown = listed([f"{n} {state}" for state, n in ended.items()])
        total = sum(result.states.values())
        if ended == {"refused": total}:
            text = f"none of {counted(total, 'search trial')} could start, because the asset"
            yield _of_cell("failed-search", result, f"{text} they need was refused.")
            return
        yield _of_cell("failed-search", result, f"of {counted(total, 'search trial')}, {shown}.")


def find_edges(study: Study, cell: Cell, result: CellResult) -> Iterator[Caveat]:
    """Tuned values so near the end of their range that a better one may lie beyond."""
    for path, parameter in space_of(study, cell).items():
        near: list[str] = []
        for configuration in result.configurations:
            value = configuration.params.get(path)
            end = find_range_end(parameter, value)
            if end is not None:
                where = listed([times(length) for length in configuration.lengths])
                near.append(f"{value:.4g} at {where} ({end} end)")
        if near:
            text = f"the best {path} lies at the edge of its range, so beyond may be better: "
            yield _of_cell(f"edge:{path}", result, f"{text}{listed(near)}.")


def find_range_end(parameter: Parameter, value: Any) -> str | None:
    """``lower`` or ``upper`` if the value lies within 5 % of that end (of a log range in logs)."""
    if parameter.choice is not None or not isinstance(value, int | float):
        return None
    low, high = (float(b) for b in parameter.bounds)
    position = float(value)
    if parameter.kind == "log_uniform":
        low, high, position = math.log(low), math.log(high), math.log(position)
    share = (position - low) / (high - low)
    if share <= EDGE:
        return "lower"
    return "upper" if share >= 1.0 - EDGE else None


def find_shared_start(study: Study, result: CellResult, cost: StudyCost) -> Iterator[Caveat]:
    """Replicates that all start from one file are replicates of what follows it only.

    What is learned from the regime's own images is each replicate's own.
    """
    if not any(p.values for p in result.points):
        return
    teacher = study.arms[result.arm].teacher
    if isinstance(teacher, TeacherFile):
        text = (
            f"all replicates were taught by one file of weights ({teacher.file}); what it was "
            "trained on is not recorded: read every finding as 'with this teacher'."
        )
        yield _of_cell("shared-teacher", result, text)
    if labels := base_recipe(study, Cell(result.regime, result.arm)).labels.file:
        text = f"all replicates learned from one file of labels ({labels})"
        text = f"{text}: read every finding as 'with these labels'."
        yield _of_cell("shared-labels", result, text)
    if result.source in ("random", "direct"):
        return
    started_from = cost.of(result.regime, result.arm).assets
    keys = [key for key in started_from if key.startswith("classifier-")]
    started = f"one upstream classifier ({listed(keys)})" if keys else "one file of weights"
    if len(keys) > 1:
        started = f"one upstream classifier for each norm ({listed(keys)})"
    detectors = [key for key in started_from if key.startswith("upstream_detector-")]
    if detectors:
        started = f"one upstream detector ({listed(detectors)})"
    text = f"all replicates started from {started}: read every finding as 'with this checkpoint'."
    yield _of_cell("shared-start", result, text)


def find_unbooked_assets(result: CellResult, cost: StudyCost) -> Iterator[Caveat]:
    """Assets that finished trials must have started from, yet that the records do not name."""
    known = {asset.key for asset in cost.assets}
    keys = [key for key in cost.of(result.regime, result.arm).assets if key not in known]
    if keys and any(p.values for p in result.points):
        text = (
            f"the records do not name {listed(keys)} (perhaps an older version named it "
            "otherwise): no cost table has its time."
        )
        yield _of_cell("unbooked-asset", result, text)


def _of_cell(key: str, result: CellResult, text: str) -> Caveat:
    return Caveat(
        key=f"{key}:{result.regime}/{result.arm}",
        regime=result.regime,
        arm=result.arm,
        text=f"{result.regime}/{result.arm}: {text}",
    )
