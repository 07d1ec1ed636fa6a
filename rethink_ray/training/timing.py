"""Times a few updates and a few scored pictures, as many runs side by side as a study would have.

Runs that share a machine slow each other down, so a pace that is measured alone promises too much.
"""

import multiprocessing
import statistics
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from rethink_ray.data.index import AnnotationIndex
from rethink_ray.data.regimes import open_scored
from rethink_ray.spec.errors import RethinkError
from rethink_ray.spec.recipe import InitSpec
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.evaluate import detect_images
from rethink_ray.training.frozen_features import compute_every_map
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.live import Live
from rethink_ray.training.stopping import never_stop
from rethink_ray.training.worker_context import WorkerContext

TIMED_UPDATES = 5
"""Updates that are timed, after one that is not."""
ENOUGH_SECONDS = 4.0
"""No further update is timed after this long."""
SCORED_IMAGES = 8
MOST_PROCESSES = 4
"""Processes that are timed side by side; more take memory and tell little more."""
FILE_SECONDS = 0.3
"""What a job takes to write its checkpoints and records, beside building its network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """How long the parts of a run take on this machine, in seconds."""

    update: float
    """One update: the median of a few."""
    scored_image: float
    start: float
    """Building the network and its optimizer, and writing files."""
    waiting: float = 1.0
    """Seconds that passed for each second in which this process worked: 1 on a quiet CPU."""


def time_runs(configs: Sequence[TrialConfig], side_by_side: int) -> tuple[RunTimes, ...]:
    """The times of each run, while ``side_by_side`` processes do the same.

    Weights are drawn, so that no file is read; runs that differ in their weights alone take equally
    long and are timed once.

    Args:
        configs: the runs; their data are there.
        side_by_side: trials at a time; on GPUs each has its own, so one is timed.

    Raises:
        RethinkError: a process was killed, as happens if the memory does not suffice.
    """
    plain = [_without_weights(config) for config in configs]
    distinct = [*{config.model_dump_json(): config for config in plain}.values()]
    on_gpu = any(config.resources.gpus_per_worker for config in configs)
    num = 1 if on_gpu else min(side_by_side, MOST_PROCESSES)
    measured = [_time_each(distinct)] if num == 1 else _time_in_processes(distinct, num)
    times = {
        config.model_dump_json(): _take_median(of_config)
        for config, of_config in zip(distinct, zip(*measured, strict=True), strict=True)
    }
    return tuple(times[config.model_dump_json()] for config in plain)


def _without_weights(config: TrialConfig) -> TrialConfig:
    """The run from drawn weights, under one name; every box passes suppression, as it will later.

    A detector that has learned nothing finds few boxes, and would be scored too fast.
    """
    recipe = config.recipe
    drawn = InitSpec(frozen=recipe.init.frozen, unfreeze=recipe.init.unfreeze)
    detector = recipe.detector.model_copy(update={"score_threshold": 0.0})
    optimizer = recipe.optimizer.model_copy(update={"backbone_rate": 1.0})
    update = {"init": drawn, "detector": detector, "optimizer": optimizer}
    return config.model_copy(update={"recipe": recipe.model_copy(update=update), "arm": "timed"})


def _time_in_processes(configs: Sequence[TrialConfig], num: int) -> list[tuple[RunTimes, ...]]:
    """Each process's times of all runs; processes are forked, so that none imports PyTorch."""
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads
        with ProcessPoolExecutor(num, mp_context=context) as pool:
            running = [pool.submit(_time_each, configs) for _ in range(num)]
            try:
                return [one.result() for one in running]
            except BrokenProcessPool:
                raise RethinkError(
                    "a process was killed while it was timed, as happens if the memory does not "
                    "suffice. Take smaller pictures, or paces from a file: --pace FILE."
                ) from None


def _time_each(configs: Sequence[TrialConfig]) -> tuple[RunTimes, ...]:
    return tuple(_time_run(config) for config in configs)


def _take_median(times: Sequence[RunTimes]) -> RunTimes:
    return RunTimes(
        update=statistics.median(one.update for one in times),
        scored_image=statistics.median(one.scored_image for one in times),
        start=statistics.median(one.start for one in times),
        waiting=statistics.median(one.waiting for one in times),
    )


def _time_run(config: TrialConfig) -> RunTimes:
    ctx = WorkerContext.local(config)
    _build(config, ctx)  # the first one imports what it needs
    started = time.perf_counter()
    live = _build(config, ctx)
    seconds_to_build = _read_clock(ctx) - started
    worked, started = time.process_time(), time.perf_counter()
    update = _time_updates(config, live, ctx)
    worked, passed = time.process_time() - worked, time.perf_counter() - started
    return RunTimes(
        update=update,
        scored_image=_time_scoring(config, live, ctx),
        start=seconds_to_build + FILE_SECONDS,
        waiting=1.0 if ctx.device.type == "cuda" else max(1.0, passed / worked),
    )


def _build(config: TrialConfig, ctx: WorkerContext) -> Live:
    """A run in which every map is computed: how often one could be read is not known here."""
    live = Live(
        config.recipe,
        config.num_categories,
        config.seed,
        ctx,
        images_per_step=config.resources.images_per_step,
    )
    compute_every_map(live.detector)
    return live


def _time_updates(config: TrialConfig, live: Live, ctx: WorkerContext) -> float:
    """The median time of an update, with its pictures read before where a run would keep them."""
    data = open_trial_data(config)
    batches = data.batches(0, ctx)
    for _ in range(TIMED_UPDATES + 1):
        next(batches)
    batches, seconds = data.batches(0, ctx), list[float]()
    for step in range(TIMED_UPDATES + 1):
        started = time.perf_counter()
        images, targets = next(batches)
        rate = config.recipe.optimizer.lr / (100.0 if step == 0 else 10.0)
        live.update(images, targets, rate=rate, step=step)
        seconds.append(_read_clock(ctx) - started)
        if step and sum(seconds[1:]) > ENOUGH_SECONDS:
            break
    return statistics.median(seconds[1:])


def _time_scoring(config: TrialConfig, live: Live, ctx: WorkerContext) -> float:
    """Seconds for one picture, detection and all; the pictures were read before."""
    split = config.data.select_split
    scored = open_scored(config.data, split, config.num_images or 0)
    index = AnnotationIndex(
        scored.directory, only=tuple(map(int, scored.image_ids[:SCORED_IMAGES]))
    )
    detect_images(live.detector, config, index, ctx, never_stop)
    started = time.perf_counter()
    detect_images(live.detector, config, index, ctx, never_stop)
    return (_read_clock(ctx) - started) / len(index)


def _read_clock(ctx: WorkerContext) -> float:
    """The time, once the device has done its work."""
    if ctx.device.type == "cuda":
        torch.cuda.synchronize(ctx.device)
    return time.perf_counter()
