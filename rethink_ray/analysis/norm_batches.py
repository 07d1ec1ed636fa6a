"""Batch norms of a published detector that learn new statistics from few images at a time."""

from collections.abc import Iterator

from rethink_ray.judge.verdicts import Caveat
from rethink_ray.spec.batches import batches_of, upstream_detector_batches_of
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.study import ResourceSpec, Study

ENOUGH_IMAGES = 16
"""Images whose common statistics count as enough: our choice. At 2 images a batch-norm ResNet-50
has an error 10.6 points above GroupNorm's, at usual batch sizes both are alike (Wu & He 2018)."""
BATCH_PATHS = (
    *("init.source", "init.weights", "detector.norm", "batch_size"),
    *("labels.kind", "labels.share", "upstream_detector.batch_size"),
)


def find_small_norm_batches(study: Study) -> Iterator[Caveat]:
    """Yields a caveat for each cell that tunes a whole detector's batch norms on few images."""
    for cell in cells_of(study):
        sizes = _list_norm_batches(study, cell)
        if sizes and min(sizes) < ENOUGH_IMAGES:
            yield Caveat(
                key=f"small-norm-batch:{cell.regime}/{cell.arm}",
                regime=cell.regime,
                arm=cell.arm,
                text=(
                    f"{cell.regime}/{cell.arm}: batch norm takes its statistics from {min(sizes)} "
                    "images at a time, fewer than the detector was trained with; "
                    "detector.norm: frozen_bn keeps the loaded ones."
                ),
            )


def _list_norm_batches(study: Study, cell: Cell) -> set[int]:
    recipes = reachable_recipes(base_recipe(study, cell), space_of(study, cell), BATCH_PATHS)
    return {size for recipe in recipes for size in _sizes(recipe, study.resources)}


def _sizes(recipe: Recipe, resources: ResourceSpec) -> Iterator[int]:
    """Images that share one set of statistics; none unless a whole detector's statistics move.

    An upstream detector was trained on batches of a known size: a run on as large ones is left out.
    """
    norm = recipe.detector.norm
    known = [batch.at_once(resources) for batch in upstream_detector_batches_of(recipe)]
    if recipe.init.source == "detector" and norm in ("bn", "sync_bn"):
        for batch in batches_of(recipe):
            together = max(resources.workers, 1) if norm == "sync_bn" else 1
            if not known or batch.at_once(resources) < known[0]:
                yield batch.at_once(resources) * together
