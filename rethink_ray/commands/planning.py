"""What ``plan`` prints: cells and their spaces, assets, updates, disk, and what sharing saves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.protocol.cell_rules import least_gain, num_searches, redraws_images
from rethink_ray.search.costs import ladder_steps, separate_steps
from rethink_ray.search.plan import CellPlan, Plan, plan_study
from rethink_ray.spec.batches import batch_in_words
from rethink_ray.spec.draws import redraws
from rethink_ray.spec.facts import DataFacts, dropped_words
from rethink_ray.spec.recipe import TWO_STAGE
from rethink_ray.spec.resolve import (
    Cell,
    TrialConfig,
    base_recipe,
    cells_of,
    lengths_of,
    space_of,
)
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study
from rethink_ray.spec.weight_files import weight_files_of


def plan_lines(study: Study, facts: DataFacts, slots: int, folder: Path) -> Iterator[str]:
    """The dry run of a study that is to live in ``folder``, line by line, the slow lines last."""
    images = ", ".join(f"{name} {num}" for name, num in facts.regime_sizes.items())
    splits = ", ".join(f"{name} {num}" for name, num in facts.split_sizes.items())
    yield f"study {study.study}: {study.question}"
    yield f"images: {splits} (regimes: {images}); {len(facts.categories)} categories"
    if facts.num_dropped:
        yield f"images: {dropped_words(facts)}"
    yield ""
    yield from _spaces(study)
    yield from _ladders(study)
    yield from _batches(study)
    yield from _draws(study, facts)
    yield ""
    plan = plan_study(study, facts, slots=slots)
    header = ("cell", "lengths", "search", "replicates", "jobs", "updates", "unshared")
    yield "{:<28} {:<18} {:>7} {:>10} {:>5} {:>11} {:>11}".format(*header)
    for cell in plan.cells:
        yield _cell_line(study, cell)
    if num_searches(study) > 1:
        yield f"each cell is searched {num_searches(study)} times, with replicates of each search"
    yield ""
    yield from _assumptions(study, plan)
    yield from _assets(plan)
    for path, key in weight_files_of(study, study.study).items():
        if not Path(path).is_file():
            yield f"weights: {path} is NOT THERE ({key}); run refuses to start without it"
    together = f"{slots} slots" if slots > 1 else "1 slot"
    yield (
        f"{together}: done after the time of {plan.makespan_steps:,} updates one after another; "
        f"a slot works {plan.busy_share:.0%} of it and waits for round-mates otherwise"
    )
    weighed = plan_study(study, facts, slots=slots, count_weights=count_weights)
    if weighed.disk_bytes is not None and weighed.disk_final_bytes is not None:
        kept = study.checkpoints
        yield (
            f"disk: {weighed.disk_bytes / 1e9:.2f} GB of checkpoints and detections at most, "
            f"{weighed.disk_final_bytes / 1e9:.2f} GB at the end (checkpoints: models "
            f"{kept.models}, trunks {kept.trunks}, detections {kept.detections})"
        )
        yield _free(weighed.disk_bytes, folder)


def _assets(plan: Plan) -> Iterator[str]:
    """How many of each kind, and what they cost beside the updates of the trials."""
    names = {
        "classifier": "upstream classifiers",
        "direct": "first stages of direct pre-training",
        "teacher": "teachers",
        "pseudo_labels": "pools labelled by a teacher",
    }
    told = ", ".join(
        f"{num} {names[kind]} ({steps:,} updates)" if steps else f"{num} {names[kind]}"
        for kind, (num, steps) in plan.asset_kinds.items()
    )
    yield f"assets: {told or 'none'}"


def _assumptions(study: Study, plan: Plan) -> Iterator[str]:
    """Updates, the range they may come to, and what the counts rest on."""
    saved = 1 - plan.steps / plan.separate_steps if plan.separate_steps else 0.0
    yield (
        f"updates: {plan.steps:,}; {plan.separate_steps:,} without shared trunks "
        f"({saved:.0%} saved)"
    )
    least, most = plan.steps_range
    if least < most:
        yield f"at least {least:,}, at most {most:,} updates:"
        yield (
            f"  who wins is pretended here. Each incumbent gets {study.budget.replicates} "
            "replicates, and a search has from one"
        )
        yield "  incumbent for all lengths to one for each; jobs and updates above are one case"
    gain = least_gain(study)
    if gain is not None:
        yield (
            f"  a round that gains less than {gain:g} points from one length "
            "to the next ends there: the least is two lengths in every"
        )
        yield "  cell, the counts above are whole ladders"


def _free(needed: int, folder: Path) -> str:
    """Free disk in a folder that may not exist yet, and whether it is enough."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free >= needed:
        return f"free: {free / 1e9:.2f} GB, enough"
    remedy = "Give another --out, or keep less: checkpoints (models, trunks, detections)."
    return f"free: {free / 1e9:.2f} GB, NOT ENOUGH. {remedy}"


