"""Building what several trials start from, once: an asset stands when its ``DONE`` file does."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rethink_ray.data.upstream import ClassificationSet, open_upstream
from rethink_ray.records.types import AssetDone
from rethink_ray.spec.errors import Diverged
from rethink_ray.spec.regime import DataSpec
from rethink_ray.spec.resolve import AssetSpec
from rethink_ray.training.checkpoint import save_checkpoint, write_json
from rethink_ray.training.classify import Trained, train_classifier
from rethink_ray.training.live import DONE_FILE, WEIGHTS_FILE
from rethink_ray.training.place import Place
from rethink_ray.training.stopping import never_stop

FIT = 2.0
"""A classifier must be right at least this many times as often as chance."""


def build_asset(
    spec: AssetSpec, data: DataSpec, assets: Path, *, stop: Callable[[], bool] = never_stop
) -> AssetDone:
    """``assets/<key>`` holds the classifier's backbone; one that stands already is left alone.

    A classifier below twice chance, or whose loss left the numbers, is built but refused. One
    that was asked to learn shuffled labels cannot pass and is not measured by that: it is the
    control that shows what pictures without meaning do.

    Raises:
        Stopped: ``stop`` turned true; a checkpoint was written, and the next call goes on from it.
    """
    folder = assets / spec.key
    done = _read_done(folder)
    if done is not None:
        return done
    place = Place.alone(spec.threads, spec.gpus)
    images = open_upstream(data, spec.upstream)
    checkpoint = folder / "checkpoint.pt"
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    try:
        trained = train_classifier(
            spec.detector, spec.upstream, images, place=place, checkpoint=checkpoint, stop=stop
        )
    except Diverged as error:
        return _conclude(folder, spec, _metrics(images, 0.0), 0.0, f"diverged: {error}")
    backbone = {name: value.cpu() for name, value in trained.net.backbone_state().items()}
    save_checkpoint(folder / WEIGHTS_FILE, {"backbone": backbone})
    metrics = _metrics(images, trained.accuracy)
    done = _conclude(folder, spec, metrics, trained.seconds, _refusal(spec, trained, metrics))
    checkpoint.unlink(missing_ok=True)
    return done


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
