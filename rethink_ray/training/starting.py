"""The weights that a run starts from, as its assets hold them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.spec.assets import (
    AssetSpec,
    ClassifierAsset,
    DetectorAsset,
    PseudoLabelsAsset,
    pseudo_labels_of,
    starts_of,
)
from rethink_ray.spec.backbone_code import require_same_code
from rethink_ray.spec.errors import DataError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.training.checkpoint import Damaged, load_checkpoint
from rethink_ray.training.label_files import are_whole
from rethink_ray.training.stopping import never_stop
from rethink_ray.training.trial_files import model_path
from rethink_ray.training.worker_context import WorkerContext

DONE_FILE = "DONE"

Weights = Mapping[str, Tensor]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a detector begins with, besides what its seed draws."""

    backbone: Weights | None = None
    """Of an upstream classifier."""
    whole: Weights | None = None
    """Of a whole detector; nothing of ``init`` but its frozen stages counts beside it."""


NOTHING = Start()


def weights_file(spec: ClassifierAsset | DetectorAsset, folder: Path) -> Path:
    """Where an asset in ``folder`` keeps its weights."""
    match spec:
        case ClassifierAsset():
            return folder / "backbone.pt"
        case DetectorAsset():
            return model_path(folder / "models", spec.length)


def start_of(
    config: TrialConfig,
    assets: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
) -> Start:
    """What the run's assets hold for it. A damaged one is built again, the same to the last bit.

    Raises:
        DataError: an asset was never built, or ``init.weights`` is another file than it was.
        SpecError: the backbone's code is not what it was.
        Stopped: while one was built again.
    """
    start = NOTHING
    require_same_code(config)
    if config.recipe.init.source == "file":
        require_same_file(config.recipe.init.weights or "", config.weights_digest, "init.weights")
    for spec in starts_of(config):
        folder_of(spec, assets)
        match spec:
            case ClassifierAsset():
                weights = weights_of(spec, config, assets, ctx, stop=stop)
                start = Start(backbone=weights["backbone"])
            case DetectorAsset():
                weights = weights_of(spec, config, assets, ctx, stop=stop)
                start = Start(whole=weights["model"])
            case PseudoLabelsAsset():
                pass  # no weights: ``labels_of``
    return start


def require_same_file(path: str, digest: str, where: str) -> None:
    """The file of weights holds what it held when the study was started.

    ``digest``: of then; empty where nobody looked.

    Raises:
        DataError: it does not, or it cannot be read.
    """
    if digest and (found := digest_of_file(path, where)) != digest:
        must = f"must be the file that the study was started with (digest {digest})"
        remedy = "Put it back as it was, or start a new study."
        raise DataError(explain(f"{where} {path}", must, found, remedy))


def labels_of(
    config: TrialConfig,
    assets: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
) -> Path | None:
    """Folder of the pseudo labels that the run learns from; ``None``: from none.

    Damaged ones are made again, the same to the last bit.

    Raises:
        DataError: they were never made.
        Stopped: while they were made again.
    """
    spec = pseudo_labels_of(config)
    if spec is None:
        return None
    folder = folder_of(spec, assets)
    if ctx.any_of((not are_whole(folder),))[0]:
        _log.warning("%s is damaged and built again", folder)
        _build_again(spec, config, assets, ctx, stop)
    return folder


def folder_of(spec: AssetSpec, assets: Path) -> Path:
    """Where a finished asset lies.

    Raises:
        DataError: it was never built.
    """
    folder = assets / spec.key
    if not (folder / DONE_FILE).exists():
        where = f"asset {spec.key}"
        remedy = "Put its folder back: a study builds it once. train builds what is not there."
        raise DataError(explain(where, "must stand before its trials", str(folder), remedy))
    return folder


def weights_of(
    spec: ClassifierAsset | DetectorAsset,
    config: TrialConfig,
    assets: Path,
    ctx: WorkerContext,
    *,
    stop: Callable[[], bool] = never_stop,
) -> Mapping[str, Weights]:
    """An asset's weights, for the run ``config``: ``backbone`` of a classifier, else ``model``.

    A damaged one is built again.
    """
    folder = folder_of(spec, assets)
    found = _read(weights_file(spec, folder))
    if ctx.any_of((found is None,))[0]:
        _build_again(spec, config, assets, ctx, stop)
        found = ctx.broadcast(_read(weights_file(spec, folder)))
    assert found is not None, "what was just built can be read"
    return found


def _read(path: Path) -> Mapping[str, Weights] | None:
    try:
        return load_checkpoint(path)
    except Damaged as error:
        _log.warning("%s It is built again.", error)
        return None


def _build_again(
    spec: AssetSpec,
    config: TrialConfig,
    assets: Path,
    ctx: WorkerContext,
    stop: Callable[[], bool],
) -> None:
    """In the middle of a trial, whose way of computing is put back afterwards."""
    from rethink_ray.training.assets import rebuild_asset  # it trains, and training starts here

    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        rebuild_asset(spec, config.data, assets, ctx, stop=stop)
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(config.resources.cpus_per_worker)
