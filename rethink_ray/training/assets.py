"""Building what several trials start from, once: an asset stands when its ``DONE`` file does."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rethink_ray.data.contents import pictures_at
from rethink_ray.data.leaks import require_unseen
from rethink_ray.data.upstream import ClassificationSet, open_upstream, upstream_files
from rethink_ray.records.types import AssetDone
from rethink_ray.spec.assets import (
    AssetSpec,
    ClassifierAsset,
    DetectorAsset,
    PseudoLabelsAsset,
)
from rethink_ray.spec.backbone_code import require_code, require_same_code
from rethink_ray.spec.errors import Diverged, Infeasible, Misconfigured
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.checkpoint import save_checkpoint, sweep, write_json
from rethink_ray.training.classify import Trained, train_classifier
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.memory import is_out_of_memory
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.pseudo_labels import build_pseudo_labels
from rethink_ray.training.starting import DONE_FILE, weights_file, weights_of
from rethink_ray.training.stopping import SAVE_SECONDS, Watch, never_stop
from rethink_ray.training.teacher_files import detector_in_file
from rethink_ray.training.worker_context import WorkerContext

FIT = 2.0
"""A classifier must be right at least this many times as often as chance."""


def build_asset(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    *,
    ctx: WorkerContext | None = None,
    stop: Callable[[], bool] = never_stop,
    save_seconds: float = SAVE_SECONDS,
) -> AssetDone:
    """``assets/<key>`` holds the asset's weights; one that stands already is left alone.

    Refused are: a classifier below twice chance, and whatever diverges or does not fit the memory.
    A classifier that was asked to learn shuffled labels cannot pass and is not measured by that: it
    is the control that shows what pictures without meaning do.

    Args:
        spec: the asset. Whatever it needs must stand in ``assets``.
        data: where upstream images come from, and what is scored.
        assets: folder of all assets' folders.
        ctx: one of several workers that train a detector together; by default this process.
        stop: asked before every update.
        save_seconds: wall time between two checkpoints.

    Raises:
        DataError: it would learn from a picture that the study is scored on.
        Stopped: ``stop`` turned true; a checkpoint was written, and the next call goes on from it.
    """
    folder = assets / spec.key
    found = _read_done(folder)
    if ctx is not None:
        found = ctx.broadcast(found)
    return found or _build(spec, data, assets, ctx, stop, save_seconds)


def rebuild_asset(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
) -> None:
    """A damaged asset stands again, for all workers at ``ctx``: those that trained it."""
    if not isinstance(spec, ClassifierAsset):
        if ctx.is_main and isinstance(spec, DetectorAsset):
            weights_file(spec, assets / spec.key).unlink(missing_ok=True)
        ctx.barrier()
        _build(spec, data, assets, ctx, stop, SAVE_SECONDS)
    elif ctx.is_main:
        asked = never_stop if ctx.world_size > 1 else stop
        _build(spec, data, assets, None, asked, SAVE_SECONDS)


def _build(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    ctx: WorkerContext | None,
    stop: Callable[[], bool],
    save_seconds: float,
) -> AssetDone:
    folder = assets / spec.key
    match spec:
        case ClassifierAsset():
            alone = WorkerContext.alone(spec.threads, spec.gpus)
            watch = Watch(ctx=alone, stop=stop, save_seconds=save_seconds)
            return _build_classifier(spec, data, folder, watch)
        case DetectorAsset():
            ctx = ctx or WorkerContext.local(spec.trained)
            watch = Watch(ctx=ctx, stop=stop, save_seconds=save_seconds)
            return _build_detector(spec, assets, watch)
        case PseudoLabelsAsset():
            return _build_labels(
                spec, assets, ctx or WorkerContext.local(spec.teacher.trained), stop
            )


def _build_classifier(
    spec: ClassifierAsset, data: DataSpec, folder: Path, watch: Watch
) -> AssetDone:
    sweep(folder)
    require_code(spec.detector.backbone, spec.backbone_code)
    require_unseen(data, pictures_at(upstream_files(data)), f"asset {spec.key}")
    images = open_upstream(data, spec.upstream)
    checkpoint = folder / "checkpoint.pt"
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    try:
        trained = train_classifier(
            spec.detector, spec.upstream, images, checkpoint=checkpoint, watch=watch
        )
    except Diverged as error:
        return _conclude(folder, spec, _metrics(images, 0.0), 0.0, f"diverged: {error}")
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _conclude(folder, spec, _metrics(images, 0.0), 0.0, _too_large(spec, error))
    backbone = {name: value.cpu() for name, value in trained.net.backbone_state().items()}
    save_checkpoint(weights_file(spec, folder), {"backbone": backbone})
    metrics = _metrics(images, trained.accuracy)
    done = _conclude(folder, spec, metrics, trained.seconds, _refusal(spec, trained, metrics))
    checkpoint.unlink(missing_ok=True)
    return done


def _build_detector(spec: DetectorAsset, assets: Path, watch: Watch) -> AssetDone:
    """By the ladder that trains everything else. A teacher is scored where the search looks, so
    that its quality is known; a first stage is not: its rate never fell."""
    if spec.trained.weights_file is not None:
        return _take_over(spec, assets / spec.key, watch)
    folder, config, ctx = assets / spec.key, spec.trained, watch.ctx
    if ctx.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", spec.model_dump(mode="json"))
        images = open_trial_data(config)
        learned_from = images.index.pictures(images.image_ids)
        require_unseen(config.data, learned_from, f"asset {spec.key}")
    try:
        [rung] = train_ladder(
            config,
            (spec.length,),
            folder,
            splits=(config.data.select_split,) if spec.kind == "teacher" else (),
            assets=assets,
            stop=watch.stop,
            ctx=ctx,
            models=weights_file(spec, folder).parent,
            save_seconds=watch.save_seconds,
        )
    except (Diverged, Infeasible, Misconfigured) as error:
        refused = f"{type(error).__name__.lower()}: {error}"
        return _conclude(folder, spec, {}, 0.0, refused, writes=ctx.is_main)
    seconds = rung.seconds_train + rung.seconds_score
    metrics = {**rung.metrics, "updates": float(rung.steps)}
    if ctx.is_main:
        for left in (*folder.glob("trunk-*.pt"), *folder.glob("branch.pt")):
            left.unlink(missing_ok=True)  # should the end be missed, the rung and its weights stand
    return _conclude(folder, spec, metrics, seconds, "", writes=ctx.is_main)


def _take_over(spec: DetectorAsset, folder: Path, watch: Watch) -> AssetDone:
    """A detector in a file becomes the asset's; it is scored as one that was trained here is."""
    config, ctx = spec.trained, watch.ctx
    if ctx.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", spec.model_dump(mode="json"))
    started = time.perf_counter()
    try:
        with one_outcome(config, ctx):
            detector = detector_in_file(config, ctx)
            split = config.data.select_split
            metrics = score_split(detector, config.recipe, config.data, split, ctx, stop=watch.stop)
    except Infeasible as error:
        refused = f"infeasible: {error}"
        return _conclude(folder, spec, {}, 0.0, refused, writes=ctx.is_main)
    if ctx.is_main:
        path = weights_file(spec, folder)
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, {"model": detector.state_dict()})
    seconds = time.perf_counter() - started
    return _conclude(folder, spec, metrics, seconds, "", writes=ctx.is_main)


