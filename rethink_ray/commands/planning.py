"""The lines of ``plan``: cells and their spaces, assets, updates, disk, and what sharing saves."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rethink_ray.commands.hours import passes_lines, plan_hours_lines
from rethink_ray.protocol.cell_rules import CellRules, least_gain, num_searches, redraws_images
from rethink_ray.protocol.look_words import describe_plan, say_count
from rethink_ray.search.costs import ladder_steps, separate_steps
from rethink_ray.search.plan import Plan, plan_study
from rethink_ray.session import count_weights, describe_hub_weights, describe_labels
from rethink_ray.spec.batches import batch_in_words
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.draws import redraws
from rethink_ray.spec.facts import DataFacts, left_out_words, say_cut
from rethink_ray.spec.met_faults import say_met_faults
from rethink_ray.spec.recipe import TWO_STAGE
from rethink_ray.spec.resolve import (
    Cell,
    base_recipe,
    cells_of,
    copied_cell,
    lengths_of,
    space_of,
)
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import weight_files_of

if TYPE_CHECKING:
    from rethink_ray.search.paces import MeasuredPaces


def plan_lines(
    study: Study,
    facts: DataFacts,
    slots: int,
    folder: Path,
    measured: "MeasuredPaces | None" = None,
) -> Iterator[str]:
    """The dry run of a study, line by line.

    Args:
        study: the study.
        facts: facts of its data set.
        slots: jobs at a time.
        folder: the study directory to be.
        measured: how fast a machine works; None: the plan is in updates alone.
    """
    images = ", ".join(f"{name} {num}" for name, num in facts.regime_sizes.items())
    splits = ", ".join(f"{name} {num}" for name, num in facts.split_sizes.items())
    yield f"study {study.study}: {study.question}"
    yield f"images: {splits} (regimes: {images}); {len(facts.categories)} categories"
    if facts.holdout_sizes:
        held_out = ", ".join(f"{name} {num}" for name, num in facts.holdout_sizes.items())
        yield f"images to select on: {held_out} (a share of each regime, outside all of them)"
    if facts.cut is not None:
        yield from (f"split: {sentence}" for sentence in say_cut(facts.cut))
    if left_out := left_out_words(facts):
        yield f"images: {left_out}"
    if faults := say_met_faults(facts):
        yield f"data: {faults}"
    for split, names in facts.untrained_classes.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        words = f"class {shown} scores" if len(names) == 1 else f"classes {shown} score"
        yield f"data: {words} 0 AP on {split}, because train has no object to learn them from"
    yield from describe_labels(study)
    if study.data.select_split == study.data.report_split:
        yield (
            f"images: search and findings look at the same split ({study.data.report_split}), so "
            "scores are biased upwards; data.select_on: {holdout: 20%} cuts one from train"
        )
    yield ""
    yield from _space_lines(study)
    yield from _first_lines(study)
    yield from _ladder_lines(study)
    yield from passes_lines(study, facts)
    yield from _batch_lines(study)
    yield from _draw_lines(study, facts)
    yield ""
    plan = plan_study(study, facts, slots=slots, count_weights=count_weights)
    yield from _cell_lines(study, plan)
    yield ""
    yield from _update_lines(study, plan)
    yield _asset_line(plan)
    for path, key in weight_files_of(study, study.study).items():
        if not Path(path).is_file():
            yield f"weights: {path} is NOT THERE ({key}); run refuses to start without it"
    yield from describe_hub_weights(study)
    yield _slot_line(plan)
    yield from plan_hours_lines(study, facts, slots, measured)
    yield from _disk_lines(study, plan, folder)


def _disk_lines(study: Study, plan: Plan, folder: Path) -> Iterator[str]:
    """How much disk a study takes, and how much is free; nothing where weights are not counted."""
    if plan.disk_bytes is None or plan.disk_final_bytes is None:
        return
    kept = study.checkpoints
    yield (
        f"disk: {plan.disk_bytes / 1e9:.2f} GB of checkpoints and detections at most, "
        f"{plan.disk_final_bytes / 1e9:.2f} GB at the end (checkpoints: models "
        f"{kept.models}, trunks {kept.trunks}, detections {kept.detections})"
    )
    yield _free_disk_line(plan.disk_bytes, folder)


ASSET_NAMES = {
    "classifier": ("upstream classifier", "upstream classifiers"),
    "direct": ("first stage of direct pre-training", "first stages of direct pre-training"),
    "upstream_detector": ("upstream detector", "upstream detectors"),
    "teacher": ("teacher", "teachers"),
    "pseudo_labels": ("pool labelled by a teacher", "pools labelled by a teacher"),
    "imported_labels": ("pool with imported labels", "pools with imported labels"),
}
"""Kind of asset -> its name, for one and for several."""


def _asset_line(plan: Plan) -> str:
    """Assets by kind, with their updates, which the trials' updates do not include."""
    kinds = [
        f"{num} {ASSET_NAMES[kind][num != 1]}" + (f" ({steps:,} updates)" if steps else "")
        for kind, (num, steps) in plan.asset_kinds.items()
    ]
    return f"assets: {', '.join(kinds) or 'none'}"


