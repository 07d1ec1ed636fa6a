"""What a run reads from its assets: the weights it starts from, and its pseudo labels.

An asset is built once and read by many runs. This file only reads. If an asset's files are damaged
it raises ``DamagedAsset``; ``repair`` builds the asset again and starts the run again.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rethink_ray.data.facts import digest_of_file
from rethink_ray.detection.learned_detectors import LearnedDetector, OutputNames
from rethink_ray.spec.assets import (
    AssetSpec,
    ClassifierAsset,
    DetectorAsset,
    ImportedLabelsAsset,
    PseudoLabelsAsset,
    pseudo_labels_of,
    starts_of,
)
from rethink_ray.spec.backbone_code import require_same_code
from rethink_ray.spec.detector_weights import find_detector_origin, starts_from_file
from rethink_ray.spec.errors import DataError, RecordError, explain
from rethink_ray.spec.resolve import TrialConfig
from rethink_ray.spec.weight_keys import FROM_HUB
from rethink_ray.training.checkpoint import Damaged, load_checkpoint
from rethink_ray.training.detector_files import (
    load_learned_detector,
    name_outputs,
    output_names_of,
)
from rethink_ray.training.label_files import are_whole
from rethink_ray.training.published_starts import require_same_download
from rethink_ray.training.trial_files import model_path
from rethink_ray.training.worker_context import WorkerContext

DONE_FILE = "DONE"

StateDict = Mapping[str, Tensor]

_log = logging.getLogger(__name__)


class DamagedAsset(RecordError):
    """The files of ``asset`` are not what was built. All workers of a run raise it together."""

    def __init__(self, asset: AssetSpec) -> None:
        must = "must have the files that were built"
        remedy = "Run again: a damaged asset is built again, the same to the last bit."
        super().__init__(explain(f"asset {asset.key}", must, "damaged ones", remedy))
        self.asset = asset

    def __reduce__(self) -> tuple[type["DamagedAsset"], tuple[AssetSpec]]:
        return type(self), (self.asset,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The weights that a detector begins with. Its seed draws all others."""

    backbone: StateDict | None = None
    """Backbone weights of an upstream classifier."""
    whole: StateDict | None = None
    """Weights of a whole detector. If given, only the frozen stages of ``init`` still count."""
    learned: LearnedDetector | None = None
    """A detector of other categories (``init.source: detector``): all but their rows is loaded."""
    names: OutputNames | None = None
    """What the run's detector finds; given with ``learned``."""


FROM_SEED = Start()


def weights_file(spec: ClassifierAsset | DetectorAsset, folder: Path) -> Path:
    """Where an asset in ``folder`` keeps its weights."""
    match spec:
        case ClassifierAsset():
            return folder / "backbone.pt"
        case DetectorAsset():
            return model_path(folder / "models", spec.length)


def load_start(config: TrialConfig, assets: Path, ctx: WorkerContext) -> Start:
    """The weights that the run's assets hold for it.

    Args:
        config: the run.
        assets: folder of the assets' folders.
        ctx: this worker.

    Raises:
        DamagedAsset: an asset's weights cannot be read.
        DataError: an asset was never built, or ``init.weights`` is another file than it was.
        SpecError: the backbone's code has changed, a whole detector cannot be read, or weights of a
            hub are missing here.
    """
    start = FROM_SEED
    require_same_code(config)
    init, goes_on = config.recipe.init, any(map(_is_teacher, starts_of(config)))
    if starts_from_file(init):
        require_same_file(init.weights or "", config.weights_digest, "init.weights")
    elif init.source in FROM_HUB:
        require_same_download(config)
    if find_detector_origin(init) in ("torchvision", "file") and not goes_on:
        start = Start(
            learned=load_learned_detector(config.recipe), names=output_names_of(config.data)
        )
    for spec in starts_of(config):
        locate_asset(spec, assets)
        match spec:
            case ClassifierAsset():
                start = Start(backbone=load_asset_weights(spec, assets, ctx)["backbone"])
            case DetectorAsset(kind="upstream_detector"):
                learned = name_outputs(load_asset_weights(spec, assets, ctx), "upstream_detector")
                start = Start(learned=learned, names=output_names_of(config.data))
            case DetectorAsset():
                start = Start(whole=load_asset_weights(spec, assets, ctx)["model"])
            case PseudoLabelsAsset() | ImportedLabelsAsset():
                pass  # holds no weights: see locate_labels
    return start


def _is_teacher(spec: AssetSpec) -> bool:
    """Whether the run goes on from this asset instead of from what ``init`` names."""
    return isinstance(spec, DetectorAsset) and spec.kind == "teacher"


def require_same_file(path: str, digest: str, where: str) -> None:
    """The file of weights has the content that it had when the study was started.

    ``digest``: that of its content then; empty in records that have none.

    Raises:
        DataError: its content differs, or it cannot be read.
    """
    if digest and (digest_now := digest_of_file(path, where)) != digest:
        must = f"must be the file that the study was started with (digest {digest})"
        remedy = "Put it back as it was, or start a new study."
        raise DataError(explain(f"{where} {path}", must, digest_now, remedy))


def locate_labels(config: TrialConfig, assets: Path, ctx: WorkerContext) -> Path | None:
    """Folder of the pseudo labels that the run learns from; ``None`` if it learns from none.

    Raises:
        DamagedAsset: a file of labels cannot be read, on any worker.
        DataError: they were never made.
    """
    spec = pseudo_labels_of(config)
    if spec is None:
        return None
    folder = locate_asset(spec, assets)
    if ctx.any_of((not are_whole(folder),))[0]:
        raise DamagedAsset(spec)
    return folder


def locate_asset(spec: AssetSpec, assets: Path) -> Path:
    """The folder of an asset that has been built.

    Raises:
        DataError: it was never built.
    """
    folder = assets / spec.key
    if not (folder / DONE_FILE).exists():
        where = f"asset {spec.key}"
        remedy = "Put its folder back: a study builds it once. train builds missing assets."
        raise DataError(explain(where, "must be built before its trials", str(folder), remedy))
    return folder


def load_asset_weights(
    spec: ClassifierAsset | DetectorAsset, assets: Path, ctx: WorkerContext
) -> Mapping[str, StateDict]:
    """An asset's weights: ``backbone`` of a classifier, else ``model``; the same on all workers.

    The file that rank 0 reads decides. A worker whose own copy is damaged gets rank 0's weights.

    Raises:
        DamagedAsset: rank 0 cannot read the file.
    """
    weights = _read(weights_file(spec, locate_asset(spec, assets)))
    if ctx.broadcast(weights is None):
        raise DamagedAsset(spec)
    if ctx.any_of((weights is None,))[0]:
        weights = ctx.broadcast(weights)
    assert weights is not None, "rank 0 has read them"
    return weights


def _read(path: Path) -> Mapping[str, StateDict] | None:
    try:
        return load_checkpoint(path)
    except Damaged as error:
        _log.warning("%s", error)
        return None