def _build_labels(
    spec: PseudoLabelsAsset, assets: Path, ctx: WorkerContext, stop: Callable[[], bool]
) -> AssetDone:
    folder, teacher = assets / spec.key, spec.teacher.trained
    require_same_code(teacher)
    if ctx.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", spec.model_dump(mode="json"))
    weights = weights_of(spec.teacher, teacher, assets, ctx, stop=stop)["model"]
    started = time.perf_counter()
    try:
        with one_outcome(teacher, ctx):
            labelled = build_pseudo_labels(teacher, weights, spec.labels, folder, ctx, stop=stop)
    except Infeasible as error:
        return _conclude(folder, spec, {}, 0.0, f"infeasible: {error}", writes=ctx.is_main)
    seconds = time.perf_counter() - started
    return _conclude(folder, spec, labelled.metrics, seconds, labelled.refused, writes=ctx.is_main)


def _too_large(spec: ClassifierAsset, error: Exception) -> str:
    told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"out of memory ({told}) with upstream.batch_size {spec.upstream.batch_size} and "
        f"upstream.image_px {spec.upstream.image_px}; try half of either"
    )


def _metrics(images: ClassificationSet, accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "chance": 1.0 / images.num_classes}


def _refusal(spec: ClassifierAsset, trained: Trained, metrics: dict[str, float]) -> str:
    if spec.upstream.labels == "shuffled" or trained.accuracy >= FIT * metrics["chance"]:
        return ""
    return (
        f"its accuracy {trained.accuracy:.3f} is below {FIT:g} times chance "
        f"({metrics['chance']:.3f}); raise upstream.steps or upstream.images, or change upstream.lr"
    )


def _conclude(
    folder: Path,
    spec: AssetSpec,
    metrics: dict[str, float],
    seconds: float,
    refused: str,
    *,
    writes: bool = True,
) -> AssetDone:
    written = {
        "kind": spec.kind,
        "metrics": metrics,
        "seconds": seconds,
        "refused": refused,
        "at": time.time(),
    }
    if writes:
        write_json(folder / DONE_FILE, written)
    return AssetDone(key=spec.key, **written)  # type: ignore[arg-type]


def _read_done(folder: Path) -> AssetDone | None:
    try:
        return AssetDone(key=folder.name, **json.loads((folder / DONE_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
