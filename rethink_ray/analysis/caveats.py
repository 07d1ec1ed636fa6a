"""Caveats: facts of a study and its records that a reader must know before believing a finding.

Each function looks for one thing and yields a caveat for each time it is there, mostly none.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rethink_ray.analysis.data_faults import find_data_caveats
from rethink_ray.analysis.drawn_images import find_draw_caveats
from rethink_ray.analysis.ladder_ends import find_ladder_caveats
from rethink_ray.analysis.norm_batches import find_small_norm_batches
from rethink_ray.analysis.read.costs import StudyCost
from rethink_ray.analysis.read.curves import CellResult
from rethink_ray.analysis.read.step_times import find_uneven_step_times
from rethink_ray.analysis.read.trials import FAILED, CellRecord
from rethink_ray.analysis.seen_holdout import find_seen_holdout
from rethink_ray.judge.arms import find_confounded_pairs
from rethink_ray.judge.noise_floor import find_thin_spread, find_twin_caveats
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import counted, listed, metric_name, times, unit_name
from rethink_ray.protocol.cell_rules import CellRules, num_searches
from rethink_ray.protocol.incumbents import WORST_SCORE
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import network_in_words
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import CopyFrom, Study, TeacherFile

FEW_IMAGES = 500
LEARNED = 1.0
"""AP points below which a detector has learned next to nothing."""
EDGE = 0.05
"""Share of a range, at either end, in which an incumbent counts as at the edge."""
UNEQUAL_COST = 1.25


def find_caveats(
    tables: StudyTables,
    records: Mapping[Cell, CellRecord],
    results: Mapping[Cell, CellResult],
    cost: StudyCost,
    samples: Sequence[ScoreSample],
) -> tuple[Caveat, ...]:
    """Every caveat of a study: those of single cells first, those of all findings last.

    Args:
        tables: of the study.
        records: what was read from them, cell by cell.
        results: of every cell.
        cost: of the study.
        samples: of its objective.
    """
    study = tables.study
    caveats: list[Caveat] = []
    for cell, result in results.items():
        caveats += find_few_replicates(study, result)
        caveats += find_failed_replicates(study, result)
        caveats += find_unscored_replicates(study, result)
        caveats += find_nothing_learned(study, result)
        caveats += find_failed_search(result)
        caveats += find_edges(study, cell, result)
        caveats += find_shared_start(study, result, cost)
        caveats += find_unbooked_assets(result, cost)
    for regime in study.regimes:
        inside = {c: r for c, r in records.items() if c.regime == regime}
        caveats += find_unequal_effort(study, regime, inside)
        caveats += find_unequal_first(study, regime)
        caveats += find_unequal_cost(study, regime, cost)
        caveats += find_large_select_split(tables, regime)
    caveats += find_data_caveats(tables)
    caveats += find_confounded_pairs(study)
    caveats += find_small_norm_batches(study)
    caveats += find_draw_caveats(tables)
    caveats += find_ladder_caveats(study, records)
    caveats += find_twin_caveats(study, samples)
    caveats += find_thin_spread(study, samples)
    caveats += find_refused_assets(cost)
    caveats += find_mixed_machines(tables)
    caveats += find_uneven_step_times(study, records)
    caveats += find_report_split_caveats(tables)
    caveats += find_seen_holdout(study, tables.facts)
    caveats += find_search_caveats(study)
    caveats.append(describe_fixed_recipe(study))
    return tuple(caveats)


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
    if waiting and study.budget.replicates:
        where = listed([f"{times(length)} ({n})" for length, n in waiting.items()])
        yield _of_cell("unfinished", result, f"replicates still to run at {where}.")


def find_unscored_replicates(study: Study, result: CellResult) -> Iterator[Caveat]:
    """Finished replicates that the report split cannot score."""
    hit = [p for p in result.points if p.unscored]
    if hit:
        where = listed([f"{times(p.length)} ({p.unscored})" for p in hit])
        text = (
            f"finished replicates without {metric_name(study)} at {where}: "
            f"{study.data.report_on} has no object that it counts."
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


def find_unequal_effort(
    study: Study, regime: str, records: Mapping[Cell, CellRecord]
) -> Iterator[Caveat]:
    """Arms that were searched with another number of trials, or over another space."""
    tried = {c.arm: len(r.search) for c, r in records.items()}
    if len(set(tried.values())) > 1 and not isinstance(study.tuning, CopyFrom):
        shown = listed([f"{arm} {n}" for arm, n in tried.items()])
        yield Caveat(
            key=f"unequal-budget:{regime}",
            regime=regime,
            text=f"{regime}: arms were given different numbers of search trials: {shown}.",
        )
    sizes = {c.arm: len(space_of(study, c)) for c in records}
    if len(set(sizes.values())) > 1:
        shown = listed([f"{arm} {n}" for arm, n in sizes.items()])
        yield Caveat(
            key=f"unequal-space:{regime}",
            regime=regime,
            text=f"{regime}: arms were tuned over different numbers of parameters: {shown}.",
        )


def find_unequal_first(study: Study, regime: str) -> Iterator[Caveat]:
    """Arms whose searches tried another number of chosen values (the recipe's, ``try_first``'s).

    An arm that copies its values tries those of the arm that is tuned.
    """
    if isinstance(study.tuning, CopyFrom):
        return
    tried = {arm: len(CellRules(study, Cell(regime, arm)).first_values) for arm in study.arms}
    if len(set(tried.values())) > 1:
        shown = listed([f"{arm} {n}" for arm, n in tried.items()])
        yield Caveat(
            key=f"unequal-first:{regime}",
            regime=regime,
            groups={arm: str(n) for arm, n in tried.items()},
            text=(
                f"{regime}: the arms' searches began with different numbers of chosen "
                f"configurations (the recipe's own values and try_first): {shown}. An arm with "
                "more of them has a better start."
            ),
        )


def find_unequal_cost(study: Study, regime: str, cost: StudyCost) -> Iterator[Caveat]:
    """Equal trials are not equal work.

    Work is counted in updates, so that a busy machine makes no arm dear; an asset counts as the
    updates its time would buy at the regime's mean pace.
    """
    cells = {arm: cost.of(regime, arm) for arm in study.arms}
    updates = sum(c.search_updates for c in cells.values())
    pace = sum(c.search_seconds for c in cells.values()) / updates if updates else 0.0
    spent = {
        arm: c.search_updates + (c.asset_seconds / pace if pace else 0.0)
        for arm, c in cells.items()
    }
    if not spent or min(spent.values()) <= 0.0:
        return
    ratio = max(spent.values()) / min(spent.values())
    if ratio > UNEQUAL_COST:
        dear = max(spent, key=lambda a: spent[a])
        cheap = min(spent, key=lambda a: spent[a])
        yield Caveat(
            key=f"unequal-cost:{regime}",
            regime=regime,
            text=(
                f"{regime}: equal trials, not equal work: searching {dear} took {ratio:.1f} "
                f"times the updates of {cheap}, assets included (as updates of the same time)."
            ),
        )


def find_large_select_split(tables: StudyTables, regime: str) -> Iterator[Caveat]:
    """A tuning split that is larger than the training set, which small data sets never have."""
    size = tables.facts.regime_sizes.get(regime, 0)
    everywhere = tables.facts.split_sizes.get(tables.study.data.select_split, 0)
    select = tables.facts.holdout_sizes.get(regime, everywhere)
    if select > size > 0:
        yield Caveat(
            key=f"select-larger:{regime}",
            regime=regime,
            text=(
                f"{regime}: tuned on {select} labelled images but trained on {size}; with so "
                f"little data of your own, tuning would be noisier."
            ),
        )


def find_refused_assets(cost: StudyCost) -> Iterator[Caveat]:
    """Assets that were not fit to start from."""
    for asset in cost.assets:
        if asset.refused:
            text = f"the {asset.kind} {asset.key} was refused: {asset.refused}."
            yield Caveat(key=f"refused:{asset.key}", text=text)


def find_mixed_machines(tables: StudyTables) -> Iterator[Caveat]:
    """Runs on several CPU instruction sets do not repeat each other bit for bit."""
    kinds = {k for k in tables.rungs.column("instruction_set").to_pylist() if k}
    if len(kinds) > 1:
        text = f"trials ran on several CPU instruction sets ({listed(sorted(kinds))})."
        yield Caveat(key="mixed-machines", text=text)


def find_report_split_caveats(tables: StudyTables) -> Iterator[Caveat]:
    """Limits of the report split: its size, and whether the search looked at it too."""
    study, facts = tables.study, tables.facts
    name, size = study.data.report_on, facts.split_sizes.get(study.data.report_on, 0)
    if name == study.data.select_split:
        text = f"search and findings look at the same split ({name}): scores are biased upwards."
        yield Caveat(key="select-is-report", text=text)
    if 0 < size < FEW_IMAGES:
        text = f"only {size} report images ({name}); below {FEW_IMAGES} their choice alone matters."
        yield Caveat(key="few-report-images", text=text)
    repeated = "re-runs with new seeds" if num_searches(study) == 1 else "searches run again,"
    text = (
        f"intervals cover {repeated} scored on these {size} images of {name}; the "
        f"noise of which images these are comes on top."
    )
    yield Caveat(key="test-set-noise", text=text)


def find_search_caveats(study: Study) -> Iterator[Caveat]:
    """Replicates repeat the winner, not the search that found it; several searches do repeat it."""
    trials, searches = counted(study.budget.trials, "trial"), num_searches(study)
    if searches == 1:
        text = (
            "findings are about the configurations this search found "
            f"({trials} a cell, one search each), not about all an arm "
            "could do."
        )
        yield Caveat(key="one-search", text=text)
    else:
        text = (
            f"findings are about arms as searches of {trials} tune them ({searches} searches a "
            "cell, each one value), not about what a longer search would find."
        )
        yield Caveat(key="tuned-so", text=text)
    if isinstance(study.tuning, CopyFrom):
        text = f"only {study.tuning.copy_from} was tuned; the other arms copy its values."
        yield Caveat(key="copied-values", text=text)


def describe_fixed_recipe(study: Study) -> Caveat:
    """One caveat that names every setting that no cell varied."""
    searched: set[str] = set()
    for cell in cells_of(study):
        searched |= set(space_of(study, cell))
    recipe = base_recipe(study, cells_of(study)[0])
    parts: Sequence[str] = [
        network_in_words(recipe.detector.family, recipe.detector.backbone),
        ""
        if "detector.norm" in searched or is_own(recipe.detector.family)
        else f"{recipe.detector.norm} normalisation",
        f"{recipe.detector.min_side_px} px",
        "" if "batch_size" in searched else f"batch {recipe.batch_size}",
        "" if "optimizer.name" in searched else recipe.optimizer.name,
        f"{recipe.schedule.decay.kind} decay",
    ]
    shown = ", ".join(part for part in parts if part)
    tuned = listed(sorted(searched)) or "nothing"
    text = f"tuned: {tuned}. All else is as recipe {study.recipe} fixes it: {shown}."
    return Caveat(key="fixed-recipe", text=text)


def _of_cell(key: str, result: CellResult, text: str) -> Caveat:
    return Caveat(
        key=f"{key}:{result.regime}/{result.arm}",
        regime=result.regime,
        arm=result.arm,
        text=f"{result.regime}/{result.arm}: {text}",
    )
