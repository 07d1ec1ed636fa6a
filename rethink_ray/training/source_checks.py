"""Checks that a study has the images which its assets are made of: upstream sets and pools.

It reads lists of files, indexes and stored facts of pictures, so that ``plan`` is quick.
"""

from collections.abc import Iterator

from rethink_ray.data.contents import Pictures
from rethink_ray.data.glyphs import select_figures
from rethink_ray.data.leaks import require_unseen
from rethink_ray.data.pool import open_pool
from rethink_ray.data.upstream import BUILT_IN, inspect_upstream, require_upstream_classes
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study

SOURCE_PATHS = (
    *("init.source", "joint.weight", "upstream.classes", "upstream.figures"),
    *("labels.kind", "labels.pool"),
)
"""Recipe paths that decide which images a run needs beside those of its regime."""


def require_sources(study: Study, where: str) -> None:
    """Every run finds the classes that it learns upstream, and images for its teacher to label.

    Raises:
        DataError: names the cell of the first run that lacks classes or images.
    """
    checked: set[tuple[object, ...]] = set()
    for cell, recipe in _list_recipes(study):
        upstream, labels = recipe.upstream, recipe.labels
        try:
            if _learns_upstream(recipe):
                key: tuple[object, ...] = (upstream.classes, upstream.figures)
                if key not in checked:
                    _require_classes(study, recipe)
                    checked.add(key)
            if labels.kind == "self_training":
                images = study.regimes[cell.regime].images
                if (images, labels.pool) not in checked:
                    open_pool(study.data, images, labels.pool)
                    checked.add((images, labels.pool))
        except DataError as error:
            raise error.within(f"{where}: {cell.name}") from None


def require_unseen_upstream(study: Study, where: str) -> None:
    """No run learns upstream from a picture on which the study is scored.

    Raises:
        DataError: a picture is in both; names the two files.
    """
    if study.data.upstream == BUILT_IN or not any(
        _learns_upstream(recipe) for _, recipe in _list_recipes(study)
    ):
        return
    seen = inspect_upstream(study.data)
    pictures = Pictures(
        paths=[*map(str, seen)],
        num_bytes=[picture.content.num_bytes for picture in seen.values()],
        digests=[picture.content.digest for picture in seen.values()],
    )
    require_unseen(study.data, pictures, f"{where}: data.upstream")


def _learns_upstream(recipe: Recipe) -> bool:
    return recipe.init.source == "upstream" or bool(recipe.joint.weight)


def _list_recipes(study: Study) -> Iterator[tuple[Cell, Recipe]]:
    """Yields each cell with every recipe that differs in ``SOURCE_PATHS``."""
    for cell in cells_of(study):
        base, space = base_recipe(study, cell), space_of(study, cell)
        for recipe in reachable_recipes(base, space, SOURCE_PATHS):
            yield cell, recipe


def _require_classes(study: Study, recipe: Recipe) -> None:
    """Refuses a number of classes, or a kind of figure, that the upstream set does not have."""
    data, spec = study.data, recipe.upstream
    if data.upstream == BUILT_IN:
        num = len(select_figures(spec))
        if spec.classes > num:
            must = f"must be at most {num}, the number of {spec.figures}"
            raise DataError(explain("upstream.classes", must, spec.classes))
        return
    if spec.figures != "glyphs":
        must = "must be left out where data.upstream names a folder"
        raise DataError(explain("upstream.figures", must, spec.figures))
    require_upstream_classes(data, spec.classes)
