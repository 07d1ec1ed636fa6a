"""Building what several trials start from, once: an asset stands when its ``DONE`` file does."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.upstream import ClassificationSet, open_upstream
from rethink_ray.records.types import AssetDone
from rethink_ray.spec.errors import DataError, Diverged, explain
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import AssetSpec, TrialConfig, assets_of
from rethink_ray.training.checkpoint import (
    Damaged,
    load_checkpoint,
    save_checkpoint,
    sweep,
    write_json,
)
from rethink_ray.training.classify import Trained, train_classifier
from rethink_ray.training.memory import is_out_of_memory
from rethink_ray.training.place import Place
from rethink_ray.training.stopping import SAVE_SECONDS, Watch, never_stop

WEIGHTS_FILE = "backbone.pt"
DONE_FILE = "DONE"

FIT = 2.0
"""A classifier must be right at least this many times as often as chance."""

_log = logging.getLogger(__name__)


def build_asset(
    spec: AssetSpec,
    data: DataSpec,
    assets: Path,
    *,
    stop: Callable[[], bool] = never_stop,
    save_seconds: float = SAVE_SECONDS,
) -> AssetDone:
    """``assets/<key>`` holds the classifier's backbone; one that stands already is left alone.

    A classifier below twice chance, one whose loss left the numbers and one that does not fit the
    memory are refused. One that was asked to learn shuffled labels cannot pass and is not measured
    by that: it is the control that shows what pictures without meaning do.

    Raises:
        Stopped: ``stop`` turned true; a checkpoint was written, and the next call goes on from it.
    """
    return _read_done(assets / spec.key) or _build(
        spec, data, assets / spec.key, stop, save_seconds
    )


def _build(
    spec: AssetSpec, data: DataSpec, folder: Path, stop: Callable[[], bool], save_seconds: float
) -> AssetDone:
    sweep(folder)
    place = Place.alone(spec.threads, spec.gpus)
    images = open_upstream(data, spec.upstream)
    checkpoint = folder / "checkpoint.pt"
    watch = Watch(place=place, stop=stop, save_seconds=save_seconds)
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
    save_checkpoint(folder / WEIGHTS_FILE, {"backbone": backbone})
    metrics = _metrics(images, trained.accuracy)
    done = _conclude(folder, spec, metrics, trained.seconds, _refusal(spec, trained, metrics))
    checkpoint.unlink(missing_ok=True)
    return done


def start_weights(
    config: TrialConfig, assets: Path, place: Place, *, stop: Callable[[], bool] = never_stop
) -> Mapping[str, Tensor] | None:
    """The backbone that the trial's asset holds; ``None`` if it starts from none.

    A damaged one is built again: it is the same to the last bit.

    Raises:
        DataError: the asset was never built.
        Stopped: while it was built again.
    """
    for spec in assets_of(config):
        folder = assets / spec.key
        if not (folder / DONE_FILE).exists():
            where, remedy = f"asset {spec.key}", "Build it first: train does, and so does run."
            raise DataError(explain(where, "must stand before its trials", str(folder), remedy))
        backbone = _read_backbone(folder)
        if place.any_of((backbone is None,))[0]:
            if place.writes:
                _build_again(spec, config, assets, never_stop if place.world_size > 1 else stop)
                backbone = load_checkpoint(folder / WEIGHTS_FILE)["backbone"]
            backbone = place.from_first(backbone)
        return backbone
    return None


def _read_backbone(folder: Path) -> Mapping[str, Tensor] | None:
    try:
        backbone: Mapping[str, Tensor] = load_checkpoint(folder / WEIGHTS_FILE)["backbone"]
    except Damaged as error:
        _log.warning("%s It is built again.", error)
        return None
    return backbone


def _build_again(
    spec: AssetSpec, config: TrialConfig, assets: Path, stop: Callable[[], bool]
) -> None:
    """In the middle of a trial, whose way of computing is put back afterwards."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        _build(spec, config.data, assets / spec.key, stop, SAVE_SECONDS)
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(config.resources.cpus_per_worker)


def _too_large(spec: AssetSpec, error: Exception) -> str:
    told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"out of memory ({told}) with upstream.batch_size {spec.upstream.batch_size} and "
        f"upstream.image_px {spec.upstream.image_px}; try half of either"
    )


def _metrics(images: ClassificationSet, accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "chance": 1.0 / images.num_classes}


def _refusal(spec: AssetSpec, trained: Trained, metrics: dict[str, float]) -> str:
    if spec.upstream.labels == "shuffled" or trained.accuracy >= FIT * metrics["chance"]:
        return ""
    return (
        f"its accuracy {trained.accuracy:.3f} is below {FIT:g} times chance "
        f"({metrics['chance']:.3f}); raise upstream.steps or upstream.images, or change upstream.lr"
    )


def _conclude(
    folder: Path, spec: AssetSpec, metrics: dict[str, float], seconds: float, refused: str
) -> AssetDone:
    written = {
        "kind": spec.kind,
        "metrics": metrics,
        "seconds": seconds,
        "refused": refused,
        "at": time.time(),
    }
    write_json(folder / DONE_FILE, written)
    return AssetDone(key=spec.key, **written)  # type: ignore[arg-type]


def _read_done(folder: Path) -> AssetDone | None:
    try:
        return AssetDone(key=folder.name, **json.loads((folder / DONE_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