def _update_lines(study: Study, plan: Plan) -> Iterator[str]:
    """Updates of all trials, the range they can have, and the reasons for the range."""
    line = f"updates: {plan.steps:,}"
    if plan.steps < plan.separate_steps:
        saved = 1 - plan.steps / plan.separate_steps
        line += f"; {plan.separate_steps:,} without shared trunks ({saved:.0%} saved)"
    yield line
    least, most = plan.steps_range
    if least < most:
        num = say_count(study, "replicates")
        yield f"at least {least:,}, at most {most:,} updates:"
        yield from (f"  {sentence};" for sentence in describe_plan(study))
        yield (
            f"  each best configuration gets {num} replicate{'s' * (num != '1')}, and one may be "
            "best at all lengths, or another at each;"
        )
        yield "  scores are made up here, so jobs and updates above are one case of many"
    gain = least_gain(study)
    if gain is not None:
        yield (
            f"  a round ends where it gains less than {gain:g} points from one "
            "length to the next: the least is two lengths in every"
        )
        yield "  cell; the counts above are whole ladders"


def _slot_line(plan: Plan) -> str:
    """How long the study takes, in updates of one slot, and how busy its slots are."""
    if plan.slots == 1:
        return f"1 slot: done after the time of {plan.makespan_steps:,} updates"
    return (
        f"{plan.slots} slots: done after the time of {plan.makespan_steps:,} updates; a slot works "
        f"{plan.busy_share:.0%} of that time, and waits for other trials of a round in the rest"
    )


def _cell_lines(study: Study, plan: Plan) -> Iterator[str]:
    """The table of cells; without the last column where no two lengths share a trunk."""
    is_shared = plan.steps < plan.separate_steps
    header = ("cell", "lengths", "search", "replicates", "jobs", "updates", "unshared")
    line = "{:<28} {:<18} {:>7} {:>10} {:>5} {:>11}" + " {:>11}" * is_shared
    yield line.format(*header)
    for cell in plan.cells:
        lengths = ",".join(f"{x:g}" for x in lengths_of(study, cell.cell))
        least, most = cell.replicates_range
        replicates = f"{least}" if least == most else f"{least}-{most}"
        yield line.format(
            cell.cell.name,
            lengths,
            cell.trials,
            replicates,
            cell.jobs,
            f"{cell.steps:,}",
            f"{cell.separate_steps:,}",
        )
    if num_searches(study) > 1:
        num = say_count(study, "searches")
        yield f"each cell is searched {num} times, with replicates of each search"


def _free_disk_line(needed: int, folder: Path) -> str:
    """Free bytes for a folder that may not exist yet, and whether they are enough."""
    parents = (folder.absolute(), *folder.absolute().parents)
    free = shutil.disk_usage(next(path for path in parents if path.exists())).free
    if free >= needed:
        return f"free: {free / 1e9:.2f} GB, enough"
    remedy = "Give another --out, or keep less: checkpoints (models, trunks, detections)."
    return f"free: {free / 1e9:.2f} GB, NOT ENOUGH. {remedy}"


