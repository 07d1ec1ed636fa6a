"""Checks that a study has the images and labels which its assets are made of: upstream sets, pools
and files of detections.

It reads lists of files, indexes and stored facts of pictures, so that ``plan`` is quick.
"""

from collections.abc import Iterator

from rethink_ray.data.contents import Pictures
from rethink_ray.data.glyphs import select_figures
from rethink_ray.data.imported import WHY_NO_LABEL, ImportedDetections, import_detections
from rethink_ray.data.leaks import require_unseen
from rethink_ray.data.pool import open_pool
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.data.upstream import BUILT_IN, inspect_upstream, require_upstream_classes
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import WITH_MASKS, Recipe
from rethink_ray.spec.regime import DataSpec, Images
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study
from rethink_ray.spec.trial_config import uses_upstream, uses_upstream_detector

SOURCE_PATHS = (
    *("init.source", "init.weights", "joint.weight", "upstream.classes", "upstream.figures"),
    *("labels.kind", "labels.pool", "labels.file", "detector.family", "augment.copy_paste"),
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
            if uses_upstream(recipe):
                key: tuple[object, ...] = (upstream.classes, upstream.figures)
                if key not in checked:
                    _require_classes(study, recipe)
                    checked.add(key)
            if uses_upstream_detector(recipe):
                _require_upstream_detection(study)
            if labels.kind == "self_training":
                images = study.regimes[cell.regime].images
                if (images, labels.pool) not in checked:
                    open_pool(study.data, images, labels.pool)
                    checked.add((images, labels.pool))
            if labels.kind == "imported":
                _examine_once(study, cell, recipe, checked)
        except DataError as error:
            raise error.within(f"{where}: {cell.name}") from None


def _examine_once(
    study: Study, cell: Cell, recipe: Recipe, checked: set[tuple[object, ...]]
) -> None:
    """Refuses a file of labels that a run cannot use, or that has no label for it."""
    images, labels = study.regimes[cell.regime].images, recipe.labels
    family, copy_paste = recipe.detector.family, recipe.augment.copy_paste
    key = (images, labels.model_dump_json(), family, copy_paste)
    if key in checked:
        return
    detections = examine_imported_labels(study.data, images, recipe)
    if not detections.num_boxes and "labels.threshold" not in space_of(study, cell):
        must = f"must leave a detection of {labels.file} on the images of labels.pool {labels.pool}"
        counts = f"none of {detections.num_detections}: {say_left_out(detections)}"
        raise DataError(explain("labels.threshold", must, counts, "Lower it."))
    checked.add(key)


def examine_imported_labels(data: DataSpec, images: Images, recipe: Recipe) -> ImportedDetections:
    """The labels that a run of ``recipe`` would learn from; refuses those that it cannot use.

    Raises:
        DataError: the file cannot be read, belongs to other images, or has no mask for a run that
            needs masks; or there is no pool.
    """
    labels = recipe.labels
    detections = import_detections(data, open_pool(data, images, labels.pool), labels)
    needs_masks = recipe.detector.family in WITH_MASKS or recipe.augment.copy_paste > 0
    if needs_masks and detections.num_boxes and not detections.has_masks:
        must = "must have a segmentation of detections, from which masks are learned or pasted"
        remedy = "Choose a detector.family without masks and augment.copy_paste: 0."
        raise DataError(explain(f"labels.file {labels.file}", must, "boxes alone", remedy))
    return detections


def describe_imported_labels(study: Study) -> Iterator[str]:
    """What each file of labels gives each regime's pool, one line for each that differs."""
    lines: dict[str, None] = {}
    for cell in cells_of(study):
        recipe = base_recipe(study, cell)
        if recipe.labels.kind != "imported":
            continue
        images = study.regimes[cell.regime].images
        detections = examine_imported_labels(study.data, images, recipe)
        num_labelled = sum(len(seen.labels) > 0 for seen in detections.by_image.values())
        line = (
            f"labels: {recipe.labels.file} gives {detections.num_boxes} boxes on {num_labelled} of "
            f"{len(detections.by_image)} images of labels.pool {recipe.labels.pool}"
        )
        if detections.left_out:
            line += f"; of {detections.num_detections} detections {say_left_out(detections)}"
        lines[line] = None
    yield from lines


def say_left_out(detections: ImportedDetections) -> str:
    """How many detections are no labels, and why; empty if all are."""
    return ", ".join(f"{num} {WHY_NO_LABEL[kind]}" for kind, num in detections.left_out.items())


def require_unseen_upstream(study: Study, where: str) -> None:
    """No run learns upstream from a picture on which the study is scored.

    Raises:
        DataError: a picture is in both; names the two files.
    """
    recipes = [recipe for _, recipe in _list_recipes(study)]
    if study.data.upstream != BUILT_IN and any(map(uses_upstream, recipes)):
        seen = inspect_upstream(study.data)
        pictures = Pictures(
            paths=[*map(str, seen)],
            num_bytes=[picture.content.num_bytes for picture in seen.values()],
            digests=[picture.content.digest for picture in seen.values()],
        )
        require_unseen(study.data, pictures, f"{where}: data.upstream")
    if any(map(uses_upstream_detector, recipes)):
        _, upstream = study.data.detection_sets
        pictures = open_split(upstream, "train").pictures(trainable_image_ids(upstream))
        require_unseen(study.data, pictures, f"{where}: data.upstream_detection")


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


def _require_upstream_detection(study: Study) -> None:
    """Refuses an upstream detector without images to learn from."""
    if len(study.data.detection_sets) == 1:
        must = "must name the images of init.weights: upstream_detector"
        remedy = (
            "Write data.upstream_detection: {images: FOLDER, annotations: FILE}, or "
            "{dataset: coco, root: FOLDER}."
        )
        raise DataError(explain("data.upstream_detection", must, None, remedy))
