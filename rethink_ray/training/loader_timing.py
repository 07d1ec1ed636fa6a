"""Times how fast one process reads a run's images, and how fast a GPU trains on them."""

import statistics
import time
from collections.abc import Callable

import torch

from rethink_ray.data.augment import Augmentation
from rethink_ray.data.loader import Loading, TrainSamples, WorkerShare, train_batches
from rethink_ray.data.order import RunOrder
from rethink_ray.data.regimes import trainable_image_ids
from rethink_ray.data.splits import open_split
from rethink_ray.spec.recipe import InitSpec, Recipe
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.study import ResourceSpec
from rethink_ray.training.live import Live
from rethink_ray.training.worker_context import WorkerContext

MOST_READ_IMAGES, MOST_READ_SECONDS = 32, 4.0
"""No further image is read after as many or after this long."""
LEAST_READ_IMAGES = 4
TIMED_GPU_UPDATES = 3
"""Updates that are timed, after one that is not."""


def time_reading(
    data: DataSpec, recipe: Recipe, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds in which one process with one thread, as a loader has, reads and augments an image.

    Images of all regimes come in the order of a run; the first one is not timed, and none is kept.
    The median is taken, because other programs may stop this one for a while.

    Args:
        data: the data set.
        recipe: how its images are augmented.
        clock: seconds; ``time.thread_time`` counts those of this thread's own work.

    Raises:
        DataError: the data set lacks what the recipe learns from.
    """
    augmentation = Augmentation(spec=recipe.augment, detector=recipe.detector)
    order = RunOrder(seed=0, batch_size=recipe.batch_size)
    index, image_ids = open_split(data, "train"), trainable_image_ids(data)
    samples = TrainSamples(index, image_ids, augmentation, order, Loading(num_workers=1))
    threads, seconds = torch.get_num_threads(), list[float]()
    torch.set_num_threads(1)
    try:
        samples[0]
        while len(seconds) < LEAST_READ_IMAGES or (
            len(seconds) < MOST_READ_IMAGES and sum(seconds) < MOST_READ_SECONDS
        ):
            started = clock()
            samples[len(seconds) + 1]
            seconds.append(clock() - started)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(seconds)


def time_update_on_gpu(data: DataSpec, recipe: Recipe, resources: ResourceSpec) -> float:
    """Seconds of one update of a worker's share of a batch, from drawn weights: the median.

    Workers are not started, so the seconds in which they exchange gradients are missing.
    """
    ctx = WorkerContext.alone(
        resources.cpus_per_worker, resources.gpus_per_worker, resources.deterministic
    )
    index = open_split(data, "train")
    drawn = recipe.model_copy(update={"init": InitSpec(frozen=recipe.init.frozen)})
    live = Live(drawn, len(index.categories), 0, ctx, images_per_step=resources.images_per_step)
    images, targets = next(
        train_batches(
            index,
            trainable_image_ids(data),
            Augmentation(spec=recipe.augment, detector=recipe.detector),
            RunOrder(seed=0, batch_size=recipe.batch_size),
            Loading(),
            WorkerShare(rank=0, world_size=max(resources.workers, 1)),
        )
    )
    seconds: list[float] = []
    for step in range(TIMED_GPU_UPDATES + 1):
        torch.cuda.synchronize(ctx.device)
        started = time.perf_counter()
        live.update(images, targets, rate=recipe.optimizer.lr / 100, step=step)
        torch.cuda.synchronize(ctx.device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