def _draw_lines(study: Study, facts: DataFacts) -> Iterator[str]:
    """Regimes whose replicates train on other images, if the study varies the subset."""
    if redraws_images(study):
        redrawn = [regime for regime in study.regimes if redraws(study, facts, regime)]
        rest = [regime for regime in study.regimes if regime not in redrawn]
        yield f"each replicate draws its own images in {', '.join(redrawn)}" + (
            f"; in {', '.join(rest)} there is one draw of all" if rest else ""
        )


def _space_lines(study: Study) -> Iterator[str]:
    """The tuned paths and their ranges; cells with the same space, or the same source, share a
    line."""
    cells = cells_of(study)
    names_by_space: dict[str, list[str]] = {}
    names_by_source: dict[str, list[str]] = {}
    for cell in cells:
        if (source := copied_cell(study, cell)) is not None:
            names_by_source.setdefault(source.name, []).append(cell.name)
            continue
        space = "; ".join(
            f"{path} {_describe_range(parameter)}"
            for path, parameter in sorted(space_of(study, cell).items())
        )
        names_by_space.setdefault(space or "nothing", []).append(cell.name)
    for space, names in names_by_space.items():
        where = "every cell" if len(names) == len(cells) > 1 else ", ".join(names)
        yield f"tuned in {where}: {space}"
    for source_name, names in names_by_source.items():
        yield f"copied from {source_name}: {', '.join(names)}"


def _first_lines(study: Study) -> Iterator[str]:
    """The configurations that searched cells try first, where they are more than the recipe's
    own."""
    cells = cells_of(study)
    searched = [cell for cell in cells if copied_cell(study, cell) is None]
    names_by_line: dict[str, list[str]] = {}
    for cell in searched:
        base, *entries = CellRules(study, cell).first_values
        texts = [
            ", ".join(f"{path} {value}" for path, value in entry.items() if value != base.get(path))
            for entry in entries
        ]
        line = "; then ".join(["the recipe's own values", *texts]) if texts else ""
        names_by_line.setdefault(line, []).append(cell.name)
    for line, names in names_by_line.items():
        if line:
            where = "every cell" if len(names) == len(cells) > 1 else ", ".join(names)
            yield f"tried first in {where}: {line}"


def _describe_range(parameter: Parameter) -> str:
    if parameter.choice is not None:
        return "{" + ", ".join(map(as_text, parameter.choice)) + "}"
    low, high = parameter.bounds
    return f"{parameter.kind} [{low:g}, {high:g}]"


def _ladder_lines(study: Study) -> Iterator[str]:
    """Updates of one whole ladder, with shared trunks and without, for each schedule."""
    cells_by_line: dict[str, list[Cell]] = {}
    for cell in cells_of(study):
        schedule, lengths = base_recipe(study, cell).schedule, lengths_of(study, cell)
        shared, separate = ladder_steps(schedule, lengths), separate_steps(schedule, lengths)
        line = f"one ladder of {', '.join(f'{x:g}x' for x in lengths)}: {shared:,} updates"
        if shared < separate:
            line += f" instead of {separate:,}"
        cells_by_line.setdefault(line, []).append(cell)
    for line, cells in cells_by_line.items():
        yield f"{line} ({', '.join(_group_by_regime(study, cells))})"


def _batch_lines(study: Study) -> Iterator[str]:
    """The passes of an update, if ``resources`` cuts a batch, and what they cost."""
    if study.resources.images_per_step is None:
        return
    words = {
        batch_in_words(base_recipe(study, cell), study.resources): None for cell in cells_of(study)
    }
    yield f"an update: {'; '.join(words)} (resources.images_per_step)"
    families = {base_recipe(study, cell).detector.family for cell in cells_of(study)}
    twice = "two-stage detectors pass every image twice, the first time without a gradient"
    note = f"; {twice}" if families & TWO_STAGE else ""
    yield f"  with the gradient of the whole batch{note}"


def _group_by_regime(study: Study, cells: list[Cell]) -> list[str]:
    """The name of a regime if all its cells are among ``cells``, else the names of the cells."""
    names = []
    for regime in study.regimes:
        inside = [cell for cell in cells if cell.regime == regime]
        names += [regime] if len(inside) == len(study.arms) else [cell.name for cell in inside]
    return names
