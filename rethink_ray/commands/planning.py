"""What ``plan`` prints: cells and their spaces, assets, updates, disk, and what sharing saves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.search.plan import CellPlan, plan_study
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.resolve import TrialConfig, base_recipe, lengths_of, space_of
from rethink_ray.spec.space import Parameter
from rethink_ray.spec.study import Study


def plan_lines(study: Study, facts: DataFacts, slots: int, folder: Path) -> Iterator[str]:
    """The dry run of a study that is to live in ``folder``, line by line."""
    plan = plan_study(study, facts, slots=slots, count_weights=count_weights)
    images = ", ".join(f"{name} {num}" for name, num in facts.regime_sizes.items())
    splits = ", ".join(f"{name} {num}" for name, num in facts.split_sizes.items())
    yield f"study {study.study}: {study.question}"
    yield f"images: {splits} (regimes: {images}); {len(facts.categories)} categories"
    yield ""
    header = ("cell", "lengths", "search", "replicates", "jobs", "updates", "unshared")
    yield "{:<28} {:<18} {:>7} {:>10} {:>5} {:>11} {:>11}".format(*header)
    for cell in plan.cells:
        yield _cell_line(study, cell)
    yield ""
    for cell in plan.cells:
        yield f"{cell.cell.name}: " + (_space(space_of(study, cell.cell)) or "nothing to tune")
    yield ""
    saved = 1 - plan.steps / plan.separate_steps if plan.separate_steps else 0.0
    yield (
        f"updates: {plan.steps:,}; {plan.separate_steps:,} without shared trunks "
        f"({saved:.0%} saved)"
    )
    yield from _ladders(study, plan.cells)
    yield f"assets: {plan.assets} ({plan.asset_steps:,} classifier updates)"
    yield (
        f"slots: {slots}; done after the time of {plan.makespan_steps:,} updates on one slot, "
        f"slots busy {plan.busy_share:.0%}"
    )
    if plan.disk_bytes is not None and plan.disk_final_bytes is not None:
        kept = study.checkpoints
        yield (
            f"disk: {plan.disk_bytes / 1e9:.2f} GB of checkpoints at most, "
            f"{plan.disk_final_bytes / 1e9:.2f} GB at the end "
            f"(checkpoints: models {kept.models}, trunks {kept.trunks})"
        )
        yield _free(plan.disk_bytes, folder)


def _free(needed: int, folder: Path) -> str:
    """Free disk in a folder that may not exist yet, and whether it is enough."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free >= needed:
        return f"free: {free / 1e9:.2f} GB, enough"
    remedy = "Give another --out, or checkpoints: {models: none, trunks: unfinished}."
    return f"free: {free / 1e9:.2f} GB, NOT ENOUGH. {remedy}"


def count_weights(config: TrialConfig) -> int:
    """Weights of a trial's detector, without allocating them."""
    from rethink_ray.detection.size import num_weights

    return num_weights(config.recipe.detector, config.num_categories)


def _cell_line(study: Study, plan: CellPlan) -> str:
    lengths = ",".join(f"{x:g}" for x in lengths_of(study, plan.cell))
    return (
        f"{plan.cell.name:<28} {lengths:<18} {plan.trials:>7} {plan.replicates:>10} "
        f"{plan.jobs:>5} {plan.steps:>11,} {plan.separate_steps:>11,}"
    )


def _space(space: dict[str, Parameter]) -> str:
    return "; ".join(f"{path} {_range(p)}" for path, p in sorted(space.items()))


def _range(parameter: Parameter) -> str:
    if parameter.choice is not None:
        return "{" + ", ".join(str(o) for o in parameter.choice) + "}"
    low, high = parameter.bounds
    return f"{parameter.kind} [{low:g}, {high:g}]"


def _ladders(study: Study, cells: tuple[CellPlan, ...]) -> Iterator[str]:
    """Updates of one whole ladder, shared and not, for every distinct schedule."""
    told = set()
    for plan in cells:
        schedule = base_recipe(study, plan.cell).schedule
        lengths = lengths_of(study, plan.cell)
        trunk = max(schedule.branch_at(x) for x in lengths)
        if schedule.decay.kind == "cosine":
            shared = sum(schedule.steps(x) for x in lengths)
        else:
            shared = trunk + sum(schedule.steps(x) - schedule.branch_at(x) for x in lengths)
        unshared = sum(schedule.steps(x) for x in lengths)
        line = f"one ladder of {', '.join(f'{x:g}x' for x in lengths)}: {shared:,} updates"
        line += f" instead of {unshared:,}"
        if line not in told:
            told.add(line)
            yield line
