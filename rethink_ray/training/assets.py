"""Builds each asset once, for all trials that need it. One with a ``DONE`` file is complete."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from rethink_ray.data.contents import list_pictures
from rethink_ray.data.leaks import require_unseen
from rethink_ray.data.upstream import ClassificationSet, open_upstream, upstream_files
from rethink_ray.records.types import AssetDone
from rethink_ray.spec.assets import (
    AssetSpec,
    ClassifierAsset,
    DetectorAsset,
    ImportedLabelsAsset,
    PseudoLabelsAsset,
)
from rethink_ray.spec.backbone_code import require_code, require_same_code
from rethink_ray.spec.errors import Diverged, Infeasible, Misconfigured
from rethink_ray.spec.regime import DataSpec
from rethink_ray.training.checkpoint import save_checkpoint, sweep, write_json
from rethink_ray.training.classify import Trained, train_classifier
from rethink_ray.training.evaluate import score_split
from rethink_ray.training.imported_labels import build_imported_labels
from rethink_ray.training.inputs import open_trial_data
from rethink_ray.training.ladder import train_ladder
from rethink_ray.training.memory import is_out_of_memory
from rethink_ray.training.outcome import one_outcome
from rethink_ray.training.pseudo_labels import TrainedTeacher, build_pseudo_labels
from rethink_ray.training.starting import DONE_FILE, load_asset_weights, weights_file
from rethink_ray.training.stopping import UNINTERRUPTED, Interrupts, Watch, never_stop
from rethink_ray.training.teacher_files import load_teacher_file
from rethink_ray.training.trial_files import RunFolders
from rethink_ray.training.worker_context import WorkerContext

FIT = 2.0
"""A classifier must be right at least this many times as often as chance."""


def build_asset(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    *,
    ctx: WorkerContext | None = None,
    interrupts: Interrupts = UNINTERRUPTED,
) -> AssetDone:
    """The asset is in ``assets/<key>``. One that was built before is left alone.

    An asset is refused if it diverges or does not fit the memory, or if it is a classifier that is
    right less than twice as often as chance. A classifier of shuffled labels is exempt: it is the
    control, pre-training on labels without meaning.

    Args:
        spec: the asset. The assets that it needs must be in ``assets``.
        data: the data block of the study: it has the upstream images, and the splits to keep out.
        assets: folder of all assets' folders.
        ctx: this worker of a group that trains a detector together; by default this process alone.
        interrupts: when to stop, and how often to write a checkpoint.

    Raises:
        DataError: it would learn from an image that the study is scored on.
        DamagedAsset: an asset that it needs must be built again first.
        Stopped: a checkpoint was written, from which the next call goes on.
    """
    done = _read_done(assets / spec.key)
    if ctx is not None:
        done = ctx.broadcast(done)
    return done or _build(spec, data, assets, ctx, interrupts)


def rebuild_asset(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    ctx: WorkerContext | None,
    interrupts: Interrupts,
) -> None:
    """A damaged asset is whole again. The workers that trained it together call this together.

    Raises:
        DamagedAsset: an asset that it needs is damaged, too.
        Stopped: a checkpoint was written, from which the next call goes on.
    """
    is_main = ctx is None or ctx.is_main
    if not isinstance(spec, ClassifierAsset | ImportedLabelsAsset):
        if is_main and isinstance(spec, DetectorAsset):
            weights_file(spec, assets / spec.key).unlink(missing_ok=True)
        if ctx is not None:
            ctx.barrier()
        _build(spec, data, assets, ctx, interrupts)
    elif is_main:
        if ctx is not None and ctx.world_size > 1:  # the others wait and cannot agree to stop
            interrupts = Interrupts(stop=never_stop, save_seconds=interrupts.save_seconds)
        _build(spec, data, assets, None, interrupts)


def _build(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    ctx: WorkerContext | None,
    interrupts: Interrupts,
) -> AssetDone:
    match spec:
        case ClassifierAsset():
            alone = WorkerContext.alone(spec.threads, spec.gpus)
            watch = Watch(ctx=alone, interrupts=interrupts)
            return _build_classifier(spec, data, assets / spec.key, watch)
        case DetectorAsset():
            ctx = ctx or WorkerContext.local(spec.trained)
            if ctx.is_main and spec.trained.weights_file is None:
                _require_unseen_images(spec, data)
            return _build_detector(spec, assets, ctx, interrupts)
        case PseudoLabelsAsset():
            ctx = ctx or WorkerContext.local(spec.teacher.trained)
            return _build_labels(spec, assets, ctx, interrupts)
        case ImportedLabelsAsset():
            return _import_labels(spec, data, assets / spec.key)


def _build_classifier(
    spec: ClassifierAsset, data: DataSpec, folder: Path, watch: Watch
) -> AssetDone:
    sweep(folder)
    require_code(spec.detector.backbone, spec.backbone_code)
    require_unseen(data, list_pictures(upstream_files(data)), f"asset {spec.key}")
    images = open_upstream(data, spec.upstream)
    checkpoint = folder / "checkpoint.pt"
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    try:
        trained = train_classifier(spec, images, checkpoint=checkpoint, watch=watch)
    except Diverged as error:
        return _conclude(folder, spec, _metrics(images, 0.0), refused=f"diverged: {error}")
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _conclude(folder, spec, _metrics(images, 0.0), refused=_too_large(spec, error))
    backbone = {name: value.cpu() for name, value in trained.net.backbone_state().items()}
    save_checkpoint(weights_file(spec, folder), {"backbone": backbone})
    metrics = _metrics(images, trained.accuracy)
    refused = _refusal(spec, trained, metrics)
    done = _conclude(folder, spec, metrics, trained.seconds, refused)
    checkpoint.unlink(missing_ok=True)
    return done


def _build_detector(
    spec: DetectorAsset, assets: Path, ctx: WorkerContext, interrupts: Interrupts
) -> AssetDone:
    """A detector trained by the ladder that trains every run.

    A teacher is scored on the split that the search selects by, and an upstream detector on that of
    its own data set, so that their quality is known. The first stage of direct pre-training is not
    scored: its learning rate never fell.
    """
    folder, config = assets / spec.key, spec.trained
    if config.weights_file is not None:
        return _take_over(spec, folder, ctx, interrupts)
    if ctx.is_main:
        _write_spec(spec, folder)
    models = weights_file(spec, folder).parent
    try:
        [rung] = train_ladder(
            config,
            (spec.length,),
            RunFolders(trial=folder, assets=assets, models=models),
            splits=() if spec.kind == "direct" else (config.data.select_split,),
            ctx=ctx,
            interrupts=interrupts,
        )
    except (Diverged, Infeasible, Misconfigured) as error:
        refused = f"{type(error).__name__.lower()}: {error}"
        return _conclude(folder, spec, {}, refused=refused, is_main=ctx.is_main)
    seconds = rung.seconds_train + rung.seconds_score
    metrics = {**rung.metrics, "updates": float(rung.steps)}
    if ctx.is_main:
        # before DONE is written: if that fails, the rung and its weights are still there
        for checkpoint in (*folder.glob("trunk-*.pt"), *folder.glob("branch.pt")):
            checkpoint.unlink(missing_ok=True)
    return _conclude(folder, spec, metrics, seconds, is_main=ctx.is_main)


def _require_unseen_images(spec: DetectorAsset, data: DataSpec) -> None:
    """Refuses a detector that would learn from a picture on which it, or the study, is scored."""
    images = open_trial_data(spec.trained)
    learned_from = images.index.pictures(images.image_ids)
    require_unseen(spec.trained.data, learned_from, f"asset {spec.key}")
    if spec.kind == "upstream_detector":
        require_unseen(data, learned_from, f"asset {spec.key}")


def _take_over(
    spec: DetectorAsset, folder: Path, ctx: WorkerContext, interrupts: Interrupts
) -> AssetDone:
    """Use the detector in a file as the asset, scored like one that was trained here."""
    config = spec.trained
    if ctx.is_main:
        _write_spec(spec, folder)
    started = time.perf_counter()
    try:
        with one_outcome(config, ctx):
            detector = load_teacher_file(config, ctx)
            split = config.data.select_split
            metrics = score_split(detector, config, split, ctx, stop=interrupts.stop)
    except Infeasible as error:
        refused = f"infeasible: {error}"
        return _conclude(folder, spec, {}, refused=refused, is_main=ctx.is_main)
    if ctx.is_main:
        path = weights_file(spec, folder)
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, {"model": detector.state_dict()})
    seconds = time.perf_counter() - started
    return _conclude(folder, spec, metrics, seconds, is_main=ctx.is_main)


def _build_labels(
    spec: PseudoLabelsAsset, assets: Path, ctx: WorkerContext, interrupts: Interrupts
) -> AssetDone:
    folder, config = assets / spec.key, spec.teacher.trained
    require_same_code(config)
    if ctx.is_main:
        _write_spec(spec, folder)
    weights = load_asset_weights(spec.teacher, assets, ctx)["model"]
    teacher = TrainedTeacher(config=config, weights=weights)
    started = time.perf_counter()
    try:
        with one_outcome(config, ctx):
            labelled = build_pseudo_labels(teacher, spec.labels, folder, ctx, stop=interrupts.stop)
    except Infeasible as error:
        refused = f"infeasible: {error}"
        return _conclude(folder, spec, {}, refused=refused, is_main=ctx.is_main)
    seconds = time.perf_counter() - started
    return _conclude(folder, spec, labelled.metrics, seconds, labelled.refused, is_main=ctx.is_main)


def _import_labels(spec: ImportedLabelsAsset, data: DataSpec, folder: Path) -> AssetDone:
    _write_spec(spec, folder)
    started = time.perf_counter()
    labelled = build_imported_labels(spec, data, folder)
    seconds = time.perf_counter() - started
    return _conclude(folder, spec, labelled.metrics, seconds, labelled.refused)


def _write_spec(spec: AssetSpec, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "spec.json", spec.model_dump(mode="json"))


def _too_large(spec: ClassifierAsset, error: Exception) -> str:
    first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"out of memory ({first_line}) with upstream.batch_size {spec.upstream.batch_size} and "
        f"upstream.image_px {spec.upstream.image_px}; try half of either"
    )


def _metrics(images: ClassificationSet, accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "chance": 1.0 / images.num_classes}


def _refusal(spec: ClassifierAsset, trained: Trained, metrics: Mapping[str, float]) -> str:
    """Why a classifier is not fit to start from; empty if it is."""
    if spec.upstream.labels == "shuffled" or trained.accuracy >= FIT * metrics["chance"]:
        return ""
    least = FIT * metrics["chance"]
    return (
        f"its accuracy {trained.accuracy:.3f} is below {least:.3f}, {FIT:g} times chance; "
        "raise upstream.steps or upstream.images, or change upstream.lr"
    )


def _conclude(
    folder: Path,
    spec: AssetSpec,
    metrics: Mapping[str, float],
    seconds: float = 0.0,
    refused: str = "",
    *,
    is_main: bool = True,
) -> AssetDone:
    """The asset is complete: its ``DONE`` file says how building it ended."""
    content = {
        "kind": spec.kind,
        "metrics": metrics,
        "seconds": seconds,
        "refused": refused,
        "at": time.time(),
    }
    if is_main:
        write_json(folder / DONE_FILE, content)
    return AssetDone(key=spec.key, **content)  # type: ignore[arg-type]


def _read_done(folder: Path) -> AssetDone | None:
    try:
        return AssetDone(key=folder.name, **json.loads((folder / DONE_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