def count_weights(config: TrialConfig) -> int:
    """Weights of a trial's detector, without allocating them."""
    from rethink_ray.detection.size import num_weights

    return num_weights(config.recipe.detector, config.num_categories)


def _cell_line(study: Study, plan: CellPlan) -> str:
    lengths = ",".join(f"{x:g}" for x in lengths_of(study, plan.cell))
    least, most = plan.replicates_range
    replicates = f"{least}" if least == most else f"{least}-{most}"
    return (
        f"{plan.cell.name:<28} {lengths:<18} {plan.trials:>7} {replicates:>10} "
        f"{plan.jobs:>5} {plan.steps:>11,} {plan.separate_steps:>11,}"
    )


def _draws(study: Study, facts: DataFacts) -> Iterator[str]:
    """Whose replicates train on other images, where the study asks for that."""
    if redraws_images(study):
        own = [regime for regime in study.regimes if redraws(study, facts, regime)]
        rest = [regime for regime in study.regimes if regime not in own]
        yield f"each replicate draws its own images in {', '.join(own)}" + (
            f"; in {', '.join(rest)} there is one draw of all" if rest else ""
        )


def _spaces(study: Study) -> Iterator[str]:
    """What is tuned; cells with one and the same space share a line."""
    cells = cells_of(study)
    alike: dict[str, list[str]] = {}
    for cell in cells:
        alike.setdefault(_space(space_of(study, cell)) or "nothing", []).append(cell.name)
    for space, names in alike.items():
        where = "every cell" if len(names) == len(cells) > 1 else ", ".join(names)
        yield f"tuned in {where}: {space}"


def _space(space: dict[str, Parameter]) -> str:
    return "; ".join(f"{path} {_range(p)}" for path, p in sorted(space.items()))


def _range(parameter: Parameter) -> str:
    if parameter.choice is not None:
        return "{" + ", ".join(str(o) for o in parameter.choice) + "}"
    low, high = parameter.bounds
    return f"{parameter.kind} [{low:g}, {high:g}]"


def _ladders(study: Study) -> Iterator[str]:
    """Updates of one whole ladder, shared and not, for every distinct schedule."""
    told: dict[str, list[Cell]] = {}
    for cell in cells_of(study):
        schedule, lengths = base_recipe(study, cell).schedule, lengths_of(study, cell)
        shared, unshared = ladder_steps(schedule, lengths), separate_steps(schedule, lengths)
        shown = ", ".join(f"{x:g}x" for x in lengths)
        line = f"one ladder of {shown}: {shared:,} updates instead of {unshared:,}"
        told.setdefault(line, []).append(cell)
    for line, cells in told.items():
        yield f"{line} ({', '.join(_grouped(study, cells))})"


def _batches(study: Study) -> Iterator[str]:
    """How a batch is cut, where ``resources`` cuts it, and what that takes."""
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


def _grouped(study: Study, cells: list[Cell]) -> list[str]:
    """A regime's name for all of its cells; the cells' own names where it is only some."""
    named = []
    for regime in study.regimes:
        inside = [cell for cell in cells if cell.regime == regime]
        named += [regime] if len(inside) == len(study.arms) else [cell.name for cell in inside]
    return named
