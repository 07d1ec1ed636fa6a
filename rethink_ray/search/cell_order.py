"""The order in which cells get slots: the longest chain of jobs first.

A cell's replicates wait for its search, and the cells that it teaches wait for it too. Where slots
are scarce a long chain that begins late ends last, and the other slots idle meanwhile. The order
follows from the study alone, so it changes when jobs run and no number.
"""

from collections.abc import Sequence
from functools import cache

from rethink_ray.protocol.cell_view import CellView
from rethink_ray.search.costs import ladder_steps
from rethink_ray.spec.batches import images_by_kind
from rethink_ray.spec.resolve import base_recipe


def rank_cells(views: Sequence[CellView], dependents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The place of each cell among those that want slots: 0 comes first.

    Example: of three cells with ladders of 6x, 6x and 2x, each with replicates, of which the third
    teaches the second, the chains are 12x, 12x and 2x + 12x. The third comes first.

    Args:
        views: the cells, in the study's order, which also decides between equal chains.
        dependents: for each cell, the indices of the cells that wait for its search.
    """
    ladders = [_count_images(view) for view in views]

    @cache
    def chain(index: int) -> int:
        """Images from the first job of a cell to the end of the last job that waits for it."""
        replicate = ladders[index] if views[index].rules.num_replicates else 0
        return ladders[index] + max(replicate, *(chain(other) for other in dependents[index]), 0)

    by_chain = sorted(range(len(views)), key=lambda index: (-chain(index), index))
    ranks = [0] * len(views)
    for rank, index in enumerate(by_chain):
        ranks[index] = rank
    return tuple(ranks)


def _count_images(view: CellView) -> int:
    """Images that one trial trains on, up the whole ladder."""
    recipe, lengths = base_recipe(view.study, view.cell), view.ladder.lengths
    schedule = recipe.schedule
    if view.ladder.searched:
        steps = schedule.steps(max(lengths))
    else:
        steps = ladder_steps(schedule, lengths)
    return steps * sum(images_by_kind(recipe))
