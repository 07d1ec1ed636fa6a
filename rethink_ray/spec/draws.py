"""Which replicates train on other draws of their regime's images (``replicate: {vary: ...}``)."""

from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.regime import HOLDOUTS, num_images
from rethink_ray.spec.study import Study

MOST_REPLICATES = 10_000
"""Bound on the replicates of one search, so that no two searches share a draw."""


def redraws(study: Study, facts: DataFacts, regime: str) -> bool:
    """Whether each replicate of a regime trains on another draw. All images are one draw."""
    if "subset" not in study.replicate.vary:
        return False
    available = num_drawable(study, facts)
    return num_images(study.regimes[regime].images, available) < available


def list_planned_draws(study: Study) -> tuple[int, ...]:
    """The draws of a regime's images that replicates are to train on; none if all share one."""
    if "subset" not in study.replicate.vary:
        return ()
    searches, replicates = range(study.budget.num_searches), range(study.budget.num_replicates)
    return tuple(draw_of(search, number) for search in searches for number in replicates)


def draw_of(search: int, number: int) -> int:
    """The draw for replicate ``number`` of a cell's search; it is the same in every arm.

    Each search has draws of its own: with several searches, one search is one independent value.
    """
    return search * MOST_REPLICATES + number + 1


def num_drawable(study: Study, facts: DataFacts) -> int:
    """Training images that regimes are drawn from: those outside all hold-outs."""
    used = HOLDOUTS & {study.data.select_split, study.data.report_split}
    return facts.split_sizes["train"] - sum(facts.split_sizes[split] for split in used)
