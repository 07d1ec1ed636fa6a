"""Preflight of the loader: whether its processes read images as fast as a GPU trains on them.

One process that reads images of 800 px with masks reads 25 to 40 a second, and an H100 wants 60 to
100. A GPU that waits for images is paid for all the same.
"""

import math
from collections.abc import Iterator
from functools import partial

from rethink_ray.cluster.doctor.check import Check, build_check, try_check
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import Cell, base_recipe, cells_of
from rethink_ray.spec.study import ResourceSpec, Study

HEADROOM = 1.25
"""Images that the loader should read for each one that is trained on, because some take longer."""
FAST_GPU = 100.0
"""Images a second of 800 px that an H100 may train on; assumed where no GPU is here to be timed."""
MOST_TIMED = 4
"""Cells that are timed, at most; they differ in how their images are augmented."""


def examine_loader(study: Study, gpus_here: int) -> Iterator[Check]:
    """Yields a check for a study that trains on GPUs or has loader processes; else none.

    Args:
        study: the study; its images are there.
        gpus_here: GPUs of this machine; without one, no update is timed.
    """
    resources = study.resources
    if not (resources.gpus_per_worker or resources.loader_workers):
        return
    if not (resources.gpus_per_worker and gpus_here):
        yield try_check("loader", partial(_time_without_gpu, study), "see data set")
        return
    checks: list[Check] = []

    def compare() -> str:
        checks.extend(_compare_with_updates(study))
        return ""

    remedy = "an update must run here: is resources.images_per_step too large for this GPU?"
    failed = try_check("loader", compare, remedy)
    yield next((check for check in checks if not check.ok), checks[0] if failed.ok else failed)


def propose_loader_workers(seconds_per_image: float, images_per_second: float) -> int:
    """How many processes read as fast as a worker trains, with ``HEADROOM``.

    Example: a process reads an image in 0.04 s, and 78 images a second are trained on:
    0.04 x 78 x 1.25 = 3.9, so 4 processes.

    Args:
        seconds_per_image: of one loader process.
        images_per_second: that one worker trains on.
    """
    return max(1, math.ceil(round(seconds_per_image * images_per_second * HEADROOM, 6)))


def check_loader(
    resources: ResourceSpec, seconds_per_image: float, images_per_second: float
) -> Check:
    """Whether the loader processes of a worker keep up with its updates; arguments as above."""
    needed = propose_loader_workers(seconds_per_image, images_per_second)
    fact = (
        f"a worker trains on {images_per_second:.0f} images a second, and each of its "
        f"{resources.loader_workers} loader processes reads {1 / seconds_per_image:.0f}"
    )
    remedy = f"set resources.loader_workers: {needed}"
    if resources.cpus_per_worker < needed:
        remedy += f", and resources.cpus_per_worker: {needed}, so that each process has a CPU"
    is_well = resources.loader_workers >= needed
    return build_check("loader", fact, is_well, remedy)


def _time_without_gpu(study: Study) -> str:
    from rethink_ray.training.loader_timing import time_reading

    slowest = max(time_reading(study.data, recipe) for _, recipe in list_augmented(study))
    num = study.resources.loader_workers
    fact = f"one process reads {1 / slowest:.0f} images a second"
    if study.resources.gpus_per_worker:
        needed = propose_loader_workers(slowest, FAST_GPU)
        fact += (
            f", and no GPU is here to be timed. One that trains on {FAST_GPU:.0f} a second needs "
            f"resources.loader_workers: {needed} ({num} now)"
        )
    return fact


def _compare_with_updates(study: Study) -> Iterator[Check]:
    from rethink_ray.training.loader_timing import time_reading, time_update_on_gpu

    resources = study.resources
    for _, recipe in list_augmented(study):
        update = time_update_on_gpu(study.data, recipe, resources)
        share = recipe.batch_size / max(resources.workers, 1)
        yield check_loader(resources, time_reading(study.data, recipe), share / update)


def list_augmented(study: Study) -> list[tuple[Cell, Recipe]]:
    """The first cell of each kind of image: cells whose images are augmented alike are one kind."""
    by_kind: dict[str, tuple[Cell, Recipe]] = {}
    for cell in cells_of(study):
        recipe = base_recipe(study, cell)
        detector = recipe.detector
        sizes = (detector.min_side_px, detector.max_side_px, detector.family)
        by_kind.setdefault(f"{recipe.augment.model_dump_json()} {sizes}", (cell, recipe))
    return list(by_kind.values())[:MOST_TIMED]
