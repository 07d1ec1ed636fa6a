"""Which arm is cheaper, by the recipes alone: the order is fixed before anything has run.

An arm is cheaper than another if it needs fewer updates: those of its longest schedule and of all
that is built for it first. Of equals, it is the one

1. whose updates see fewer pixels (batch size times image size),
2. of whose network more is frozen, and for longer,
3. that needs no file of weights,
4. that stands earlier in the study file.

Networks are not compared by size: of two arms whose backbones differ the study file decides, so
write the cheaper one first. Measured times take no part, because they depend on the machine.
"""

from typing import get_args

from rethink_ray.spec.direct import direct_steps
from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.freezing import Frozen
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, lengths_of
from rethink_ray.spec.study import Study
from rethink_ray.spec.trial_config import uses_upstream_detector

BUILT_HERE = ("random", "upstream", "direct")
"""Sources of weights that need no file from elsewhere."""
FROZEN_DEPTHS: tuple[Frozen, ...] = get_args(Frozen)
CostRank = tuple[int, int, int, float, int, int]


def order_by_cost(study: Study, facts: DataFacts, regime: str) -> tuple[str, ...]:
    """The arms of a regime, from the cheapest to the dearest."""
    return tuple(sorted(study.arms, key=lambda arm: _rank(study, facts, Cell(regime, arm))))


def _rank(study: Study, facts: DataFacts, cell: Cell) -> CostRank:
    recipe, position = base_recipe(study, cell), list(study.arms).index(cell.arm)
    detector, unfreeze = recipe.detector, recipe.init.unfreeze
    return (
        _count_updates(study, facts, cell),
        recipe.batch_size * detector.min_side_px * detector.max_side_px,
        -FROZEN_DEPTHS.index(recipe.init.frozen),
        -unfreeze.after if unfreeze else -float("inf"),
        int(_needs_file(recipe)),
        position,
    )


def _count_updates(study: Study, facts: DataFacts, cell: Cell) -> int:
    """Updates of the longest schedule, and of everything that is built before it starts."""
    recipe = base_recipe(study, cell)
    updates = recipe.schedule.steps(lengths_of(study, cell)[-1])
    teacher = study.arms[cell.arm].teacher
    if recipe.labels.has_teacher and isinstance(teacher, str):
        return updates + _count_updates(study, facts, cell.of_arm(teacher))
    if recipe.init.source == "upstream":
        return updates + recipe.upstream.steps
    if recipe.init.source == "direct":
        return updates + direct_steps(recipe, facts.regime_sizes.get(cell.regime, 0))
    if uses_upstream_detector(recipe):
        return updates + recipe.upstream_detector.steps
    return updates


def _needs_file(recipe: Recipe) -> bool:
    return recipe.init.source not in BUILT_HERE and not uses_upstream_detector(recipe)
