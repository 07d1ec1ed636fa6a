"""Preflight of ``/dev/shm``: through it loader processes hand images to their workers.

A container often has 64 MB of it. If it is full, a loader process dies of a bus error.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from rethink_ray.cluster.doctor.check import Check, build_check, gib
from rethink_ray.cluster.ray_session import OBJECT_STORE_BYTES
from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.recipe import Recipe
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study

BATCHES_AHEAD = 2
"""Batches that PyTorch lets each loader process read ahead of the one in use."""
BYTES_PER_PIXEL = 3 * 4
"""Three colours in float32."""
SIZE_PATHS = (
    *("batch_size", "detector.min_side_px", "detector.max_side_px"),
    *("augment.scale", "augment.canvas", "augment.short_side_px", "augment.level"),
    "augment.copy_paste",
)
"""Recipe paths that decide how large a batch is."""


def free_shared_memory() -> int:
    """Free bytes of ``/dev/shm``; 0 if there is none."""
    folder = Path("/dev/shm")
    return shutil.disk_usage(folder).free if folder.exists() else 0


def check_shared_memory(study: Study, free: int, slots: int, largest_hw: tuple[int, int]) -> Check:
    """Whether ``/dev/shm`` holds Ray's object store and the batches of all loader processes.

    Args:
        study: the study.
        free: its free bytes.
        slots: jobs at a time on this machine.
        largest_hw: height and width of the largest training picture.
    """
    needed = estimate_shared_memory(study, slots, largest_hw)
    whole = -(-needed // 2**30)
    remedy = f"a container needs --shm-size={whole}g"
    if study.resources.loader_workers:
        remedy += ", or lower resources.loader_workers"
    fact = f"{gib(free)} free, {gib(needed)} needed"
    return build_check("shared memory", fact, free >= needed, remedy)


def estimate_shared_memory(study: Study, slots: int, largest_hw: tuple[int, int]) -> int:
    """Bytes of Ray's object store and of all loader processes' batches; arguments as above.

    Example: 2 jobs with 4 loader processes each have 2 x (2 x 4 + 1) = 18 batches. With 16 pictures
    of 800 x 1333 px each that is 3.7 GB, and 3.9 GB with the object store.
    """
    resources = study.resources
    if not resources.loader_workers:
        return OBJECT_STORE_BYTES
    workers = max(resources.workers, 1)
    num_batches = slots * workers * (BATCHES_AHEAD * resources.loader_workers + 1)
    largest_batch = max(
        -(-recipe.batch_size // workers) * count_pixels(recipe, largest_hw)
        for recipe in _list_recipes(study)
    )
    return OBJECT_STORE_BYTES + num_batches * largest_batch * BYTES_PER_PIXEL


def count_pixels(recipe: Recipe, largest_hw: tuple[int, int]) -> int:
    """Pixels of the largest picture as a loader process sends it.

    Without jitter or ``short_side_px`` that is the picture in its file's size.
    """
    from rethink_ray.data.placing import plan_size

    size = plan_size(largest_hw, recipe.augment.unbundled(), recipe.detector, 1.0)
    height, width = largest_hw if size is None else size[1]
    return height * width


def _list_recipes(study: Study) -> Iterator[Recipe]:
    for cell in cells_of(study):
        yield from reachable_recipes(base_recipe(study, cell), space_of(study, cell), SIZE_PATHS)
