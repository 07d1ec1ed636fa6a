"""Caveats: facts of a study and its records that a reader must know before believing a finding.

Each function looks for one thing and yields a caveat for each time it is there, mostly none.
"""

from collections.abc import Iterator, Mapping, Sequence

from rethink_ray.analysis.added_later import find_added_later
from rethink_ray.analysis.cell_caveats import find_cell_caveats
from rethink_ray.analysis.data_faults import find_data_caveats
from rethink_ray.analysis.drawn_images import find_draw_caveats
from rethink_ray.analysis.ladder_ends import find_ladder_caveats
from rethink_ray.analysis.norm_batches import find_small_norm_batches
from rethink_ray.analysis.read.step_times import find_uneven_step_times
from rethink_ray.analysis.seen_holdout import find_seen_holdout
from rethink_ray.analysis.unplanned import find_unplanned
from rethink_ray.judge.arms import find_confounded_pairs
from rethink_ray.judge.noise_floor import find_thin_spread, find_twin_caveats
from rethink_ray.judge.read.costs import StudyCost
from rethink_ray.judge.read.curves import CellResult
from rethink_ray.judge.read.trials import CellRecord
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import counted, listed
from rethink_ray.protocol.cell_rules import CellRules, num_searches
from rethink_ray.protocol.look_words import say_count
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.networks import is_own
from rethink_ray.spec.own_families import network_in_words
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.study import CopyFrom, Study

FEW_IMAGES = 500
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
        caveats += find_cell_caveats(study, cell, result, cost)
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
    caveats += find_added_later(study)
    caveats += find_unplanned(study)
    caveats.append(describe_fixed_recipe(study))
    return tuple(caveats)


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
    """Limits of the report split: its size, and whether search or training looked at the like."""
    study, facts = tables.study, tables.facts
    name, size = study.data.report_split, facts.split_sizes.get(study.data.report_split, 0)
    if name == study.data.select_split:
        text = f"search and findings look at the same split ({name}): scores are biased upwards."
        yield Caveat(key="select-is-report", text=text)
    if facts.cut is not None and facts.cut.num_parted:
        text = (
            f"data.split had to part {facts.cut.num_images_parted} pictures that look alike "
            f"(frames of a video?): {name} and train show some of the same, and scores may be too "
            "high."
        )
        yield Caveat(key="parted-chain", text=text)
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
    trials, num = counted(study.budget.trials, "trial"), say_count(study, "searches")
    if num_searches(study) == 1:
        text = (
            "findings are about the configurations this search found "
            f"({trials} a cell, one search each), not about all an arm "
            "could do."
        )
        yield Caveat(key="one-search", text=text)
    else:
        text = (
            f"findings are about arms as searches of {trials} tune them ({num} searches a "
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
